"""The pure part that makes runs comparable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.align import Best, Curve
from mlflow_dlviz.store.histories import Series

VALUES = st.floats(allow_nan=True, allow_infinity=True)
POINTS = st.lists(st.tuples(st.integers(0, 20), VALUES), max_size=40)


def series(points, times=None) -> Series:
    steps, values = [point[0] for point in points], [point[1] for point in points]
    times = range(len(points)) if times is None else times
    return Series(np.array(steps, np.int64), np.array(values, float), np.array(list(times), np.int64))


def curve(*values: float) -> Curve:
    return Curve(np.arange(len(values)), np.array(values, float))


@given(POINTS)
def test_the_last_write_at_a_step_wins(points):
    cleaned = align.clean(series(points))
    expected = dict(points)
    assert cleaned.steps.tolist() == sorted(expected)
    np.testing.assert_array_equal(cleaned.values, [expected[step] for step in sorted(expected)])
    assert cleaned.repeated == len(points) - len(expected)


def test_last_means_latest_not_last_in_the_list():
    assert align.clean(series([(0, 1.0), (0, 2.0)], times=[9, 3])).values.tolist() == [1.0]


@given(st.lists(VALUES, min_size=1, max_size=30), st.booleans())
def test_best_is_the_first_extreme_of_the_finite_values(values, smaller):
    found = align.best(curve(*values), smaller=smaller)
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        assert found is None
        return
    extreme = min(finite) if smaller else max(finite)
    assert found == Best(extreme, values.index(extreme))


def test_a_curve_without_points_has_no_best_and_no_last():
    assert align.best(curve(), smaller=True) is None
    assert align.last_value(curve()) is None
    assert align.value_at(curve(), 3) is None


def test_a_value_at_a_step_is_that_step_exactly():
    sparse = Curve(np.array([0, 5, 10]), np.array([1.0, 2.0, 3.0]))
    assert [align.value_at(sparse, step) for step in (5, 6, 10, 11)] == [2.0, None, 3.0, None]


@pytest.mark.parametrize(
    "name",
    [
        "loss",
        "val_loss",
        "mae",
        "val_mean_squared_error",
        "train/nll",
        "class_loss_3",
        "val_false_positives",
        "fn",
    ],
)
def test_less_is_better_for_losses_and_errors(name):
    assert align.minimised(name)


@pytest.mark.parametrize("name", ["accuracy", "val_mcc", "f1", "roc_auc", "recall", "lossless_ratio", "dice"])
def test_more_is_better_for_the_rest(name):
    assert not align.minimised(name)


@pytest.mark.parametrize(
    ("name", "halves"),
    [
        ("loss", ("loss", "train")),
        ("val_loss", ("loss", "val")),
        ("validation_loss", ("loss", "val")),
        ("eval/loss", ("loss", "val")),
        ("train_loss", ("loss", "train")),
        ("value", ("value", "train")),
    ],
)
def test_halves_of_a_metric(name, halves):
    assert align.split_half(name) == halves


def test_a_metric_under_two_names_counts_once():
    found = align.pair_halves(["validation_loss", "loss", "val_loss", "epoch_loss"])
    assert found == {
        ("loss", "train"): "loss",
        ("loss", "val"): "val_loss",
        ("epoch_loss", "train"): "epoch_loss",
    }


def test_what_matters_comes_first_and_bookkeeping_not_at_all():
    logged = ["zeta", "val_mcc", "learning_rate", "val_loss", "dlviz/seconds", "best_val_loss", "accuracy"]
    panels = align.choose_panels([*logged, "system/cpu", "activations/03.conv.loss"])
    assert [panel.base for panel in panels if panel.main] == ["loss", "accuracy", "mcc"]
    assert [panel.base for panel in panels if not panel.main] == [
        "activations/03.conv.loss",
        "learning_rate",
        "zeta",
    ]


def test_unknown_metrics_are_shown_all_the_same():
    panels = align.choose_panels([f"m{number}" for number in range(9)])
    assert [panel.main for panel in panels] == [True] * 6 + [False] * 3


@pytest.mark.parametrize(
    ("logged", "goal"),
    [
        ([["loss", "val_loss", "accuracy"]], "val_loss"),
        ([["loss", "val_loss"], ["loss"], ["loss"]], "loss"),
        ([["accuracy", "val_accuracy"]], "val_accuracy"),
        ([["bleu", "dlviz/x"]], "bleu"),
        ([["val_loss", "validation_loss"]], "val_loss"),
        ([["best_val_loss"], []], None),
    ],
)
def test_the_goal(logged, goal):
    assert align.choose_goal(logged) == goal


def test_runs_of_one_name_are_told_apart():
    found = align.labels({"a" * 32: "fox", "b" * 32: "fox", "c" * 32: "owl", "d" * 32: ""})
    assert list(found.values()) == ["fox #aaaaaaaa", "fox #bbbbbbbb", "owl", "dddddddd"]


def test_no_two_labels_are_alike():
    names = {
        "a" * 32: "fox",
        "b" * 32: "fox",
        "c" * 32: "fox #aaaaaaaa",
        "d" * 32: "fox #" + "a" * 32,
        "e" * 32: "fox ",
        "a" * 8 + "f" * 24: "fox",
        "b" * 31 + "c": "",
        "b" * 31 + "d": "bbbbbbbb",
    }
    found = align.labels(names)
    assert list(found) == list(names)
    assert len({" ".join(label.split()) for label in found.values()}) == len(names)
    assert all(label.startswith(names[run_id] or run_id[:8]) for run_id, label in found.items())


@given(st.lists(st.sampled_from(["", "fox", "fox ", "fox #00000000", "00000000", "owl"]), max_size=12))
def test_labels_of_any_names_differ(names):
    found = align.labels({f"{number:032x}": name for number, name in enumerate(names)})
    assert len(set(found.values())) == len(names)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1e-3", "0.001"), ("1", "1.0"), ("1E2", "100"), ("+0.5", ".5"), ("-0", "0"), ("True", "true")],
)
def test_the_same_value_written_otherwise(one, other):
    assert align.canonical(one) == align.canonical(other)
    assert hash(align.canonical(one)) == hash(align.canonical(other))
    assert str(align.canonical(one)) == str(align.canonical(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2024_01", "202401"),
        ("12345678901234567890", "12345678901234567891"),
        ("0.1", "0.10000000000000000555"),
        ("adam", "Adam"),
        ("1e9999", "inf"),
        ("١", "1"),
        ("", "0"),
    ],
)
def test_values_that_only_look_the_same(one, other):
    assert align.canonical(one) != align.canonical(other)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-1000, max_value=1000))
def test_numbers_are_compared_as_numbers(value):
    assert len({align.canonical(text) for text in (f"{value:f}", f"{value:E}", f"{value:f}000")}) == 1


def test_only_params_that_differ():
    runs = [
        {"lr": "1e-3", "on": "True", "same": "x", "only_here": "1", "nan": "nan"},
        {"lr": "0.001", "on": "true", "same": "x", "nan": "NaN", "depth": "3"},
    ]
    assert align.differing(runs) == ["depth", "only_here"]
    assert align.differing([{"lr": "1e-3"}, {"lr": "2e-3"}]) == ["lr"]
    assert align.differing([]) == []
