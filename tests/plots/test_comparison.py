"""One metric of several runs or groups: lines, gaps, colours, names."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_dlviz.plots import comparison, encode
from mlflow_dlviz.plots.comparison import NAMED, Line


def line(series, *values, validation=False, **more):
    return Line(series, validation, np.arange(len(values)), np.array(values, float), **more)


def chart(figure):
    [area] = [area for area in figure.axes if area.get_label() != "canvas"]
    return area


def curves(figure):
    """What is drawn with more than marks."""
    return [drawn for drawn in chart(figure).lines if drawn.get_linestyle() != "None"]


def words(figure):
    return [text.get_text() for text in figure.texts]


def test_validation_is_dashed_and_of_the_same_colour():
    figure = comparison.draw(
        labels=["fox", "owl"], lines=[line(0, 3, 2), line(0, 4, 3, validation=True), line(1, 5, 4)], title="loss"
    )
    train, val = (drawn for drawn in curves(figure) if drawn.get_color() == comparison.style.colour(0))
    assert (train.get_linestyle(), val.get_linestyle()) == ("-", "--")
    np.testing.assert_array_equal(val.get_ydata(), [4, 3])
    assert {"fox", "owl", "training", "validation", "loss"} <= set(words(figure))
    assert len({drawn.get_marker() for drawn in curves(figure)}) == 2


def test_a_run_alone_has_a_colour_for_each_half_and_no_names():
    figure = comparison.draw(labels=["fox"], lines=[line(0, 3, 2), line(0, 4, 3, validation=True)])
    assert len({drawn.get_color() for drawn in curves(figure)}) == 2
    assert "fox" not in words(figure)


def test_beyond_the_named_all_are_grey_and_below():
    labels = [f"run {number}" for number in range(NAMED + 4)]
    figure = comparison.draw(labels=labels, lines=[line(number, number, 1) for number in range(NAMED + 4)])
    assert "and 4 more" in words(figure)
    assert f"run {NAMED}" not in words(figure)
    colours = [drawn.get_color() for drawn in curves(figure)]
    assert colours[:4] == [comparison.style.RULE] * 4
    assert colours[-1] == comparison.style.colour(0)


def test_what_is_not_finite_is_a_gap_with_a_cross_and_off_the_scale():
    figure = comparison.draw(labels=["a"], lines=[line(0, 1.0, 2.0, np.nan, np.inf, 1.5)])
    [drawn] = curves(figure)
    np.testing.assert_array_equal(drawn.get_ydata(), [1, 2, np.nan, np.nan, 1.5])
    [cross] = [mark for mark in chart(figure).lines if mark.get_marker() == "x"]
    np.testing.assert_array_equal([cross.get_xdata(), cross.get_ydata()], [[2], [2.0]])
    low, high = chart(figure).get_ylim()
    assert 0.9 < low < 1 < 2 < high < 2.1


def test_a_band_is_on_the_scale():
    band = {"low": np.array([0.0, 0.5]), "high": np.array([3.0, 2.5])}
    figure = comparison.draw(labels=["a", "b"], lines=[line(0, 1.0, 1.5, **band)])
    assert len(chart(figure).collections) == 1
    low, high = chart(figure).get_ylim()
    assert low < 0 < 3 < high


def test_a_single_step_is_a_dot():
    figure = comparison.draw(labels=["a"], lines=[line(0, 1.0)])
    assert curves(figure)[0].get_marker() == "o"
    encode(figure)


def test_only_positive_values_that_span_decades_are_logarithmic():
    wide, signed = (comparison.draw(labels=["a"], lines=[line(0, low, 500)]) for low in (0.01, -0.01))
    assert (chart(wide).get_yscale(), chart(signed).get_yscale()) == ("log", "linear")
    encode(wide)


@pytest.mark.parametrize("values", [(), (np.nan, np.nan), (1e308, -1e308), (7.0, 7.0)])
def test_odd_values_are_drawn(values):
    encode(comparison.draw(labels=["a"], lines=[line(0, *values)]))
    encode(comparison.draw(labels=[], lines=[]))


def test_names_are_no_mathematics():
    figure = comparison.draw(
        labels=["$x^$", "\n🦊"], lines=[line(0, 1, 2)], title="$y$", subtitle="$", xlabel="$z"
    )
    assert encode(figure).startswith(b"\x89PNG")
