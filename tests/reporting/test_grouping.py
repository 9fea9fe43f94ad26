"""Which runs are repetitions of one another."""

from __future__ import annotations

import pytest
from builders import run_data

from mlflow_dlviz.reporting.grouping import group, group_keys, value_of
from mlflow_dlviz.reporting.options import Options


def runs(*params: dict, **told):
    return [run_data(number, params=each, **told) for number, each in enumerate(params)]


def test_all_params_that_differ_but_seeds_tell_groups_apart():
    found = runs({"lr": "1e-3", "seed": "1", "net": "a"}, {"lr": "0.001", "seed": "2", "net": "b"})
    assert group_keys(found, Options()) == ("net",)
    assert group_keys(found, Options(seed_keys=("net",))) == ("seed",)


def test_equal_numbers_are_one_group_in_the_order_of_the_runs():
    found = group(runs({"lr": "0.1"}, {"lr": "1e-3"}, {"lr": "0.001"}, {}), ("lr",))
    assert [(each.label, each.values, each.members) for each in found] == [
        ("lr=0.1", ("0.1",), (0,)),
        ("lr=1e-3", ("1e-3",), (1, 2)),
        ("without lr", ("—",), (3,)),
    ]


def test_without_keys_all_runs_are_one_group():
    [found] = group(runs({"seed": "1"}, {"seed": "2"}), ())
    assert (found.label, found.members) == ("all runs", (0, 1))


def test_short_names_stay_apart():
    found = group(
        runs({"model/size": "1", "data/size": "2", "opt/lr": "3"}), ("model/size", "data/size", "opt/lr")
    )
    assert found[0].label == "model/size=1, data/size=2, lr=3"


def test_tags_experiments_and_params_by_their_full_names():
    run = run_data(1, params={"lr": "1", "tags.x": "param"}, tags={"x": "tag", "y": "tag"}, experiment="vision")
    keys = ("lr", "params.lr", "tags.x", "tags.y", "experiment", "nothing", "tags.")
    assert [value_of(run, key) for key in keys] == ["1", "1", "param", "tag", "vision", None, None]


def test_a_param_called_experiment_comes_first():
    assert value_of(run_data(1, params={"experiment": "mine"}), "experiment") == "mine"


def test_groups_by_a_tag():
    found = [run_data(1, tags={"team": "a"}), run_data(2, tags={"team": "b"}), run_data(3, tags={"team": "a"})]
    assert group_keys(found, Options(group_by=("tags.team",))) == ("tags.team",)
    assert [each.members for each in group(found, ("tags.team",))] == [(0, 2), (1,)]


@pytest.mark.parametrize("key", ["rl", "tags.rl", "params.rl"])
def test_a_key_that_no_run_has_is_said(key):
    with pytest.raises(ValueError, match=rf"group_by='{key}': no run has it; there are the params lr, seed"):
        group_keys(runs({"lr": "1"}, {"seed": "1"}), Options(group_by=("lr", key)))


def test_a_key_is_refused_where_there_are_no_params():
    with pytest.raises(ValueError, match="the runs have no params"):
        group_keys(runs({}), Options(group_by=("lr",)))


def test_no_groups_need_no_params():
    assert group_keys(runs({}), Options(group_by=())) == ()


def test_what_only_one_run_has_tells_no_groups_apart():
    stock = {f"stock{number}": str(number) for number in range(28)}
    found = runs({"lr": "0.1"}, {"lr": "0.2"}, {"lr": "0.2"}, stock)
    assert group_keys(found, Options()) == ("lr",)


def test_keys_that_go_together_count_once():
    found = runs(
        {"optimizer_learning_rate": "0.1", "learning_rate": "0.1", "net": "a"},
        {"optimizer_learning_rate": "0.2", "learning_rate": "2e-1", "net": "a"},
        {"optimizer_learning_rate": "0.2", "learning_rate": "0.2", "net": "b"},
    )
    assert group_keys(found, Options()) == ("learning_rate", "net")


def test_labels_leave_out_what_is_absent_or_shared():
    found = group(runs({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "3"}, {"a": "1"}), ("a", "b", "c"))
    assert [each.label for each in found] == ["b=2, c=3", "b=3", "without b, c"]
    assert found[1].values == ("1", "3", "—")
    [alone] = group(runs({"a": "1"}, {"a": "1"}), ("a",))
    assert alone.label == "a=1"
    assert group(runs({c: "1" for c in "abcde"}, {}), tuple("abcde"))[1].label == "without a, b, c and 2 more"


def test_runs_of_which_no_key_is_known_are_no_repetitions():
    found = runs({"lr": "1"}, {"lr": "2"}, {"x": "1"}, {})
    assert [each.label for each in group(found, ("lr",), strangers=True)] == [
        "lr=1",
        "lr=2",
        "run-2, without lr",
        "run-3, without lr",
    ]
    assert [each.members for each in group(found, ("lr",))] == [(0,), (1,), (2, 3)]


def test_where_nothing_varies_it_is_what_some_have_that_tells_apart():
    found = runs({"dropout": "0.5", "verbose": "1"}, {"dropout": "0.5", "verbose": "1"}, {})
    assert group_keys(found, Options()) == ("dropout",)
    assert group_keys(found[:2], Options()) == ()


def test_what_some_have_and_others_lack_tells_them_apart():
    given = [{"lr": "1", "dropout": "0.5"}, {"lr": "1", "dropout": "0.5"}, {"lr": "1"}, {"lr": "2"}]
    runs = [run_data(number, params={**params, "seed": str(number)}) for number, params in enumerate(given)]
    keys = group_keys(runs, Options())
    assert keys == ("dropout", "lr")
    assert [group.members for group in group(runs, keys)] == [(0, 1), (2,), (3,)]
