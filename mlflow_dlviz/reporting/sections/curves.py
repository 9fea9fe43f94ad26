"""Curves: a panel per metric, training and validation together, of the runs or of their groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_dlviz.reporting import align, bands, encode
from mlflow_dlviz.reporting.align import Curve, Panel
from mlflow_dlviz.reporting.analysis import Analysis, axis_name
from mlflow_dlviz.reporting.bands import GroupCurve
from mlflow_dlviz.reporting.clocks import Clock, own_times, run_clock
from mlflow_dlviz.reporting.compaction import compact, evenly
from mlflow_dlviz.reporting.room import Room, plan
from mlflow_dlviz.reporting.section import Section
from mlflow_dlviz.reporting.standings import left_out
from mlflow_dlviz.store.histories import Series

STOPS = (0.0, 0.6, 0.8, 0.9, 0.95, 0.99)
"""Weights of the past that the slider offers, beside the one asked for."""

MANY = 30
"""Runs from which groups are shown first."""

FIRST = 12
"""Groups that are drawn until the reader asks for others."""


@dataclass(frozen=True)
class Line:
    """One metric of one run. run: its place; place: (base, half) of the metric."""

    run: int
    metric: str
    place: tuple[str, str]
    curve: Curve
    series: Series


def build(analysis: Analysis) -> Section:
    """All panels; the script draws them when they come into view."""
    lines = wanted_lines(analysis)
    if not lines:
        logged = any(run.histories for run in analysis.runs)
        return Section("curves", "Curves", reason="no metric is called so" if logged else "no metrics were logged")
    places = sorted({line.place for line in lines})
    room = plan(analysis, [line.curve for line in lines], len(places))
    clocks = [run_clock(run) for run in analysis.runs]
    grouped = bands.group_curves(analysis, places, room.band)
    stops = sorted({*STOPS, analysis.options.smoothing})
    made = [line_data(line, room=room, weights=stops[1:], clock=clocks[line.run]) for line in lines]
    data = {
        "stops": stops,
        "stop": stops.index(analysis.options.smoothing),
        "x": "relative" if analysis.options.x == "time" else "step",
        "view": "groups" if grouped and (analysis.options.group_by or len(analysis.runs) > MANY) else "runs",
        "groups": group_heads(analysis) if grouped else [],
        "first": FIRST,
        "clocks": [clock and clock_data(clock, room.clock) for clock in clocks],
        "panels": panels(analysis, lines, made, grouped),
    }
    values = {
        "notes": [*_notes(analysis, lines, room, len(stops) - 1), *(_group_notes(analysis) if grouped else [])],
        "stops": stops,
        "stop": data["stop"],
        "grouped": bool(grouped),
        "hint": "" if grouped else _why_no_groups(analysis),
        "axis": analysis.axis,
    }
    return Section("curves", "Curves", values, data)


def wanted_lines(analysis: Analysis) -> list[Line]:
    """The lines asked for, by run, each run's in the order of their names."""
    return [
        Line(run, metric, place, analysis.curves[run][place], data.histories[metric])
        for run, data in enumerate(analysis.runs)
        for place, metric in sorted(align.pair_halves(data.histories, analysis.options.goal).items())
        if align.is_curve(metric) and analysis.options.wants(metric)
    ]


def panels(
    analysis: Analysis, lines: Sequence[Line], made: Sequence[dict[str, Any]], grouped: Sequence[GroupCurve]
) -> list[dict[str, Any]]:
    """What the script draws: a panel per metric, each with its lines by run and half, and its groups."""
    by_base: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        by_base.setdefault(line.place[0], []).append(number)
    of_group: dict[str, list[dict[str, Any]]] = {}
    for curve in grouped:
        of_group.setdefault(curve.place[0], []).append(band_data(curve))

    asked = bool(analysis.options.metrics)

    def panel(found: Panel) -> dict[str, Any]:
        numbers = by_base[found.base]
        axis = axis_name([analysis.runs[lines[number].run] for number in numbers])
        drawn = [made[number] for number in numbers]
        of_bands = of_group.get(found.base, [])
        return {"name": found.base, "main": found.main or asked, "axis": axis, "lines": drawn, "bands": of_bands}

    return [panel(found) for found in align.choose_panels({line.metric for line in lines})]


