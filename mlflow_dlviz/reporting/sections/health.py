"""What looks wrong with which run, with the evidence, and what was looked for."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.health import alarms
from mlflow_dlviz.reporting.health.kinds import KINDS, SIGNS, Alarm, Kind
from mlflow_dlviz.reporting.section import Section

OPEN = 8
"""Alarms of one kind that are shown at once; more are folded away."""


@dataclass(frozen=True)
class Row:
    """One run and what is wrong with it."""

    place: int
    text: str
    evidence: str


@dataclass(frozen=True)
class Finding:
    """All alarms of one kind. folded: whether there are too many to show at once."""

    kind: Kind
    sign: str
    rows: tuple[Row, ...]
    folded: bool


def build(analysis: Analysis) -> Section:
    """The alarms by kind, the worst first; the section is there without any, too."""
    found = [_finding(kind, each) for kind, each in alarms.by_kind(alarms.alarms(analysis))]
    quiet = [kind for kind in KINDS if kind not in [finding.kind for finding in found]]
    values = {"found": found, "quiet": quiet, "unchecked": alarms.unchecked(analysis)}
    return Section("health", "Health", values)


def _finding(kind: Kind, found: list[Alarm]) -> Finding:
    rows = tuple(Row(alarm.places[0], alarm.text, alarm.evidence) for alarm in found)
    return Finding(kind, SIGNS[kind.severity], rows, len(rows) > OPEN)
