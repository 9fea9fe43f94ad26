"""What looks wrong with which run, each with its evidence. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.align import Curve
from mlflow_dlviz.reporting.analysis import Analysis, once
from mlflow_dlviz.reporting.cells import duration_words, moment
from mlflow_dlviz.reporting.health.curves import axis_of, is_dead_share, is_gradient, is_rate, of_curves
from mlflow_dlviz.reporting.health.kinds import KINDS, STALE_HOURS, Alarm, Kind, raised
from mlflow_dlviz.words import count

_CLOCKS = frozenset(["seconds", "second", "time", "latency", "duration"])
# Curves of fewer points in all may be alike by chance.
_FEWEST_POINTS = 3
_LISTED = 3
_BOTH_HALVES = "on both training and validation data"


@once
def alarms(analysis: Analysis) -> tuple[Alarm, ...]:
    """All alarms, the worst kind first, runs in their order."""
    found = [alarm for place in range(len(analysis.runs)) for alarm in _of_run(analysis, place)]
    found += _duplicates(analysis)
    order = {kind.id: number for number, kind in enumerate(KINDS)}
    return tuple(sorted(found, key=lambda alarm: (order[alarm.kind], alarm.places)))


def by_kind(found: Sequence[Alarm]) -> list[tuple[Kind, list[Alarm]]]:
    """The kinds that there are, the worst first, and their alarms."""
    grouped = ((kind, [alarm for alarm in found if alarm.kind == kind.id]) for kind in KINDS)
    return [(kind, each) for kind, each in grouped if each]


def unchecked(analysis: Analysis) -> tuple[str, ...]:
    """What no run logs enough for, or what is asked for does not show enough of, in words."""
    bases = {base for curves in analysis.curves for base, _ in curves}
    both = any((base, "train") in curves for curves in analysis.curves for base, half in curves if half == "val")
    narrowed, shown = bool(analysis.options.metrics), "among the metrics shown"
    missing = {
        f"dead units (activations.dead is not {shown if narrowed else 'logged'})": any(map(is_dead_share, bases)),
        f"gradients (no norms are {shown if narrowed else 'logged'})": any(map(is_gradient, bases)),
        f"learning rate (not {shown if narrowed else 'logged'})": any(map(is_rate, bases)),
        f"overfitting (nothing {shown if narrowed else 'is logged'} {_BOTH_HALVES})": both,
    }
    return tuple(words for words, there in missing.items() if not there)


def _of_run(analysis: Analysis, place: int) -> Iterator[Alarm]:
    yield from _status(analysis, place)
    yield from of_curves(analysis, place)


def _status(analysis: Analysis, place: int) -> Iterator[Alarm]:
    run = analysis.runs[place]
    recorded = run.tags.get("dlviz.status", "ok")
    if recorded in ("partial", "failed"):
        evidence = f"dlviz.status = {recorded}; the run’s dlviz/ledger.json says what"
        yield raised("recording", (place,), f"recording {recorded}", evidence)
    lasted = "" if run.seconds is None else f" after {duration_words(run.seconds)}"
    if run.status in ("FAILED", "KILLED"):
        yield raised("failed", (place,), f"{run.status.lower()}{lasted}", _last_step(analysis, place))
    if run.status == "RUNNING" and run.start is not None:
        yield from _stale(place, run.start / 1000 + (run.seconds or 0), analysis.generated)


def _stale(place: int, seen: float, now: float) -> Iterator[Alarm]:
    hours = (now - seen) / 3600
    if hours > STALE_HOURS:
        silent = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours"
        evidence = f"last sign of life {moment(int(1000 * seen))}"
        yield raised("stale", (place,), f"RUNNING, but silent for {silent}", evidence)


def _last_step(analysis: Analysis, place: int) -> str:
    last = [int(curve.steps[-1]) for curve in analysis.curves[place].values() if len(curve.steps)]
    return f"its last {axis_of(analysis, place)} is {max(last)}" if last else "it has logged no metrics"


def _duplicates(analysis: Analysis) -> Iterator[Alarm]:
    # Few runs are alike at a glance; only those are looked at point by point.
    suspects = _alike(range(len(analysis.runs)), lambda place: _glance(analysis, place))
    for places in suspects:
        for same in _alike(places, lambda place: _points(analysis, place)):
            labels = ", ".join(analysis.labels[place] for place in same[1 : 1 + _LISTED])
            more = f" and {len(same) - 1 - _LISTED} more" if len(same) > 1 + _LISTED else ""
            params, metrics = len(analysis.runs[same[0]].params), len(_timeless(analysis, same[0]))
            evidence = (
                f"{len(same)} runs with the same {count(params, 'param')} and the same values of "
                f"{count(metrics, 'metric')}"
            )
            yield raised("duplicates", tuple(same), f"identical: {labels}{more}", evidence)


def _alike(places: Sequence[int], look: Callable[[int], object]) -> list[list[int]]:
    """The places that share a look with another; None is like nothing."""
    found: dict[object, list[int]] = {}
    for place in places:
        if (seen := look(place)) is not None:
            found.setdefault(seen, []).append(place)
    return [alike for alike in found.values() if len(alike) > 1]


def _glance(analysis: Analysis, place: int) -> object:
    curves = _timeless(analysis, place)
    if sum(len(curve.steps) for _, curve in curves) < _FEWEST_POINTS:
        return None
    params = tuple(sorted((name, align.canonical(value)) for name, value in analysis.runs[place].params.items()))
    return params, tuple((where, len(curve.steps), curve.values[-1:].tobytes()) for where, curve in curves)


def _points(analysis: Analysis, place: int) -> bytes:
    seen = blake2b()
    for _, curve in _timeless(analysis, place):
        seen.update(curve.steps.tobytes())
        seen.update(curve.values.tobytes())
    return seen.digest()


def _timeless(analysis: Analysis, place: int) -> list[tuple[tuple[str, str], Curve]]:
    """All curves but those of time, which no two runs share."""
    return sorted((where, curve) for where, curve in analysis.curves[place].items() if not _is_clock(where[0]))


def _is_clock(base: str) -> bool:
    return bool(_CLOCKS & set(re.split(r"[^a-z0-9]+", base.lower())))
