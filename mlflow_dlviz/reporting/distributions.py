"""From stored counts of scores to histograms on shared bins, and to how well calibrated they are. Pure.

Letters: S epochs, K classes or labels, B bins as stored, b bins as shown. ``counts`` (…, 2, B) are samples by
score: [0] those that are not of the class, [1] those that are; the bins are equal, on [0, 1].
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

BINS = 20
"""Bins shown at most, where those stored can be joined into so few."""

_FEWEST = 5


@dataclass(frozen=True)
class Course:
    """The counted scores of one output of one run, epoch by epoch.

    epochs: rising; counts: of each epoch, (K, 2, B); names: of the classes or labels; multilabel: whether these
    are independent labels; unusable: stored epochs that are left out, being no such counts or of other classes
    or bins than the last.
    """

    epochs: tuple[int, ...]
    counts: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    multilabel: bool = False
    unusable: int = 0

    @property
    def bins(self) -> int:
        """How many were counted in."""
        return self.counts[-1].shape[-1]

    def stack(self, epochs: Sequence[int]) -> np.ndarray:
        """The counts at ``epochs``, (S, K, 2, B) float64."""
        places = [self.epochs.index(epoch) for epoch in epochs]
        return np.stack([self.counts[place] for place in places]).astype(np.float64)


def course(frames: Mapping[int, Mapping[str, np.ndarray]]) -> Course | None:
    """What the visual "probabilities" stored of one leaf; None where nothing of it can be used."""
    usable = {epoch: frames[epoch] for epoch in sorted(frames) if is_usable(frames[epoch])}
    if not usable:
        return None
    last = usable[max(usable)]
    alike = {epoch: arrays for epoch, arrays in usable.items() if _same_classes(arrays, last)}
    return Course(
        tuple(alike),
        tuple(np.asarray(arrays["counts"]) for arrays in alike.values()),
        tuple(str(name) for name in last["class_names"]),
        bool(np.any(last.get("multilabel", False))),
        len(frames) - len(alike),
    )


def is_usable(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether these are counts (K, 2, B), finite and not negative, in equal bins on [0, 1]."""
    if not {"counts", "edges", "class_names"} <= set(arrays):
        return False
    counts, edges = np.asarray(arrays["counts"]), np.asarray(arrays["edges"])
    if counts.dtype.kind not in "iuf" or counts.ndim != 3 or counts.shape[1] != 2 or 0 in counts.shape:
        return False
    if np.shape(arrays["class_names"]) != counts.shape[:1] or edges.shape != (counts.shape[2] + 1,):
        return False
    even = edges.dtype.kind in "iuf" and bool(np.abs(edges - np.linspace(0, 1, len(edges))).max() < 1e-6)
    return even and bool(counts.min() >= 0) and bool(counts.max() < np.inf)


def _same_classes(arrays: Mapping[str, np.ndarray], last: Mapping[str, np.ndarray]) -> bool:
    alike = np.shape(arrays["counts"]) == np.shape(last["counts"])
    return alike and np.array_equal(arrays["class_names"], last["class_names"])


def joined_bins(sizes: Sequence[int]) -> int:
    """Into how many bins histograms of ``sizes`` bins can all be joined without splitting any: a common divisor.

    The largest one up to ``BINS``; where that would leave fewer than 5, the smallest one above, if any.
    """
    common = math.gcd(*sizes)
    divisors = [number for number in range(1, common + 1) if common % number == 0]
    few = max(number for number in divisors if number <= BINS)
    return few if few >= _FEWEST else next((number for number in divisors if number > BINS), few)


def joinable(sizes: Sequence[int]) -> list[bool]:
    """Which of the histograms of ``sizes`` bins can be shown together.

    All that can be joined into 5 bins or more; else those of the size that most have, the first among equals.
    """
    if len(set(sizes)) == 1 or joined_bins(sizes) >= _FEWEST:
        return [True] * len(sizes)
    ((most, _),) = Counter(sizes).most_common(1)
    return [size == most for size in sizes]


def join(counts: np.ndarray, bins: int) -> np.ndarray:
    """Neighbouring bins (the last axis) joined into ``bins``, a divisor of their number; no count is lost."""
    return counts.reshape(*counts.shape[:-1], bins, -1).sum(-1)


def score_sums(counts: np.ndarray, bins: int) -> np.ndarray:
    """The sum of the scores in each of ``bins`` joined bins, each score taken as the middle of its stored bin.

    counts: (…, B). A score is off by at most 1 / (2 B).
    """
    stored = counts.shape[-1]
    middles = (np.arange(stored) + 0.5) / stored
    return join(counts * middles, bins)


def mean_scores(counts: np.ndarray, bins: int) -> np.ndarray:
    """The mean score in each of ``bins`` joined bins, NaN in an empty one; counts: (…, B)."""
    total = join(counts, bins)
    return np.divide(score_sums(counts, bins), total, out=np.full(total.shape, np.nan), where=total > 0)


def calibration_error(counts: np.ndarray, bins: int) -> np.ndarray:
    """Expected calibration error of "is it of the class?", a probability in [0, 1]; NaN without samples.

    counts: (…, 2, B); gives (…). The sum over ``bins`` of n_b / n · |share of the class - mean score|, Guo et
    al. 2017, eq. 3 (arXiv:1706.04599). Over the last axis of several classes, the mean is the class-wise
    ECE of Kull et al. 2019 (arXiv:1910.12656).
    """
    either = counts.sum(-2)
    gaps = np.abs(join(counts[..., 1, :], bins) - score_sums(either, bins)).sum(-1)
    total = either.sum(-1)
    return np.divide(gaps, total, out=np.full(total.shape, np.nan), where=total > 0)


def quantiles(counts: np.ndarray, share: float) -> np.ndarray:
    """The score below which ``share`` of the samples lie, linear within its stored bin; NaN without samples.

    counts: (…, B); gives (…). Off by at most one stored bin, 1 / B.
    """
    stored = counts.shape[-1]
    below = np.cumsum(counts, axis=-1)
    wanted = share * below[..., -1:]
    place = np.minimum((below < wanted).sum(-1, keepdims=True), stored - 1)
    within = np.take_along_axis(counts, place, -1)
    before = np.take_along_axis(below, place, -1) - within
    part = np.divide(wanted - before, within, out=np.full(within.shape, np.nan), where=within > 0)
    found = (place + part) / stored
    return np.where(below[..., -1] > 0, found[..., 0], np.nan)
