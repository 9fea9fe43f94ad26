"""Which params matter for the goal, said only where that can be told from chance. Pure.

A random forest learns the goal from the params; how much worse it gets when one of them is shuffled is that
param's importance (Breiman 2001, "Random forests", doi:10.1023/A:1010933404324). With few runs a forest finds
meaning in noise: at 10 runs a param of pure noise scored 0.21. So nothing is said below 20 runs, or where the
forest can't predict runs it has not seen (out-of-bag R² < 0.3), and columns of random numbers, learnt and
shuffled like the params, show what chance alone scores: of params without any meaning, about 1 in 17 passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_dlviz.reporting import align

FEWEST_RUNS = 20
LEAST_R2 = 0.3

_TREES = 100
_NOISE_COLUMNS = 5
# Were the scores normal, one more such column would be beyond once in 40 times: t of 4 degrees, times √(1 + 1/5).
_DEVIATIONS = 3.04


@dataclass(frozen=True)
class Importance:
    """Of P params, the most important first.

    params: (P,) names; scores: (P,) by how much the out-of-bag R² falls when the param is shuffled; noise: what
    columns of random numbers stay below, at least 0; r2: out of bag, of the goal's ranks; n: the runs learnt from.
    """

    params: tuple[str, ...]
    scores: tuple[float, ...]
    noise: float
    r2: float
    n: int


@dataclass(frozen=True)
class Refusal:
    """Why importance is not told. n: the runs there are; r2: out of bag, None where no forest was grown."""

    n: int
    r2: float | None = None


def importance(params: Mapping[str, Sequence[str | None]], goal: Sequence[float]) -> Importance | Refusal:
    """What each of ``params``, ``{name: (n,) values}``, does for ``goal``, (n,) finite values.

    The forest learns the ranks of the goal: one loss of 1e6 is then only the worst. Seeded: the same runs give the
    same figures.
    """
    n = len(goal)
    if n < FEWEST_RUNS or not params or len(set(goal)) < 2:
        return Refusal(n)
    features = np.column_stack([codes(values) for values in params.values()])
    rng = np.random.default_rng(0)
    features = np.column_stack([features, rng.random((n, _NOISE_COLUMNS))]).astype(np.float32)
    r2, scores = _forest(features, ranks(goal), rng)
    if r2 < LEAST_R2:
        return Refusal(n, r2)
    order = np.argsort(-scores[: len(params)], kind="stable")
    names = list(params)
    return Importance(
        params=tuple(names[place] for place in order),
        scores=tuple(float(scores[place]) for place in order),
        noise=_noise_line(scores[len(params) :]),
        r2=r2,
        n=n,
    )


def _noise_line(scores: np.ndarray) -> float:
    # The highest of a few would be passed by every few-th param without any meaning.
    return max(0.0, float(scores.mean() + _DEVIATIONS * scores.std(ddof=1)))


def codes(values: Sequence[str | None]) -> np.ndarray:
    """(n,) numbers that a tree can split on: numbers as they are, texts by alphabet, absent below all others."""
    given: list[Any] = [align.canonical(value) for value in values if value is not None]
    numeric = not any(isinstance(value, str) for value in given)
    order = {value: place for place, value in enumerate(sorted(set(given), key=None if numeric else str))}
    return np.array([-1.0 if value is None else order[align.canonical(value)] for value in values], float)


def ranks(values: Sequence[float]) -> np.ndarray:
    """(n,) from 0 for the smallest to 1 for the largest, the mean rank for equal ones."""
    found = np.asarray(values, float)
    _, inverse, counts = np.unique(found, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts
    return ((below + (counts - 1) / 2) / max(len(found) - 1, 1))[inverse]


def _forest(features: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """R² out of bag, and (C,) by how much it falls when a column of ``features`` (n, C) is shuffled.

    Each tree predicts only the runs that it has not seen, with a shuffle of its own: what a forest knows by heart
    counts for nothing.
    """
    from sklearn.ensemble import RandomForestRegressor

    n, columns = features.shape
    forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=0).fit(features, target)
    total, seen = np.zeros((columns + 1, n)), np.zeros(n)
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        out = np.setdiff1d(np.arange(n), drawn)
        rows = np.repeat(features[None, out], columns + 1, axis=0)
        for column in range(columns):
            rows[column, :, column] = rng.permutation(rows[column, :, column])
        if len(out):
            total[:, out] += tree.predict(rows.reshape(-1, columns)).reshape(columns + 1, -1)
            seen[out] += 1
    known = seen > 0
    errors = total[:, known] / seen[known] - target[known]
    r2 = 1 - (errors**2).sum(axis=1) / ((target[known] - target[known].mean()) ** 2).sum()
    return float(r2[-1]), r2[-1] - r2[:-1]
