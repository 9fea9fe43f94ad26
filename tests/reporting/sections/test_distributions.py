"""What the page is given of the stored histograms: which runs, classes, epochs and bins, and their numbers."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest
from builders import HOSTILE, analysis_of, parse, run_data

from mlflow_dlviz.reporting import distributions as counted
from mlflow_dlviz.reporting.options import Options
from mlflow_dlviz.reporting.sections import distributions


def arrays(counts: np.ndarray, names=None, **told) -> dict[str, np.ndarray]:
    names = [f"class {number}" for number in range(len(counts))] if names is None else names
    edges = np.linspace(0, 1, counts.shape[-1] + 1)
    return {"counts": counts, "edges": edges, "class_names": np.asarray(names)} | told


def counts(seed: int, classes: int = 3, bins: int = 100) -> np.ndarray:
    return np.random.default_rng(seed).poisson(2.0, (classes, 2, bins))


def with_numbers(number: int, leaves: dict, **told):
    return run_data(number, numbers={"probabilities": leaves}, **told)


def usual(number: int, epochs=(0, 1, 4), **shape):
    frames = {epoch: arrays(counts(10 * number + epoch, **shape)) for epoch in epochs}
    return with_numbers(number, {"validation": frames})


def unpack(text: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(shape)


def data_of(*runs, **told) -> dict:
    return distributions.build(analysis_of(*runs, **told)).data


def test_without_numbers_it_is_hidden_and_says_why():
    section = distributions.build(analysis_of(run_data(1), run_data(2)))
    assert section.reason == "needs runs logged with mlflow_dlviz whose network predicts classes or labels"
    assert section.reason in parse(run_data(1), run_data(2)).text


def test_the_numbers_are_those_of_the_counts():
    stored = {epoch: counts(epoch) for epoch in (0, 3)}
    [leaf] = data_of(
        with_numbers(1, {"validation": {epoch: arrays(each) for epoch, each in stored.items()}}), run_data(2)
    )["leaves"]
    assert (leaf["name"], leaf["bins"], leaf["kind"]) == ("validation", 20, "classes")
    assert leaf["names"] == ["class 0", "class 1", "class 2"]
    [run] = leaf["runs"]
    assert (run["run"], run["epochs"]) == (0, [0, 3])
    values, spread = unpack(run["values"], 2, 4, 3, 20), unpack(run["spread"], 2, 4, 3)
    for place, each in enumerate(stored.values()):
        joined = each.reshape(3, 2, 20, 5).sum(-1)
        np.testing.assert_array_equal(values[place, 0, :2], joined.sum(0))
        np.testing.assert_array_equal(values[place, 1:, :2], joined)
        np.testing.assert_allclose(values[place, 2, 2], counted.mean_scores(each[1].sum(0), 20), rtol=1e-6)
        errors = counted.calibration_error(each, 20)
        np.testing.assert_allclose(spread[place, :, 0], [errors.mean(), *errors], rtol=1e-6)
        np.testing.assert_allclose(spread[place, 0, 2], counted.quantiles(each[:, 1].sum(0), 0.5), rtol=1e-6)
        np.testing.assert_allclose(spread[place, 1:, 1], counted.quantiles(each[:, 1], 0.25), rtol=1e-6)


def test_a_class_that_a_run_does_not_know_is_not_a_number():
    here = with_numbers(1, {"validation": {0: arrays(counts(1, 2), ["cat", "dog"])}})
    there = with_numbers(2, {"validation": {0: arrays(counts(2, 2), ["dog", "fox"])}})
    [leaf] = data_of(here, there)["leaves"]
    names = leaf["names"]
    assert sorted(names) == ["cat", "dog", "fox"]
    values = [unpack(run["values"], 1, 4, 3, 20)[0, :, :2] for run in leaf["runs"]]
    absent = {names[run_class] for run_class in range(3) if np.isnan(values[0][run_class + 1]).all()}
    assert absent in ({"fox"}, {"cat"})
    assert all(np.isfinite(each[0]).all() for each in values)


def test_every_output_is_a_leaf_those_of_most_runs_first():
    frames = {0: arrays(counts(1))}
    labels = {0: arrays(counts(2, 1), ["tag"], multilabel=np.array(True))}
    found = data_of(
        with_numbers(1, {"training": frames, "validation.kind": frames, "validation.tags": labels}),
        with_numbers(2, {"training": frames}),
    )["leaves"]
    assert [leaf["name"] for leaf in found] == ["training", "validation.kind", "validation.tags"]
    assert [leaf["kind"] for leaf in found] == ["classes", "classes", "labels"]
    # Of a label alone there is nothing to choose.
    assert found[2]["names"] == []


def test_runs_of_other_bins_share_those_that_both_can_be_joined_into():
    [leaf] = data_of(usual(1, bins=100), usual(2, bins=50))["leaves"]
    assert leaf["bins"] == 10
    assert [run["run"] for run in leaf["runs"]] == [0, 1]
    assert leaf["notes"] == []


def test_runs_whose_bins_cannot_be_shared_are_left_out_and_counted():
    [leaf] = data_of(usual(1, bins=100), usual(2, bins=67), usual(3, bins=100))["leaves"]
    assert leaf["bins"] == 20
    assert len(leaf["runs"]) == 2
    assert leaf["notes"] == ["1 of 3 runs counted in bins that cannot be joined with the others'."]


def test_damaged_numbers_cost_their_epoch_alone():
    frames = {0: {"counts": np.ones(3)}, 1: arrays(counts(1)), 2: arrays(counts(2))}
    [leaf] = data_of(with_numbers(1, {"validation": frames, "training": {0: {}}}))["leaves"]
    assert leaf["runs"][0]["epochs"] == [1, 2]
    assert leaf["notes"] == ["1 stored histograms are of other classes than their run's last, or damaged."]


def test_the_classes_with_most_samples_can_be_chosen():
    many = np.ones((30, 2, 20), int)
    many[[7, 3], 1] = 9
    section = data_of(with_numbers(1, {"validation": {0: arrays(many)}}))
    [leaf] = section["leaves"]
    assert len(leaf["names"]) == 12
    assert leaf["names"][:2] == ["class 0", "class 1"]
    assert {"class 3", "class 7"} <= set(leaf["names"])
    assert leaf["notes"] == ["Of 30 classes the 12 with most samples can be chosen."]


@pytest.mark.parametrize("runs", [1, 40, 700])
def test_there_are_never_more_numbers_than_fit(runs):
    shared = {epoch: arrays(counts(epoch, 10, 20)) for epoch in range(25)}
    section = data_of(*(with_numbers(number, {"validation": shared}) for number in range(runs)))
    [leaf] = section["leaves"]
    size = sum(len(base64.b64decode(run[part])) // 4 for run in leaf["runs"] for part in ("values", "spread"))
    assert size <= distributions.MAX_VALUES
    assert all(run["epochs"][0] == 0 and run["epochs"][-1] == 24 for run in leaf["runs"])
    assert bool(leaf["notes"]) == (runs > 1)


def test_when_nothing_else_helps_the_best_runs_stay(monkeypatch):
    monkeypatch.setattr(distributions, "MAX_VALUES", 1000)
    [leaf] = data_of(*(usual(number) for number in range(20)))["leaves"]
    assert [run["run"] for run in leaf["runs"]] == list(range(len(leaf["runs"])))
    assert 0 < len(leaf["runs"]) < 20
    assert f"The best {len(leaf['runs'])} of 20 runs" in leaf["notes"][0]


def test_groups_and_the_runs_that_count_in_them():
    runs = [replace(usual(number), params={"lr": str(number // 2)}, status=status)
            for number, status in enumerate(["FINISHED", "FAILED", "FINISHED", "FINISHED"])]  # fmt: skip
    section = data_of(*runs, options=Options())
    assert sorted(section["groups"]) == ["lr=0", "lr=1"]
    assert sorted(section["counted"]) == [False, True, True, True]


def test_names_of_classes_stay_text():
    frames = {0: arrays(counts(1, len(HOSTILE)), HOSTILE)}
    parsed = parse(with_numbers(1, {HOSTILE[0]: frames}), run_data(2))
    [leaf] = parsed.data("data-distributions")["leaves"]
    assert leaf["name"] == HOSTILE[0]
    assert set(leaf["names"]) == set(HOSTILE)
    assert not [tag for tag, _ in parsed.elements if tag in ("img", "iframe", "a")]


def test_the_same_data_make_the_same_section():
    assert data_of(usual(1), usual(2)) == data_of(usual(1), usual(2))
