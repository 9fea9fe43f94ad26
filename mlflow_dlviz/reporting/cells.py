"""Cells of tables: what is shown, what it is sorted by, what a mouse resting on it tells. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

NOTHING = "—"

# What fits a column without being cut by the style sheet.
_SHORT = 24
_LONG = 60


@dataclass(frozen=True)
class Cell:
    """What is shown, what it is sorted by (None: last) and what a mouse resting on it tells.

    kind: "status", "better", "worse" or "" for how it looks.
    """

    text: str
    sort: float | str | None = None
    title: str = ""
    note: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """Column heads, and a row of cells per run, in the order of the runs.

    notes: a line below each head, "" for none; all of them may be left out.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def words(self, column: int) -> bool:
        """Whether a column holds words rather than numbers."""
        return any(isinstance(row[column].sort, str) for row in self.rows)


def number(value: float | None, note: str = "") -> Cell:
    """A number to four digits; all of them on hover."""
    if value is None:
        return Cell(NOTHING)
    if not math.isfinite(value):
        return Cell(str(value), title="not a finite number")
    shown, exact = f"{value:.4g}", repr(float(value))
    # Seven digits sort what can be told apart; every byte counts a thousandfold.
    return Cell(shown, float(f"{value:.7g}"), exact if float(shown) != value else "", note)


def difference(value: float, reference: float, *, smaller: bool) -> Cell:
    """``value`` - ``reference``, and in words whether that is better. smaller: whether smaller values are."""
    by = value - reference
    if not math.isfinite(by):
        return Cell(NOTHING)
    if by == 0:
        return Cell("0", 0.0, note="same")
    kind = "better" if (by < 0) == smaller else "worse"
    return Cell(f"{by:+.3g}".replace("-", "\u2212"), float(f"{by:.7g}"), repr(by), kind, kind)


def text(value: str | None) -> Cell:
    """A text, sorted as a number if it is one; all of it on hover where it is long."""
    if value is None:
        return Cell(NOTHING)
    try:
        sort: float | str = float(value)
    except ValueError:
        sort = cut(value)
    return Cell(cut(value), None if sort != sort else sort, value if len(value) > _SHORT else "")


def cut(text: str, length: int = _LONG) -> str:
    """``text``, or its beginning and an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


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
    found = utc(milliseconds)
    return NOTHING if found is None else f"{found:%Y-%m-%d %H:%M} UTC"


def utc(milliseconds: int | None) -> datetime | None:
    """A time in Unix milliseconds; None for one beyond the year 9999, as of a run logged in other units."""
    try:
        return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def metric_name(place: tuple[str, str]) -> str:
    """The metric of a (base, half): "loss" or "val_loss"."""
    return place[0] if place[1] == "train" else f"val_{place[0]}"
