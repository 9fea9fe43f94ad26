"""What a few runs say of all the runs that could have been: interquartile means, intervals, chances. Pure.

n values are n runs of one group (other seeds, nothing else). What is estimated is the interquartile mean (IQM),
the mean of the middle half of the values: less moved by one bad seed than the mean, less wasteful than the median
(Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", arXiv:2108.13264).
Nothing is drawn at random: the bootstrap's variance is summed exactly over all resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from statistics import NormalDist

import numpy as np

FEWEST = 3
"""Runs below which no interval is given."""

_EXACT = 64


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``, in the unit of the values; may reach beyond what the metric can be."""

    low: float
    high: float


@dataclass(frozen=True)
class Band:
    """The IQM at each of S steps and its interval, all (S,), NaN where there is none; n: (S,) int, the runs."""

    center: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


@dataclass(frozen=True)
class Improvement:
    """The chance that a run of one group is better than one of another, ties counting half, in [0, 1].

    low, high: its interval, None for fewer than 3 runs in either; n_a, n_b: the runs compared; paired: whether
    each was compared with the run of the same seed alone.
    """

    probability: float
    low: float | None
    high: float | None
    n_a: int
    n_b: int
    paired: bool


def iqm(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean of the middle half of ``values`` along ``axis``: a mean trimmed by exactly a quarter at each end.

    Where n is not divisible by 4, the values on the border count in part. NaN where there is any, or no value.
    """
    ordered = np.sort(np.asarray(values, float), axis=axis)
    return np.tensordot(ordered, weights(ordered.shape[axis]), axes=(axis, 0)) + (0.0 if ordered.size else np.nan)


@cache
def weights(n: int) -> np.ndarray:
    """(n,) what each of ``n`` sorted values counts in their IQM; sums to 1."""
    found = np.diff(_share(np.arange(n + 1) / n)) if n else np.zeros(0)
    found.flags.writeable = False
    return found


def interval(values: np.ndarray, confidence: float = 0.95) -> Interval | None:
    """Where the IQM of ever more runs would be, from those in ``values`` (n,); None for fewer than 3.

    IQM ± t·√(n/(n-1))·s: s is the bootstrap's standard error (Efron & Tibshirani 1993, "An introduction to the
    bootstrap", ch. 6), √(n/(n-1)) undoes its bias and t, Student's quantile with n-1 degrees of freedom, stands
    for the normal one, as 3 runs tell little of their own spread. Coverage: ``benchmarks/coverage.py``.
    NaN and ±inf are left out.
    """
    found = band(np.reshape(np.asarray(values, float), (-1, 1)), confidence)
    return None if np.isnan(found.low[0]) else Interval(float(found.low[0]), float(found.high[0]))


def band(values: np.ndarray, confidence: float = 0.95) -> Band:
    """:func:`interval` at every step of ``values`` (n, S), each from the runs that have a finite value there.

    A step with one or two runs has a centre and no interval, one without any has neither.
    """
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    ordered = np.sort(np.where(finite, values, np.inf), axis=0)
    center, reach = np.full((2, values.shape[1]), np.nan)
    for n in np.unique(count[count > 0]).tolist():
        at = count == n
        here = ordered[:n, at]
        center[at] = weights(n) @ here
        if n >= FEWEST:
            reach[at] = _stretch(n, confidence) * bootstrap_error(here)
    with np.errstate(over="ignore"):
        return Band(center, center - reach, center + reach, count)


def bootstrap_error(ordered: np.ndarray) -> np.ndarray:
    """(S,) the bootstrap's standard error of the IQM of each column of ``ordered`` (n, S), sorted ascending.

    Exact up to 64 runs: a resample's IQM is a weighted sum of the sorted values, so its variance over all n^n
    resamples is a quadratic form (Hutson & Ernst 2000, "The exact bootstrap mean and variance of an L-estimator",
    doi:10.1111/1467-9868.00221). Beyond, its limit: the winsorised deviation (Efron 1982, "The jackknife, the
    bootstrap and other resampling plans", ch. 3 and 6).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        spread = ordered[-1] - ordered[0]
        # Losses of 1e8 that differ by 1e-3 would cancel, and those of 1e200 overflow.
        scaled = (ordered - ordered[0]) / np.where(spread > 0, spread, 1.0)
    n = len(ordered)
    if n <= _EXACT:
        variance = np.maximum((scaled * (_covariance(n) @ scaled)).sum(axis=0), 0.0)
    else:
        cut = n // 4
        variance = np.clip(scaled, scaled[cut], scaled[n - 1 - cut]).var(axis=0) / (0.25 * n)
    return spread * np.sqrt(variance)


def probability_of_improvement(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    *,
    smaller: bool,
    pairs: Sequence[tuple[int, int]] | None = None,
    confidence: float = 0.95,
) -> Improvement | None:
    """The chance that a run of ``a`` (n_a,) is better than one of ``b`` (n_b,); None if either is empty.

    Over all n_a·n_b couples, P(better) + ½·P(equal): Mann and Whitney's U/(n_a·n_b). pairs: places in ``a`` and
    ``b`` of runs with the same seed, which alone are then compared. The interval is Wilson's for min(n_a, n_b)
    couples: as exact as can be for pairs, and on the safe side for all couples, whose variance is at most that
    (Birnbaum & Klose 1957, doi:10.1214/aoms/1177706794). It does not collapse to a point where one group wins
    every time, as the bootstrap's does.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    n_a, n_b = (len(a), len(b)) if pairs is None else (len(pairs), len(pairs))
    if not (n_a and n_b):
        return None
    if pairs is None:
        left, right = a[:, None], b[None, :]
    else:
        left, right = a[[i for i, _ in pairs]], b[[j for _, j in pairs]]
    better = left < right if smaller else left > right
    probability = float(np.mean(better) + np.mean(left == right) / 2)
    low, high = wilson(probability, min(n_a, n_b), confidence) if min(n_a, n_b) >= FEWEST else (None, None)
    return Improvement(probability, low, high, n_a, n_b, pairs is not None)


def wilson(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share of ``n`` trials: Wilson 1927 (doi:10.1080/01621459.1927.10502953)."""
    square = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2 / n
    middle = (share + square / 2) / (1 + square)
    reach = sqrt(square * share * (1 - share) + square**2 / 4) / (1 + square)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _share(below: np.ndarray) -> np.ndarray:
    # How much of the middle half lies below this share of the sorted values.
    return np.clip(2 * below - 0.5, 0.0, 1.0)


@cache
def _stretch(n: int, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 0.5 + confidence / 2)) * sqrt(n / (n - 1))


@cache
def _covariance(n: int) -> np.ndarray:
    """(n, n) covariance, over all resamples, of what each of ``n`` sorted values counts in the resample's IQM.

    How many of a resample are among the j smallest, C_j, is a Markov chain in j; value j counts
    share(C_j/n) - share(C_(j-1)/n).
    """
    from scipy.special import binom

    count = np.arange(n + 1)
    share = _share(count / n)
    mean, square = np.zeros(n + 1), np.zeros((n + 1, n + 1))
    ahead = np.zeros((n + 1, 0))
    for j in range(n - 1, 0, -1):
        # ahead[a, k - j]: share(C_k/n), as expected when C_j is a.
        ahead = np.column_stack([share, _transition(n, j) @ ahead])
        chance = binom(n, count) * (j / n) ** count * (1 - j / n) ** (n - count)
        mean[j] = chance @ share
        square[j, j:n] = square[j:n, j] = (chance * share) @ ahead
    covariance = square - np.outer(mean, mean)
    return np.diff(np.diff(covariance, axis=0), axis=1)


def _transition(n: int, j: int) -> np.ndarray:
    """(n+1, n+1) the chances of C_(j+1) (columns) given C_j (rows), for n draws from n values."""
    from scipy.special import binom

    before, after = np.ogrid[: n + 1, : n + 1]
    new = np.maximum(after - before, 0)
    chance = 1 / (n - j)
    return np.triu(binom(n - before, new) * chance**new * (1 - chance) ** (n - after))
