"""The tables and facts of a page: rows of cells, ready for the template. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.align import Best, Curve
from mlflow_dlviz.reporting.bundle import RunData

Curves = Mapping[tuple[str, str], Curve]

NOTHING = "—"
_BESIDE = 6


@dataclass(frozen=True)
class Cell:
    """What is shown, what it is sorted by (None: last) and what a mouse resting on it tells."""

    text: str
    sort: float | str | None = None
    title: str = ""
    note: str = ""
    status: bool = False


@dataclass(frozen=True)
class Table:
    """Column heads, and a row of cells per run, in the order of the runs."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def summary(runs: Sequence[RunData], curves: Sequence[Curves], goal: str | None) -> Table:
    """A row per run: the best value of ``goal`` and where, the last one, other metrics at that same epoch."""
    beside = _beside(curves, goal)
    heads: tuple[str, ...] = ("Status",)
    if goal is not None:
        heads += (f"best {goal}", f"last {goal}", *map(metric_name, beside))
    heads += ("Duration",)
    rows = [
        (_status(run), *_goal_cells(of_run, goal, beside), _duration(run))
        for run, of_run in zip(runs, curves, strict=True)
    ]
    return Table(heads, tuple(rows))


def metric_name(place: tuple[str, str]) -> str:
    """The metric of a (base, half): "loss" or "val_loss"."""
    return place[0] if place[1] == "train" else f"val_{place[0]}"


def _beside(curves: Sequence[Curves], goal: str | None) -> list[tuple[str, str]]:
    places = {place for of_run in curves for place in of_run}
    bases = [panel.base for panel in align.choose_panels(base for base, _ in places) if panel.main]
    ordered = [(base, half) for base in bases for half in ("val", "train") if (base, half) in places]
    return [place for place in ordered if goal is None or place != align.split_half(goal)][:_BESIDE]


def goal_best(of_run: Curves, goal: str | None) -> Best | None:
    """The run's best value of ``goal``."""
    curve = of_run.get(align.split_half(goal)) if goal else None
    return align.best(curve, smaller=align.minimised(goal or "")) if curve else None


def _goal_cells(of_run: Curves, goal: str | None, beside: Sequence[tuple[str, str]]) -> list[Cell]:
    if goal is None:
        return []
    found = goal_best(of_run, goal)
    curve = of_run.get(align.split_half(goal))
    there = [_at(of_run.get(place), found) for place in beside]
    if found is None:
        nothing = Cell(NOTHING, title="never a finite value" if curve else "not logged")
        return [nothing, number(align.last_value(curve)) if curve else nothing, *there]
    best = number(found.value, note=f"@ {found.step}")
    return [best, number(align.last_value(curve) if curve else None), *there]


def _at(curve: Curve | None, found: Best | None) -> Cell:
    return number(align.value_at(curve, found.step) if curve is not None and found is not None else None)


def number(value: float | None, note: str = "") -> Cell:
    """A number to four digits; all of them on hover."""
    if value is None:
        return Cell(NOTHING)
    if not np.isfinite(value):
        return Cell(str(value), title="not a finite number")
    return Cell(f"{value:.4g}", value, repr(value), note)


def _status(run: RunData) -> Cell:
    return Cell(run.status.lower(), run.status, status=True)


def _duration(run: RunData) -> Cell:
    if run.seconds is None:
        return Cell(NOTHING)
    note = "so far" if run.status == "RUNNING" else ""
    return Cell(duration_words(run.seconds), run.seconds, f"{run.seconds:.3f} s", note)


def duration_words(seconds: float) -> str:
    """A duration as "0.4 s", "12 s", "3 min 5 s" or "2 h 10 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def params(runs: Sequence[RunData]) -> Table:
    """The params that differ between runs; for a single run, all of them."""
    shown = [align.redacted(run.params) for run in runs]
    # Compared before they are masked: that two secrets differ is no secret.
    names = align.differing([run.params for run in runs]) if len(runs) > 1 else sorted(runs[0].params)
    rows = [tuple(_param(run.get(name)) for name in names) for run in shown]
    return Table(tuple(names), tuple(rows))


def _param(value: str | None) -> Cell:
    if value is None:
        return Cell(NOTHING)
    try:
        sort: float | str = float(value)
    except ValueError:
        sort = value
    return Cell(value, None if sort != sort else sort, value)


def moment(milliseconds: int | None) -> str:
    """A time in Unix milliseconds as "2026-05-01 12:00 UTC"."""
    if milliseconds is None:
        return NOTHING
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"
