"""How groups of runs compare by the goal, best first, and which runs that is said of. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlflow_dlviz.reporting import align, statistics
from mlflow_dlviz.reporting.analysis import Analysis, once
from mlflow_dlviz.reporting.statistics import Improvement, Interval
from mlflow_dlviz.words import count

NO_GOAL = "no goal"
DIVERGED = "diverged"


@dataclass(frozen=True)
class Standing:
    """One group of runs.

    group: its place in the analysis' groups; values: the best goal value of each run that counts; places: those
    runs, in the same order; iqm, interval: of ``values``, None where there are none, or too few for an interval;
    total: all runs of the group; left_out: how many of them do not count, by reason; improvement: over the
    baseline's group, None for that group itself and without a baseline.
    """

    group: int
    values: tuple[float, ...]
    places: tuple[int, ...]
    iqm: float | None
    interval: Interval | None
    total: int
    left_out: Mapping[str, int]
    improvement: Improvement | None = None


@once
def standings(analysis: Analysis) -> tuple[Standing, ...]:
    """A standing per group, the best IQM first, those without any run that counts last."""
    found = [_standing(analysis, number) for number in range(len(analysis.groups))]
    if analysis.baseline is not None and analysis.goal is not None:
        reference = found[analysis.group_of(analysis.baseline)]
        seeds = _seeds(analysis)
        found = [replace(each, improvement=improvement(analysis, each, reference, seeds)) for each in found]
    sign = 1 if analysis.goal is not None and analysis.smaller(analysis.goal) else -1
    return tuple(sorted(found, key=lambda each: (each.iqm is None, sign * (each.iqm or 0.0), each.group)))


def improvement(
    analysis: Analysis,
    standing: Standing,
    reference: Standing,
    seeds: Sequence[tuple[str, ...]] | None = None,
) -> Improvement | None:
    """The chance that a run of ``standing`` beats one of ``reference``, by seed where seeds match.

    seeds: of all runs, where they are known already. None for a group and itself.
    """
    if standing.group == reference.group or analysis.goal is None:
        return None
    seeds = _seeds(analysis) if seeds is None else seeds
    return statistics.probability_of_improvement(
        standing.values,
        reference.values,
        smaller=analysis.smaller(analysis.goal),
        pairs=pairs([seeds[place] for place in standing.places], [seeds[place] for place in reference.places]),
    )


def too_few(found: Improvement) -> str:
    """Why no probability is told of ``found``; "" if one is."""
    if found.low is not None:
        return ""
    compared = f"{count(found.n_a, 'pair')} of one seed" if found.paired else f"n = {found.n_a} and {found.n_b}"
    return f"too few runs ({compared})"


def pairs(a: Sequence[tuple], b: Sequence[tuple]) -> list[tuple[int, int]] | None:
    """Places in ``a`` and ``b`` of the same seeds; None unless each of the fewer has one partner of its own."""
    if len(set(a)) < len(a) or len(set(b)) < len(b):
        return None
    partner = {seed: j for j, seed in enumerate(b)}
    found = [(i, partner[seed]) for i, seed in enumerate(a) if any(seed) and seed in partner]
    return found if found and len(found) == min(len(a), len(b)) else None


def left_out(analysis: Analysis, place: int) -> str:
    """Why the run at ``place`` does not count in its group's figures: its status, or a word; "" if it does."""
    if not analysis.counts(place):
        return analysis.runs[place].status.lower()
    curve = analysis.curves[place].get(align.split_half(analysis.goal)) if analysis.goal else None
    last = align.last_value(curve) if curve else None
    if last is None:
        return NO_GOAL
    return "" if np.isfinite(last) else DIVERGED


def _standing(analysis: Analysis, number: int) -> Standing:
    members = analysis.groups[number].members
    reasons = {place: left_out(analysis, place) for place in members}
    counted = [(place, found.value) for place in members if not reasons[place] and (found := analysis.best(place))]
    values = tuple(value for _, value in counted)
    return Standing(
        group=number,
        values=values,
        places=tuple(place for place, _ in counted),
        iqm=float(statistics.iqm(np.array(values))) if values else None,
        interval=statistics.interval(np.array(values)),
        total=len(members),
        left_out=dict(sorted(Counter(reason for reason in reasons.values() if reason).items())),
    )


def _seeds(analysis: Analysis) -> list[tuple[str, ...]]:
    """The seeds of every run, params in one order, numbers as numbers; empty texts for those it has not."""
    names = sorted({name for run in analysis.runs for name in run.params})
    names = [name for name in names if analysis.options.is_seed(name)]
    params = [run.params for run in analysis.runs]
    return [tuple(str(align.canonical(of[name])) if name in of else "" for name in names) for of in params]
