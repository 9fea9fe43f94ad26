"""Predicted against true values, the histogram of the residuals, and how these shrank over the epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots._style import BOTTOM, HEIGHT, TOP, WIDTH, Box
from mlflow_dlviz.plots._text import number, percent, text

_CELLS, _BARS, _REACH = 40, 25, 2.0
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SHARES = [(0.0, "0"), (0.01, "1 %"), (0.1, "10 %"), (0.25, "25 %"), (0.5, "50 %"), (1.0, "100 %")]
_PAIRS, _RESIDUALS = Box(100, TOP, 326, BOTTOM - TOP), Box(520, TOP, 206, BOTTOM - TOP)


def draw(
    *,
    residuals,
    residual_edges,
    pairs,
    pair_edges,
    in_spreads,
    r2,
    mae,
    rmse,
    std,
    samples,
    subset,
    epoch,
) -> Figure:
    """Draw how predictions agree with their targets at one epoch: pairs at the left, differences at the right.

    Both axes of the pairs are the range of the targets; the residuals' axis is two standard deviations of the
    targets to either side, what a prediction of their mean would need. So no epoch changes an axis. What is
    beyond is said in per cent. Colours are shares of the fullest column of targets, heights shares of all
    values, both on a square-root scale.

    residuals: (B,) values by prediction less target; residual_edges: (B + 1,), rising.
    pairs: (G + 2, G + 2) values by target (rows) and prediction, the first and last beyond pair_edges (G + 1,).
    in_spreads: 0-d bool, whether edges are in spreads of each output around its centre, not in their unit.
    r2, mae, rmse, std: (D,) of each output, in its unit, std of its targets; their means are written.
    samples: 0-d, number or weight of the samples. subset: 0-d unicode. epoch: 0-d int, 0-based.
    """
    residuals, residual_edges = _checked("residuals", residuals, residual_edges)
    pairs, pair_edges = _checked_pairs(pairs, pair_edges)
    figure = style.new_figure()
    style.header(figure, f"Predicted against true, {text(subset, 12)}", epoch, _facts(r2, mae, rmse, samples))
    _draw_pairs(figure, pairs, pair_edges, bool(in_spreads))
    reach = _reach(residuals, residual_edges, std, bool(in_spreads))
    _draw_residuals(figure, residuals, residual_edges, reach, bool(in_spreads))
    return figure


def evolve(
    *,
    residuals,
    residual_edges,
    pairs,
    pair_edges,
    in_spreads,
    r2,
    mae,
    rmse,
    std,
    samples,
    subset,
    epoch,
) -> Figure:
    """Draw how the residuals changed: their median, and the bands of the middle 50 % and 90 %, by epoch.

    The axis is linear up to a fiftieth of the targets' standard deviation and logarithmic beyond: it shows
    the large residuals of the start and the small ones of the end.

    Every argument is :func:`draw`'s with S frames stacked on axis 0.
    """
    counts, epochs = np.nan_to_num(np.asarray(residuals, dtype=np.float64)), np.atleast_1d(epoch)
    if counts.ndim != 2 or not len(counts):
        raise ValueError(f"residuals: residuals of shape {counts.shape}, expected (S, B) with S > 0")
    order = np.argsort(epochs, kind="stable")
    counts, edges = _checked("residuals", counts[order], np.asarray(residual_edges)[-1])
    bands = np.array([quantiles(frame, edges, _QUANTILES) for frame in counts])
    figure = style.new_figure()
    spreads = bool(np.any(in_spreads))
    style.header(figure, f"Residuals by epoch, {text(np.atleast_1d(subset)[-1], 12)}")
    fine = _reach(counts[-1], edges, np.asarray(std)[-1], spreads) / (50 * _REACH)
    _draw_bands(figure, bands, epochs[order], fine, spreads)
    return figure


def quantiles(counts: np.ndarray, edges: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The quantiles of a histogram, (B,) counts between (B + 1,) edges, as if even within bins; NaN of nothing."""
    total = counts.sum()
    if not total > 0:
        return np.full(len(shares), np.nan)
    filled = np.flatnonzero(counts)
    inside = slice(filled[0], filled[-1] + 1)
    below = np.concatenate([[0], np.cumsum(counts[inside])]) / total
    return np.interp(shares, below, edges[filled[0] : filled[-1] + 2])


