"""Metric curves: pairs, marks, scales."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_dlviz.plots import curves, encode


def draw(metrics, epochs=None, **more):
    values = np.array(list(metrics.values()), dtype=float).reshape(len(metrics), -1)
    epochs = np.arange(values.shape[1]) if epochs is None else np.asarray(epochs)
    return curves.draw(names=np.array(list(metrics), dtype=str), epochs=epochs, values=values, **more)


def panels(figure):
    return [area for area in figure.axes if area.get_label() != "canvas"]


def lines(area):
    return {line.get_label(): line for line in area.lines}


def words(figure):
    return " | ".join(line.get_text() for line in figure.texts)


def test_training_and_validation_share_a_panel_and_the_loss_comes_first():
    figure = draw({"accuracy": [0.1, 0.9], "val_loss": [3, 2], "val_accuracy": [0.2, 0.8], "loss": [2, 1]})
    loss, accuracy = panels(figure)
    assert set(lines(loss)) == {"loss", "val_loss"}
    assert set(lines(accuracy)) == {"accuracy", "val_accuracy"}
    np.testing.assert_array_equal(lines(loss)["val_loss"].get_ydata(), [3, 2])
    assert lines(loss)["loss"].get_linestyle() == "-"
    assert lines(loss)["val_loss"].get_linestyle() == "--"


def test_the_best_epoch_is_marked_in_every_panel():
    figure = draw({"loss": [2, 1, 3], "mcc": [0, 1, 0]}, epochs=[4, 5, 6], best_epoch=np.array(5), title="run $7")
    for area in panels(figure):
        np.testing.assert_array_equal(lines(area)["best epoch"].get_xdata(), [5, 5])
        assert [label.get_text() for label in area.get_xticklabels()] == ["4", "5", "6"]
    assert "best epoch: 5" in words(figure)
    assert r"run \$7" in words(figure)


@pytest.mark.parametrize("best", [None, np.array(np.nan)])
def test_no_best_epoch_no_mark(best):
    assert "best" not in words(draw({"loss": [2, 1]}, best_epoch=best))


def test_only_a_loss_that_spans_decades_is_logarithmic():
    figure = draw({"loss": [5, 0.01], "mcc": [1, 0.001], "aux_loss": [1, 0.5], "neg_loss": [-1, 500]})
    assert [area.get_yscale() for area in panels(figure)] == ["log", "linear", "linear", "linear"]
    encode(figure)


def test_a_single_epoch_shows_dots():
    (area,) = panels(draw({"loss": [2.0], "val_loss": [1.0]}))
    assert {line.get_marker() for line in area.lines} == {"o"}


def test_six_panels_at_most_and_the_rest_counted():
    figure = draw({f"metric_{i}": [0, i] for i in range(9)})
    assert len(panels(figure)) == 6
    assert "6 of 9 metrics" in words(figure)


@given(st.lists(st.sampled_from(["loss", "val_loss", "a", "val_a", "b", "val_b", "val_c"]), unique=True))
def test_pairing_keeps_every_name_once(names):
    groups = curves.pair(names)
    assert sorted(name for group in groups for name in group) == sorted(names)
    assert all(len({name.removeprefix("val_") for name in group}) == 1 for group in groups)
    if "loss" in names:
        assert groups[0][0] == "loss"


@pytest.mark.parametrize("values", [[np.nan, np.nan], [1, np.nan], [3, 3], [0, 0], [np.inf, 1], [1e300, -1e300]])
def test_degenerate_values_are_drawn(values):
    encode(draw({"loss": values, "$m$ <b>\n": values}))


def test_no_metrics_and_no_epochs_are_drawn():
    encode(curves.draw(names=np.empty(0, str), epochs=np.empty(0), values=np.empty((0, 0))))
    encode(curves.draw(names=np.array(["loss"]), epochs=np.empty(0), values=np.empty((1, 0))))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="2 epochs"):
        curves.draw(names=np.array(["loss"]), epochs=np.arange(2), values=np.zeros((1, 3)))
