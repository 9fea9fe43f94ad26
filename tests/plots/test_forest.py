"""Groups by one figure: dots, bars, counts."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_dlviz.plots import encode, forest


def draw(count=2, **more):
    told = {
        "labels": [f"lr={number}" for number in range(count)],
        "centers": np.arange(count) + 0.5,
        "low": np.arange(count) * 1.0,
        "high": np.arange(count) + 1.0,
        "counts": [3] * count,
        "totals": [4] * count,
        "values": [np.array([number + 0.25, number + 0.5, number + 0.75]) for number in range(count)],
    }
    return forest.draw(**told | more)


def chart(figure):
    [area] = [area for area in figure.axes if area.get_label() != "canvas"]
    return area


def drawn(figure, marker):
    return [line for line in chart(figure).lines if line.get_marker() == marker]


def words(figure):
    return [text.get_text() for text in figure.texts]


def test_a_diamond_a_bar_and_a_dot_per_run():
    figure = draw()
    assert [line.get_xdata()[0] for line in drawn(figure, "D")] == [0.5, 1.5]
    np.testing.assert_array_equal(drawn(figure, "o")[1].get_xdata(), [1.25, 1.5, 1.75])
    bars = [line.get_xdata() for line in chart(figure).lines if line.get_linewidth() == 3]
    np.testing.assert_array_equal(bars, [[0, 1], [1, 2]])
    assert [word for word in words(figure) if word in ("lr=0", "3 of 4")][:2] == ["lr=0", "3 of 4"]


def test_the_first_is_at_the_top():
    bottom, top = chart(draw()).get_ylim()
    assert bottom > top


def test_no_interval_no_bar_and_no_figure_no_diamond():
    nothing = np.array([np.nan, np.nan])
    figure = draw(low=nothing, high=nothing, centers=np.array([np.nan, 1.0]), values=[np.zeros(0), np.ones(1)])
    assert not [line for line in chart(figure).lines if line.get_linewidth() == 3]
    assert len(drawn(figure, "D")) == 1
    encode(figure)


def test_more_groups_than_fit_are_said():
    figure = draw(40, title="Best loss")
    assert f"Best loss · {forest.ROWS} of 40 groups" in words(figure)
    assert len(drawn(figure, "D")) == forest.ROWS


@pytest.mark.parametrize("count", [0, 1])
def test_few_groups(count):
    encode(draw(count))


def test_names_are_no_mathematics():
    encode(draw(labels=["$x^$", "a\nb " + "y" * 400], title="$", subtitle="$", xlabel="$"))
