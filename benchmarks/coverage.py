"""How often the report's figures over a few runs say what is true.

Thousands of simulated experiments of n runs each, whose true value is known: the share of intervals that hold it.
An interval called 95 % that holds it half the time makes noise look like progress. Then sweeps in which one
param matters and three do not, and sweeps in which none does: how often importance is told of noise.

    python benchmarks/coverage.py            # two to three minutes
    python benchmarks/coverage.py --quick    # only whether it works
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from statistics import NormalDist

import click
import numpy as np

from mlflow_dlviz.reporting import statistics
from mlflow_dlviz.reporting.importance import Importance, importance

RUNS = (3, 5, 10)
RESAMPLES = 1000

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
Ends = tuple[np.ndarray, np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.standard_normal(shape)


def log_normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return np.exp(rng.standard_normal(shape))


def diverged(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A tenth of the runs has no value: what is estimated is the IQM of those that have."""
    return np.where(rng.random(shape) < 0.1, np.nan, rng.standard_normal(shape))


def stuck(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A tenth of the runs ends, finite, ten deviations worse: what is estimated is the IQM of all."""
    return np.where(rng.random(shape) < 0.1, 10.0, 0.0) + rng.standard_normal(shape)


CASES: dict[str, Draw] = {
    "normal": normal,
    "log-normal": log_normal,
    "10 % diverged": diverged,
    "10 % stuck": stuck,
}


def ours(values: np.ndarray) -> Ends:
    found = statistics.band(values)
    return found.low, found.high


def standard_error(values: np.ndarray) -> Ends:
    """Mean ± one standard error, as most plots have it."""
    n = np.isfinite(values).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.nanstd(values, axis=0, ddof=1) / np.sqrt(n)
    mean = np.nanmean(values, axis=0)
    return mean - error, mean + error


def percentile(values: np.ndarray) -> Ends:
    """The 2.5th and the 97.5th percentile of the IQM of resamples, as rliable has it."""
    low, high = np.full((2, values.shape[1]), np.nan)
    count = np.isfinite(values).sum(axis=0)
    for n in np.unique(count[count >= statistics.FEWEST]).tolist():
        at = np.flatnonzero(count == n)
        for some in np.array_split(at, max(1, len(at) // 500)):
            resampled = np.sort(values[:, some], axis=0)[:n].T @ resample_weights(n)
            low[some], high[some] = np.percentile(resampled, [2.5, 97.5], axis=1)
    return low, high


def resample_weights(n: int) -> np.ndarray:
    """(n, RESAMPLES) what each sorted value counts in the IQM of each resample."""
    counts = np.random.default_rng(n).multinomial(n, [1 / n] * n, size=RESAMPLES)
    below = np.cumsum(counts, axis=1) / n
    return np.diff(np.clip(2 * below - 0.5, 0, 1), axis=1, prepend=0).T


METHODS: dict[str, Callable[[np.ndarray], Ends]] = {
    "ours": ours,
    "± stderr": standard_error,
    "percentile bootstrap": percentile,
}


def truths(draw: Draw) -> tuple[float, float]:
    """The true IQM and the true mean, of 4 million runs."""
    values = draw(np.random.default_rng(1), (4_000_000, 1)).ravel()
    values = values[np.isfinite(values)]
    return float(statistics.iqm(values)), float(values.mean())


def held(ends: Ends, truth: float, asked: np.ndarray) -> float:
    """The share of the experiments ``asked`` whose interval holds ``truth``."""
    low, high = (end[asked] for end in ends)
    return float(np.mean((low <= truth) & (truth <= high)))


def width(ends: Ends, asked: np.ndarray) -> float:
    """The median width."""
    return float(np.median((ends[1] - ends[0])[asked]))


def chance_of(shift: float, n: int, experiments: int) -> tuple[float, float]:
    """How often the interval of P(improvement) holds the truth: ours, and the stratified percentile bootstrap."""
    rng = np.random.default_rng(2)
    truth = NormalDist().cdf(shift / sqrt(2))
    a, b = rng.standard_normal((2, experiments, n))
    a = a + shift
    hits = np.zeros(2)
    share = np.random.default_rng(n).multinomial(n, [1 / n] * n, size=(2, RESAMPLES)) / n
    for one, other in zip(a, b, strict=True):
        found = statistics.probability_of_improvement(one, other, smaller=False)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        resampled = np.einsum("ri,ij,rj->r", share[0], (one[:, None] > other).astype(float), share[1])
        low, high = np.percentile(resampled, [2.5, 97.5])
        hits += found.low <= truth <= found.high, low <= truth <= high
    return tuple((hits / experiments).tolist())


def sweeps(n: int, experiments: int) -> tuple[float, float, float]:
    """Of n runs: how often a param that matters, and one that does not, passes; how often noise is told of."""
    found: list[Importance] = []
    told = 0
    for seed in range(experiments):
        rng = np.random.default_rng([seed, n])
        params = {name: [f"{value:.4f}" for value in rng.random(n)] for name in "xabc"}
        goal = np.array(params["x"], float) + 0.15 * rng.standard_normal(n)
        learnt = importance(params, goal.tolist())
        found += [learnt] if isinstance(learnt, Importance) else []
        told += isinstance(importance(params, rng.random(n).tolist()), Importance)
    passed = [
        name for each in found for name, score in zip(each.params, each.scores, strict=True) if score > each.noise
    ]
    right = passed.count("x")
    return right / experiments, (len(passed) - right) / max(3 * len(found), 1), told / experiments


@click.command()
@click.option("--quick", is_flag=True, help="A few experiments only.")
@click.option("--experiments", default=20_000, show_default=True, help="Simulated per row.")
def main(quick: bool, experiments: int) -> None:
    """Print the tables."""
    experiments = 500 if quick else experiments
    click.echo(f"| runs | n | {' | '.join(METHODS)} | median width, ours | percentile |")
    click.echo("|---|---:|" + "---:|" * (len(METHODS) + 2))
    for name, draw in CASES.items():
        middle, mean = truths(draw)
        for n in RUNS:
            values = draw(np.random.default_rng(n), (n, experiments))
            asked = np.isfinite(values).sum(axis=0) >= statistics.FEWEST
            ends = {method: function(values[:, asked]) for method, function in METHODS.items()}
            every = np.ones(int(asked.sum()), bool)
            shares = [held(ends[each], mean if each == "± stderr" else middle, every) for each in METHODS]
            shown = " | ".join(f"{share:.1%}" for share in shares)
            wide = " | ".join(f"{width(ends[each], every):.2f}" for each in ("ours", "percentile bootstrap"))
            click.echo(f"| {name} | {n} | {shown} | {wide} |")
    click.echo("\n| P(improvement) | n | ours | stratified percentile bootstrap |\n|---|---:|---:|---:|")
    for shift in (0.0, 1.0, 2.0):
        for n in RUNS:
            shares = chance_of(shift, n, experiments // 10)
            truth = NormalDist().cdf(shift / sqrt(2))
            click.echo(f"| {truth:.2f} | {n} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    click.echo(
        "\n| importance, n | found | passed without meaning | told where nothing matters |\n|---|---:|---:|---:|"
    )
    for n in (20, 40, 80):
        shown = " | ".join(f"{share:.1%}" for share in sweeps(n, max(5, experiments // 100)))
        click.echo(f"| {n} | {shown} |")


if __name__ == "__main__":
    main()