def resample(counts: np.ndarray, edges: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The counts between other edges, as if even within bins; what is beyond these is left out."""
    below = np.concatenate([[0], np.cumsum(counts)])
    return np.diff(np.interp(to, edges, below))


def _checked(what: str, counts, edges) -> tuple[np.ndarray, np.ndarray]:
    counts, edges = np.nan_to_num(np.asarray(counts, dtype=np.float64)), np.asarray(edges, dtype=np.float64)
    if not counts.ndim or edges.shape != (counts.shape[-1] + 1,) or counts.shape[-1] < 1:
        raise ValueError(f"residuals: {what} of shape {counts.shape} between edges of shape {edges.shape}")
    return counts, edges


def _checked_pairs(pairs, edges) -> tuple[np.ndarray, np.ndarray]:
    pairs, edges = np.nan_to_num(np.asarray(pairs, dtype=np.float64)), np.asarray(edges, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or pairs.shape != (len(edges) + 1, len(edges) + 1):
        raise ValueError(f"residuals: pairs of shape {pairs.shape} between edges of shape {edges.shape}")
    return pairs, edges


def _facts(r2, mae, rmse, samples) -> str:
    means = [number(float(np.mean(value))) for value in (r2, mae, rmse)]
    outputs = f" · mean of {np.size(r2)} outputs" if np.size(r2) > 1 else ""
    size = f"{float(samples):,.0f}".replace(",", " ")
    return f"R² {means[0]} · MAE {means[1]} · RMSE {means[2]} · n = {size}{outputs}"


def _reach(counts: np.ndarray, edges: np.ndarray, std, in_spreads: bool) -> float:
    """How far the residuals' axis goes to either side."""
    spread = 1.0 if in_spreads else float(np.mean(std))
    if np.isfinite(spread) and spread > 0:
        return _REACH * spread
    filled = np.flatnonzero(counts)
    farthest = max((abs(edges[i]) for i in (*filled, *(filled + 1))), default=1.0)
    return float(farthest) or 1.0


# ---- one epoch -----------------------------------------------------------------------------------------------


def _draw_pairs(figure: Figure, pairs: np.ndarray, edges: np.ndarray, in_spreads: bool) -> None:
    low, high = _limits(pairs.sum(axis=1)[1:-1])
    cells = _joined(_within(pairs, low, high), -(-(high - low) // _CELLS))
    limits = edges[low], edges[high]
    beside = " (in spreads)" if in_spreads else ""
    area = style.axes(figure, _PAIRS, ylabel=f"predicted{beside}")
    style.write(figure, _PAIRS.left + _PAIRS.width / 2, HEIGHT - 8, f"true value{beside}", style.LABEL, **_FOOT)
    norm = PowerNorm(0.5, 0, max(1.0, float(cells.sum(axis=1).max(initial=0))))
    image = area.imshow(
        np.ma.masked_equal(cells.T, 0), cmap=style.SEQUENTIAL, norm=norm, origin="lower", aspect="auto",
        interpolation="nearest", extent=(*limits, *limits),
    )  # fmt: skip
    image.set_label("pairs")
    area.plot(limits, limits, color=style.INK, linewidth=1.5, linestyle=(0, (4, 3)), label="equal")
    area.set(xlim=limits, ylim=limits)
    _few_ticks(area, limits)
    outside = pairs.sum() - pairs[1:-1, 1:-1][low:high, low:high].sum()
    if outside > 0:
        note = f"{percent(outside / pairs.sum())} outside, at the edge"
        style.write(figure, _PAIRS.left + 10, _PAIRS.top + 8, note, colour=style.SOFT)


_FOOT = {"ha": "center", "va": "bottom"}


def _limits(targets: np.ndarray) -> tuple[int, int]:
    """The first bin and the last plus one that hold targets, and one more on either side."""
    filled = np.flatnonzero(targets)
    if not len(filled):
        return 0, len(targets)
    return max(0, filled[0] - 1), min(len(targets), filled[-1] + 2)


def _within(pairs: np.ndarray, low: int, high: int) -> np.ndarray:
    """The inner bins from low to high, with what is outside counted at their edge."""
    starts = [0, *range(low + 2, high + 1)]
    return np.add.reduceat(np.add.reduceat(pairs, starts, axis=0), starts, axis=1)


def _joined(cells: np.ndarray, step: int) -> np.ndarray:
    starts = np.arange(0, len(cells), step)
    return np.add.reduceat(np.add.reduceat(cells, starts, axis=0), starts, axis=1)


def _few_ticks(area: Axes, limits: tuple[float, float]) -> None:
    marks = style.round_ticks(*limits)
    style.ticks(area, x=(marks[:: max(1, len(marks) // 3)],), y=(marks,))


def _draw_residuals(figure: Figure, counts, edges: np.ndarray, reach: float, in_spreads: bool) -> None:
    bars = np.linspace(-reach, reach, _BARS + 1)
    total = counts.sum() or 1.0
    share = resample(counts, edges, bars) / total
    area = style.axes(figure, _RESIDUALS)
    foot = "residual (in spreads)" if in_spreads else "residual"
    style.write(figure, _RESIDUALS.left + _RESIDUALS.width / 2, HEIGHT - 8, foot, style.LABEL, **_FOOT)
    middle = _RESIDUALS.top + _RESIDUALS.height / 2
    style.write(figure, 446, middle, "share (√ scale)", style.LABEL, rotation=90, ha="center", va="center")
    area.stairs(np.sqrt(share), bars, fill=True, color=style.COLOURS[0], alpha=0.6, label="residuals")
    area.plot([0, 0], [0, 0.9], color=style.INK, linewidth=1.5, linestyle=(0, (4, 3)), label="0")
    area.set(xlim=(-reach, reach), ylim=(0, 1))
    marks = [(np.sqrt(value), mark) for value, mark in _SHARES]
    ends = style.round_ticks(-reach, reach)
    style.ticks(area, x=([ends[0], 0.0, ends[-1]] if ends else (),), y=tuple(zip(*marks, strict=True)))
    beyond = 1 - share.sum()
    if beyond > 1e-9 and counts.sum():
        note = f"{percent(beyond)} beyond"
        right = _RESIDUALS.left + _RESIDUALS.width
        style.write(figure, right, TOP + 8, note, colour=style.SOFT, ha="right")


# ---- over the epochs -----------------------------------------------------------------------------------------


def _draw_bands(figure: Figure, bands: np.ndarray, epochs: np.ndarray, fine: float, in_spreads: bool) -> None:
    """bands: (S, 5) quantiles; fine: up to where the axis is linear."""
    label = "residual (in spreads)" if in_spreads else "residual"
    area = style.axes(figure, Box(116, TOP, WIDTH - 116 - 24, BOTTOM - TOP), xlabel="epoch", ylabel=label)
    bent = np.arcsinh(bands / fine)
    colour = style.COLOURS[0]
    # A band of one epoch has no width.
    x = np.asarray(epochs, dtype=float) if len(epochs) > 1 else epochs[0] + np.array([-0.4, 0.4])
    bent = bent if len(epochs) > 1 else np.repeat(bent, 2, axis=0)
    for low, high, alpha, name in ((0, 4, 0.25, "90 %"), (1, 3, 0.4, "50 %")):
        area.fill_between(x, bent[:, low], bent[:, high], color=colour, alpha=alpha, linewidth=0, label=name)
    area.plot(x, bent[:, 2], color=colour, linewidth=2.5, label="median")
    area.plot(x[[0, -1]], [0, 0], color=style.INK, linewidth=1.5, linestyle=(0, (4, 3)), label="0")
    top = max(1.0, float(np.nanmax(np.abs(bent), initial=0)) * 1.05)
    area.set(xlim=(x[0], x[-1]), ylim=(-top, top))
    places = style.spread(len(epochs), 5)
    marks = _bent_ticks(fine, top)
    style.ticks(area, x=([float(epochs[i]) for i in places], [str(int(epochs[i])) for i in places]))
    style.ticks(area, y=(np.arcsinh(np.array(marks) / fine), [number(mark) for mark in marks]))
    subtitle = "line: median · bands: the middle 50 % and 90 % · log scale away from 0"
    style.write(figure, style.MARGIN, 48, subtitle, style.TICK, style.SOFT)


def _bent_ticks(fine: float, top: float) -> list[float]:
    """0 and powers of ten to either side, three at most, within an axis of asinh(residual / fine)."""
    first, last = int(np.ceil(np.log10(fine))), int(np.floor(np.log10(fine * np.sinh(min(top, 700)))))
    powers = [10.0**power for power in range(first, last + 1)][::-1]
    powers = powers[:: max(1, -(-len(powers) // 3))]
    return [*(-power for power in powers), 0.0, *powers[::-1]]
