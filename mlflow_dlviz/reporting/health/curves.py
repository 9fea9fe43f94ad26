"""The alarms that the curves of one run raise. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.analysis import Analysis, axis_name
from mlflow_dlviz.reporting.cells import metric_name
from mlflow_dlviz.reporting.health import symptoms
from mlflow_dlviz.reporting.health.kinds import DEAD_SHARE, VANISHED, VANISHED_BESIDE_OTHERS, Alarm, raised
from mlflow_dlviz.words import count

_GRADIENT = re.compile(r"(^|[._/ -])grad(ient)?s?([._/ -]|norm|$)", re.IGNORECASE)
_DEAD = re.compile(r"(^|[._/])dead/")
_RATES = ("learning_rate", "lr")
# Of one alarm's metrics or layers, so many are told.
_LISTED = 3


def of_curves(analysis: Analysis, place: int) -> Iterator[Alarm]:
    """The alarms that the curves of the run at ``place`` raise."""
    yield from _not_finite(analysis, place)
    yield from _gradients(analysis, place)
    yield from _dead_units(analysis, place)
    grave = [*_diverged(analysis, place)] or [*_overfits(analysis, place)]
    yield from grave
    # A run that diverges or overfits is beyond its best anyway.
    if not grave:
        yield from _plateau(analysis, place)


def is_gradient(base: str) -> bool:
    """Whether a metric is the norm of a gradient, by its name."""
    return _GRADIENT.search(base) is not None


def is_dead_share(base: str) -> bool:
    """Whether a metric is a layer's share of dead units, by its name."""
    return _DEAD.search(base) is not None


def is_rate(base: str) -> bool:
    """Whether a metric is a learning rate, by its name."""
    return re.split(r"[./]", base)[-1].lower() in _RATES


def axis_of(analysis: Analysis, place: int) -> str:
    """What the steps of the run at ``place`` are."""
    return axis_name((analysis.runs[place],))


def _not_finite(analysis: Analysis, place: int) -> Iterator[Alarm]:
    looked = ((metric_name(where), symptoms.not_finite(curve)) for where, curve in analysis.curves[place].items())
    found = sorted(((bad.step, name, bad) for name, bad in looked if bad is not None), key=lambda each: each[:2])
    if not found:
        return
    axis = axis_of(analysis, place)
    told = [
        f"{name}: {bad.count} of {bad.total} values, the first ({bad.value}) at {axis} {step}"
        for step, name, bad in found[:_LISTED]
    ]
    if len(found) > _LISTED:
        told.append(f"and {count(len(found) - _LISTED, 'more metric')}")
    step, name, bad = found[0]
    yield raised("not_finite", (place,), f"{name} is {bad.value} at {axis} {step}", "; ".join(told))


def _diverged(analysis: Analysis, place: int) -> Iterator[Alarm]:
    curves, axis = analysis.curves[place], axis_of(analysis, place)
    for base in _losses(analysis, place):
        where = (base, "train" if (base, "train") in curves else "val")
        if found := symptoms.divergence(curves[where]):
            evidence = (
                f"{found.initial:.4g} at first, {found.best:.4g} at {axis} {found.best_step}, "
                f"{found.final:.4g} at the end ({axis} {found.last_step})"
            )
            yield raised("diverged", (place,), f"{metric_name(where)} ended at {found.final:.3g}", evidence)
            return


def _overfits(analysis: Analysis, place: int) -> Iterator[Alarm]:
    curves, axis = analysis.curves[place], axis_of(analysis, place)
    for base in _losses(analysis, place):
        train, val = curves.get((base, "train")), curves.get((base, "val"))
        if train and val and (gap := symptoms.overfitting(train, val)):
            evidence = (
                f"{axis} {gap.step} to {gap.last_step}: validation {gap.val[0]:.4g} to {gap.val[1]:.4g}, "
                f"training {gap.train[0]:.4g} to {gap.train[1]:.4g}"
            )
            yield raised("overfitting", (place,), f"val_{base} rose since {axis} {gap.step}", evidence)
            return


def _losses(analysis: Analysis, place: int) -> list[str]:
    """The goal, if less of it is better, then what is called a loss."""
    bases = list(dict.fromkeys(base for base, _ in analysis.curves[place]))
    goal = align.split_half(analysis.goal)[0] if analysis.goal and analysis.smaller(analysis.goal) else None
    return [base for base in bases if base == goal] + [
        base for base in bases if base != goal and "/" not in base and re.search(r"loss(_\d+)?$", base.lower())
    ]


def _plateau(analysis: Analysis, place: int) -> Iterator[Alarm]:
    goal = analysis.goal
    curve = analysis.curves[place].get(align.split_half(goal)) if goal else None
    found = symptoms.plateau(curve, smaller=analysis.smaller(goal)) if curve and goal else None
    if found is None:
        return
    axis = axis_of(analysis, place)
    since = f"{axis} {found.half_step} to {found.last_step}"
    gained = f"by {found.gain:.2g} of {found.total:.3g} in all" if found.gain else "by nothing"
    evidence = f"best {found.best:.4g} at {axis} {found.best_step}; {since} bettered it {gained}"
    yield raised("plateau", (place,), f"no better {goal} in the last half", evidence)
    for (base, half), rate in analysis.curves[place].items():
        if is_rate(base) and half == "train" and symptoms.is_constant(rate):
            steady = f"{base} = {rate.values[-1]:.4g} from {axis} {rate.steps[0]} to {rate.steps[-1]}"
            yield raised("learning_rate", (place,), "the same learning rate on a plateau", steady)
            return


def _dead_units(analysis: Analysis, place: int) -> Iterator[Alarm]:
    shares = [
        (share, base.split("/", 1)[1], int(curve.steps[-1]))
        for (base, _), curve in analysis.curves[place].items()
        if is_dead_share(base) and (share := align.last_value(curve)) is not None and share > DEAD_SHARE
    ]
    if not shares:
        return
    shares.sort(key=lambda each: (-each[0], each[1]))
    axis = axis_of(analysis, place)
    told = [f"{layer}: {share:.0%} dead at {axis} {step}" for share, layer, step in shares[:_LISTED]]
    if len(shares) > _LISTED:
        told.append(f"and {count(len(shares) - _LISTED, 'more layer')}")
    yield raised("dead_units", (place,), f"{count(len(shares), 'layer')} mostly dead", "; ".join(told))


def _gradients(analysis: Analysis, place: int) -> Iterator[Alarm]:
    norms = {base: curve for (base, _), curve in analysis.curves[place].items() if is_gradient(base)}
    levels = {base: level for base, curve in norms.items() if (level := symptoms.last_level(curve)) is not None}
    largest = max(levels.values(), default=0.0)
    told = [
        f"{base}: {level:.2g} at the end, where the largest is {largest:.2g}"
        for base, level in levels.items()
        if 0 <= level < max(VANISHED, VANISHED_BESIDE_OTHERS * largest)
    ]
    for base, curve in norms.items():
        if found := symptoms.exploding(curve):
            step, value, usual = found
            told.append(f"{base}: {value:.2g} at {axis_of(analysis, place)} {step}, usually {usual:.2g}")
    if told:
        more = [f"and {len(told) - _LISTED} more"] if len(told) > _LISTED else []
        yield raised("gradients", (place,), "gradients vanish or explode", "; ".join(told[:_LISTED] + more))
