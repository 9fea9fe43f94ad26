"""What a curve shows when training goes wrong, in numbers. Pure.

Thresholds are multiples of the curve's own noise, so that neither units nor a nervous metric matter: the robust
standard deviation of the differences of neighbouring values, over √2 (1.4826 times the median absolute deviation;
Rousseeuw and Croux 1993). Levels are medians of a few values, so that one outlier is no symptom. What
overflows on the way counts as infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from mlflow_dlviz.reporting.align import Curve

SHORTEST = 8
"""Finite values below which a curve has no level, no trend and no plateau."""


@dataclass(frozen=True)
class NotFinite:
    """The first value of a curve that is NaN or infinite, and how many of its ``total`` values are."""

    step: int
    value: float
    count: int
    total: int


@dataclass(frozen=True)
class Divergence:
    """A loss that ended far above: from ``initial`` to the ``best``, and ``final``, the level of its end."""

    initial: float
    best: float
    best_step: int
    final: float
    last_step: int


@dataclass(frozen=True)
class Overfitting:
    """A loss that rose on validation data while it fell on training data, from ``step`` to ``last_step``.

    val, train: the levels at both, (then, at the end).
    """

    step: int
    last_step: int
    val: tuple[float, float]
    train: tuple[float, float]


@dataclass(frozen=True)
class Plateau:
    """A metric whose last half brought next to nothing: ``gain``, of ``total`` since the first value.

    best, best_step: the best value; half_step: where the last half begins; last_step: where it ends.
    """

    best: float
    best_step: int
    half_step: int
    last_step: int
    gain: float
    total: float


def not_finite(curve: Curve) -> NotFinite | None:
    """The first value that is NaN or infinite."""
    bad = ~np.isfinite(curve.values)
    if not bad.any():
        return None
    first = int(np.argmax(bad))
    return NotFinite(int(curve.steps[first]), float(curve.values[first]), int(bad.sum()), len(bad))


def noise(values: np.ndarray) -> float:
    """Standard deviation of the noise of ``values``, (S,) finite, whatever their trend."""
    steps = np.diff(values)
    return 1.4826 / sqrt(2) * _median(np.abs(steps - _median(steps))) if len(steps) else 0.0


@np.errstate(over="ignore", invalid="ignore")
def divergence(curve: Curve) -> Divergence | None:
    """Whether a loss ended far above where it began, or lost what it had gained.

    Far above: by half of its first value and six times its noise. Lost: four fifths of a fall that was at least a
    tenth of the first value and ten times the noise.
    """
    steps, values = _finite(curve)
    if len(values) < SHORTEST:
        return None
    spread, end = noise(values), _tail(values)
    initial, final = _median(values[: max(1, len(values) // 50)]), _median(values[-end:])
    best = _lowest(values)
    lowest = _median(values[max(0, best - 1) : best + 2])
    fell = initial - lowest
    above = final - initial > max(0.5 * abs(initial), 6 * spread)
    lost = final - lowest > 0.8 * fell and fell > max(0.1 * abs(initial), 10 * spread)
    if not (above or lost):
        return None
    return Divergence(initial, lowest, int(steps[best]), final, int(steps[-1]))


@np.errstate(over="ignore", invalid="ignore")
def overfitting(train: Curve, val: Curve) -> Overfitting | None:
    """Whether a loss has risen on validation data since its best while it fell on training data.

    The best must lie in the first three quarters; the rise must be a tenth of the best level and four times the
    noise, the fall on training data two per cent and twice its noise.
    """
    steps, fitted, checked = _common(train, val)
    if len(steps) < SHORTEST:
        return None
    place, end = _lowest(checked), _tail(checked)
    if place > 0.75 * (len(steps) - 1):
        return None
    around = slice(max(0, place - 1), place + 2)
    then, last = _median(checked[around]), _median(checked[-end:])
    then_fitted, last_fitted = _median(fitted[around]), _median(fitted[-end:])
    rose = last - then > max(0.1 * abs(then), 4 * noise(checked))
    fell = then_fitted - last_fitted > max(0.02 * abs(then_fitted), 2 * noise(fitted))
    if not (rose and fell):
        return None
    return Overfitting(int(steps[place]), int(steps[-1]), (then, last), (then_fitted, last_fitted))


@np.errstate(over="ignore", invalid="ignore")
def plateau(curve: Curve, *, smaller: bool) -> Plateau | None:
    """Whether the best of the last half is better than that of the first by no more than 1 % of all progress.

    smaller: whether smaller values are better.
    """
    steps, values = _finite(curve)
    if len(values) < SHORTEST:
        return None
    worse = values if smaller else -values
    half = len(values) // 2
    best = int(np.argmin(worse))
    total = float(worse[0] - worse[best])
    gain = max(0.0, float(worse[:half].min() - worse[best]))
    if gain > 0.01 * total:
        return None
    return Plateau(float(values[best]), int(steps[best]), int(steps[half]), int(steps[-1]), gain, total)


@np.errstate(over="ignore", invalid="ignore")
def exploding(curve: Curve) -> tuple[int, float, float] | None:
    """(step, value, median) of the greatest norm where it is over a thousand times the median one."""
    steps, values = _finite(curve)
    if len(values) < SHORTEST:
        return None
    place, usual = int(np.argmax(values)), _median(values)
    return (int(steps[place]), float(values[place]), usual) if values[place] > 1000 * usual > 0 else None


def last_level(curve: Curve) -> float | None:
    """The median of the last finite values, at most three; None without any."""
    _, values = _finite(curve)
    return _median(values[-3:]) if len(values) else None


@np.errstate(over="ignore", invalid="ignore")
def is_constant(curve: Curve) -> bool:
    """Whether there are two finite values or more, all alike to seven digits."""
    _, values = _finite(curve)
    return len(values) > 1 and bool(np.ptp(values) <= 1e-7 * np.abs(values).max())


def _finite(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    finite = np.isfinite(curve.values)
    return (curve.steps, curve.values) if finite.all() else (curve.steps[finite], curve.values[finite])


def _common(train: Curve, val: Curve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    (steps, fitted), (others, checked) = _finite(train), _finite(val)
    if np.array_equal(steps, others):
        return steps, fitted, checked
    both, left, right = np.intersect1d(steps, others, assume_unique=True, return_indices=True)
    return both, fitted[left], checked[right]


def _tail(values: np.ndarray) -> int:
    return max(3, len(values) // 20)


def _median(values: np.ndarray) -> float:
    # np.median looks for NaN, which takes ten times as long as the median of a few values.
    ordered, half = np.sort(values), len(values) // 2
    return float(ordered[half] if len(values) % 2 else ordered[half - 1] / 2 + ordered[half] / 2)


def _lowest(values: np.ndarray) -> int:
    """The place of the lowest value that is not alone: where the median of three neighbours is lowest."""
    left, middle, right = values[:-2], values[1:-1], values[2:]
    medians = np.maximum(np.minimum(left, middle), np.minimum(np.maximum(left, middle), right))
    start = int(np.argmin(medians))
    return start + int(np.argmin(values[start : start + 3]))
