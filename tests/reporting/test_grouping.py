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
        ("lr=—", ("—",), (3,)),
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
