"""Long curves in few points: no spike lost, and smoothed as exactly as the whole would be. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Compact:
    """What stands for a curve of S points.

    places: (P,) int, ascending: which points are kept. even: (Q,) int: where the averages are given; smoothed:
    (W, Q): the moving average of all S points by each of W weights, at those places.
    """

    places: np.ndarray
    even: np.ndarray
    smoothed: np.ndarray


def compact(values: np.ndarray, count: int, weights: Sequence[float]) -> Compact:
    """``values`` (S,) in at most ``count`` points, and their averages by ``weights`` at half as many.

    The averages have places of their own: at the extremes of each stretch they would lean to the extremes.
    """
    even = evenly(len(values), count // 2)
    smoothed = np.zeros((len(weights), len(even)))
    for row, weight in enumerate(weights):
        smoothed[row] = moving_average(values, weight)[even]
    return Compact(extremes(values, count), even, smoothed)


def evenly(size: int, count: int) -> np.ndarray:
    """At most ``count`` (at least 2) of ``size`` places, evenly: the first, the last and what lies between."""
    if size <= max(2, count):
        return np.arange(size)
    return np.arange(max(2, count)) * (size - 1) // (max(2, count) - 1)


def extremes(values: np.ndarray, count: int) -> np.ndarray:
    """Places of at most ``count`` (at least 4) of ``values`` (S,): the lowest and highest of each stretch.

    The first and the last place are among them. A stretch without any finite value is kept as its first, a gap.
    """
    size = len(values)
    if size <= count:
        return np.arange(size)
    width = -(-size // max(1, (count - 2) // 2))
    starts = np.arange(0, size, width)
    padded = np.full(len(starts) * width, np.nan)
    padded[:size] = values
    stretches = padded.reshape(len(starts), width)
    finite = np.isfinite(stretches)
    lowest = np.where(finite, stretches, np.inf).argmin(axis=1)
    highest = np.where(finite, stretches, -np.inf).argmax(axis=1)
    return np.unique(np.concatenate([[0, size - 1], starts + lowest, starts + highest]))


def moving_average(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average of ``values`` (S,), the past weighted by ``weight`` in [0, 1), debiased.

    s_t = w s_(t-1) + (1 - w) x_t from s_0 = 0, divided by 1 - w^t: Kingma & Ba 2015, section 3 (arXiv:1412.6980).
    What is not finite is passed over: NaN there, and t does not count it.
    """
    from scipy.signal import lfilter

    finite = np.isfinite(values)
    known = values[finite]
    averages = np.full(len(values), np.nan)
    if len(known):
        sums = lfilter([1 - weight], [1, -weight], known)
        averages[finite] = sums / (1 - weight ** np.arange(1, len(known) + 1))
    return averages


def allowance(costs: Sequence[float], budget: float) -> float:
    """How much each may cost at most, so that together, each cut to it, they cost ``budget``; inf if all fit."""
    ordered = np.sort(np.asarray(costs, dtype=float))
    if ordered.sum() <= budget:
        return np.inf
    before = np.cumsum(ordered) - ordered
    levels = (budget - before) / np.arange(len(ordered), 0, -1)
    return max(0.0, float(levels[np.argmax(levels < ordered)]))
