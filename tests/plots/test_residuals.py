"""Residuals and pairs: what each cell and bar is, and axes that no prediction moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_dlviz.plots import encode, residuals

EDGES = 0.05 * np.sinh(np.linspace(-8, 8, 402))
PAIR_EDGES = np.linspace(60, 140, 81)
RNG = np.random.default_rng(0)
TRUE = RNG.normal(100, 10, 800)


def arguments(found, true=TRUE, **more):
    open_ended = [-np.inf, *PAIR_EDGES, np.inf]
    inside = np.clip(found - true, EDGES[0], EDGES[-1])
    return {
        "residuals": np.histogram(inside, EDGES)[0],
        "residual_edges": EDGES,
        "pairs": np.histogram2d(true, found, [open_ended, open_ended])[0],
        "pair_edges": PAIR_EDGES,
        "in_spreads": np.array(False),
        "r2": np.array([0.91]),
        "mae": np.array([2.5]),
        "rmse": np.array([3.25]),
        "std": np.array([10.0]),
        "samples": np.array(len(true)),
        "subset": np.array("validation"),
        "epoch": np.array(4),
        **more,
    }


def stacked(frames, epochs):
    together = {name: np.stack([np.asarray(frame[name]) for frame in frames]) for name in frames[0]}
    return together | {"epoch": np.asarray(epochs)}


def words(figure):
    return " | ".join(line.get_text() for line in figure.texts)


def areas(figure):
    pairs = next(area for area in figure.axes if area.images)
    bars = next(area for area in figure.axes if any(p.get_label() == "residuals" for p in area.patches))
    return pairs, bars


def test_the_metrics_are_written_on_it():
    for part in ("R² 0.91", "MAE 2.5", "RMSE 3.25", "n = 800", "validation", "epoch 4"):
        assert part in words(residuals.draw(**arguments(TRUE)))
    several = arguments(TRUE, r2=np.array([0.5, 0.7]), std=np.ones(2), mae=np.ones(2), rmse=np.ones(2))
    assert "R² 0.6" in words(residuals.draw(**several))
    assert "mean of 2 outputs" in words(residuals.draw(**several))


def test_what_is_right_lies_on_the_diagonal_and_at_zero():
    pairs, bars = areas(residuals.draw(**arguments(TRUE)))
    cells = np.ma.filled(pairs.images[0].get_array(), 0)
    np.testing.assert_array_equal(cells, np.diag(np.diag(cells)))
    assert cells.sum() == 800
    [line] = [line for line in pairs.lines if line.get_label() == "equal"]
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
    heights = next(p for p in bars.patches if p.get_label() == "residuals").get_data()
    # An odd number of bars: 0 is in the middle of one.
    assert heights.values.argmax() == len(heights.values) // 2
    assert heights.values.max() == 1


def test_targets_are_across_and_predictions_upwards():
    true, found = np.array([90.0, 110.0]), np.array([110.0, 110.0])
    pairs, bars = areas(residuals.draw(**arguments(found, true)))
    cells = np.ma.filled(pairs.images[0].get_array(), 0)
    rows, columns = np.nonzero(cells)
    assert len({*rows}) == 1
    assert len({*columns}) == 2
    heights = next(p for p in bars.patches if p.get_label() == "residuals").get_data()
    # A prediction that is too high is a positive residual.
    assert np.flatnonzero(heights.values).min() >= len(heights.values) // 2


def test_no_prediction_moves_an_axis_and_what_is_outside_is_said():
    good, bad = (residuals.draw(**arguments(found)) for found in (TRUE, TRUE - 500))
    for one, other in zip(areas(good), areas(bad), strict=True):
        assert (one.get_xlim(), one.get_ylim()) == (other.get_xlim(), other.get_ylim())
    assert "100 % outside, at the edge" in words(bad)
    assert "100 % beyond" in words(bad)
    assert "outside" not in words(good)
    cells = np.ma.filled(areas(bad)[0].images[0].get_array(), 0)
    assert cells[0].sum() == cells.sum() == 800
    limits = areas(good)[0].get_xlim()
    assert limits[0] <= TRUE.min() <= TRUE.max() <= limits[1]
    assert areas(good)[1].get_xlim() == (-20, 20)


def test_spreads_are_said_to_be_spreads():
    figure = residuals.draw(**arguments(TRUE, in_spreads=np.array(True)))
    assert words(figure).count("in spreads") == 3


@given(st.integers(0, 50), st.integers(3, 60))
def test_resampling_loses_nothing_inside(seed, bars):
    counts = np.random.default_rng(seed).integers(0, 9, 401)
    to = np.linspace(EDGES[0], EDGES[-1], bars)
    got = residuals.resample(counts, EDGES, to)
    assert got.sum() == pytest.approx(counts.sum())
    assert (got >= 0).all()


def test_quantiles_are_those_of_the_data_to_bin_resolution():
    data = np.random.default_rng(1).normal(3, 2, 5000)
    got = residuals.quantiles(np.histogram(data, EDGES)[0], EDGES, (0.05, 0.5, 0.95))
    assert got == pytest.approx(np.quantile(data, [0.05, 0.5, 0.95]), abs=0.1)
    assert np.isnan(residuals.quantiles(np.zeros(401), EDGES, (0.5,))).all()


def test_evolve_shows_the_bands_by_epoch():
    frames = [arguments(TRUE + RNG.normal(0, spread, 800)) for spread in (20, 5, 1)]
    figure = residuals.evolve(**stacked(frames, [0, 3, 19]))
    [area] = [area for area in figure.axes if area.lines]
    bands = {band.get_label(): band.get_paths()[0].vertices for band in area.collections}
    widths = [np.ptp(bands["90 %"][bands["90 %"][:, 0] == epoch][:, 1]) for epoch in (0, 3, 19)]
    assert widths == sorted(widths, reverse=True)
    assert area.get_xlim() == (0, 19)
    low, high = area.get_ylim()
    assert low == -high
    marks = [label.get_text() for label in area.get_yticklabels()]
    assert marks[len(marks) // 2] == "0"
    assert marks[-1].lstrip("1").strip("0") == ""


def test_evolve_sorts_epochs_and_survives_a_single_one():
    frames = [arguments(TRUE + 30), arguments(TRUE)]
    figure = residuals.evolve(**stacked(frames, [7, 3]))
    [line] = [line for area in figure.axes for line in area.lines if line.get_label() == "median"]
    assert line.get_xdata().tolist() == [3, 7]
    assert line.get_ydata()[0] == pytest.approx(0, abs=0.1) != line.get_ydata()[1]
    encode(residuals.evolve(**stacked(frames[:1], [0])))
    with pytest.raises(ValueError, match="S > 0"):
        residuals.evolve(**(stacked(frames[:1], [0]) | {"residuals": np.zeros((0, 401))}))


@pytest.mark.parametrize("std", [0.0, np.nan, 1e-30, 1e30])
def test_degenerate_numbers_are_drawn(std):
    empty = arguments(TRUE) | {"residuals": np.zeros(401), "pairs": np.zeros((82, 82)), "samples": np.array(0)}
    broken = arguments(TRUE) | {"r2": np.array([np.nan]), "mae": np.array([np.inf])}
    for frame in (empty, broken, arguments(TRUE), arguments(TRUE[:1], TRUE[:1])):
        frame = frame | {"std": np.array([std])}
        encode(residuals.draw(**frame))
        encode(residuals.evolve(**stacked([frame, frame], [0, 1])))


@pytest.mark.parametrize(("name", "shape"), [("residuals", (5,)), ("pairs", (81, 82)), ("pair_edges", (1,))])
def test_wrong_shapes_are_refused(name, shape):
    with pytest.raises(ValueError, match="residuals: "):
        residuals.draw(**(arguments(TRUE) | {name: np.zeros(shape)}))