def line_data(line: Line, *, room: Room, weights: Sequence[float], clock: Clock | None) -> dict[str, Any]:
    """One line: whole, or where that takes too much its extremes and its averages by ``weights``."""
    steps, values = line.curve.steps, line.curve.values
    made: dict[str, Any] = {"run": line.run, "half": line.place[1]}
    if bad := bad_values(line.curve):
        made["bad"] = bad
    if lost := int((np.isfinite(values) & (values <= 0)).sum()):
        made["lost"] = lost
    kept: slice | np.ndarray = slice(None)
    if room.cuts(line.curve, len(weights)):
        short = compact(values, room.points(len(weights)), weights)
        kept = short.places
        averages = encode.scaled(short.smoothed.ravel(), logarithmic=True)
        made["even"] = {"x": encode.steps(steps[short.even]), "y": averages}
    made["y"] = encode.floats(values[kept])
    if (x := encode.steps(steps[kept])) is not None:
        made["x"] = x
    times = None if clock is None else own_times(line.series, clock)
    if times is not None:
        made["seconds"] = encode.scaled(times[kept])
    return made


def bad_values(curve: Curve) -> list[list[Any]]:
    """``[first step, what, how many]`` of NaN, ∞ and −∞, as far as they are there."""
    values = curve.values
    if (np.abs(values) <= encode.LARGEST).all():
        return []
    kinds = {"NaN": np.isnan(values), "∞": values > encode.LARGEST, "−∞": values < -encode.LARGEST}
    return [[int(curve.steps[at.argmax()]), kind, int(at.sum())] for kind, at in kinds.items() if at.any()]


def clock_data(clock: Clock, count: int) -> dict[str, Any]:
    """The times of a run, of a long one at ``count`` steps, evenly."""
    places = evenly(len(clock.steps), count)
    return {
        "start": clock.start,
        "x": encode.steps(clock.steps[places]),
        "seconds": encode.scaled(clock.seconds[places]),
    }


def band_data(curve: GroupCurve) -> dict[str, Any]:
    """A group's middle, and the ends of its interval behind it, in one scale."""
    band = curve.band
    return {
        "group": curve.group,
        "half": curve.place[1],
        "x": encode.steps(curve.steps),
        "y": encode.scaled(np.concatenate([band.center, band.low, band.high]), logarithmic=True),
        "n": encode.scaled(band.n) if band.n.min() < band.n.max() else int(band.n[0]),
    }


def group_heads(analysis: Analysis) -> list[dict[str, Any]]:
    """Each group's label, the places of the runs that its figures count, and how many runs it has."""
    members = bands.counted(analysis)
    return [
        {"label": group.label, "members": places, "of": len(group.members)}
        for group, places in zip(analysis.groups, members, strict=True)
    ]


def _notes(analysis: Analysis, lines: Sequence[Line], room: Room, weights: int) -> list[str]:
    notes = []
    cut = sum(room.cuts(line.curve, weights) for line in lines)
    if cut:
        notes.append(
            f"{cut} of {len(lines)} curves are too long for {analysis.options.max_mb:g} MB: of each stretch the "
            "lowest and the highest value are drawn. Smoothed curves are still of all values."
        )
    repeated = sum(line.curve.repeated for line in lines)
    if repeated:
        times = "value was" if repeated == 1 else "values were"
        notes.append(f"{repeated} {times} replaced by a later one at the same step; the last one written stands.")
    return notes


def _why_no_groups(analysis: Analysis) -> str:
    repeated = any(len(group.members) > 1 for group in analysis.groups)
    if not (repeated or analysis.options.group_by):
        return ""
    return f"Groups are not drawn: each needs {bands.LEAST} runs that count, finished and not diverged."


def _group_notes(analysis: Analysis) -> list[str]:
    notes = []
    if len(analysis.groups) > FIRST:
        notes.append(f"Of {len(analysis.groups)} groups the {FIRST} with the best runs are drawn at first.")
    counted = {place for members in bands.counted(analysis) for place in members}
    aside = Counter(left_out(analysis, place) for place in range(len(analysis.runs)) if place not in counted)
    if aside:
        told = ", ".join(f"{count} {status}" for status, count in sorted(aside.items()))
        notes.append(f"Not counted in the curves of groups: {told}.")
    return notes
