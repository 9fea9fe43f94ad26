"""Cells of tables: what is shown, what it is sorted by, what a mouse resting on it tells. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

NOTHING = "—"


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


def number(value: float | None, note: str = "") -> Cell:
    """A number to four digits; all of them on hover."""
    if value is None:
        return Cell(NOTHING)
    if not np.isfinite(value):
        return Cell(str(value), title="not a finite number")
    return Cell(f"{value:.4g}", value, repr(value), note)


def text(value: str | None) -> Cell:
    """A text, sorted as a number if it is one."""
    if value is None:
        return Cell(NOTHING)
    try:
        sort: float | str = float(value)
    except ValueError:
        sort = value
    return Cell(value, None if sort != sort else sort, value)


def duration(seconds: float | None, *, running: bool) -> Cell:
    """How long a run took."""
    if seconds is None:
        return Cell(NOTHING)
    return Cell(duration_words(seconds), seconds, f"{seconds:.3f} s", "so far" if running else "")


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


def moment(milliseconds: int | None) -> str:
    """A time in Unix milliseconds as "2026-05-01 12:00 UTC"."""
    if milliseconds is None:
        return NOTHING
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def metric_name(place: tuple[str, str]) -> str:
    """The metric of a (base, half): "loss" or "val_loss"."""
    return place[0] if place[1] == "train" else f"val_{place[0]}"
