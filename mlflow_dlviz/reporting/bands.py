"""The middle of each group of runs at each step, with its interval. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_dlviz.reporting.align import Curve
from mlflow_dlviz.reporting.analysis import Analysis, once
from mlflow_dlviz.reporting.compaction import evenly
from mlflow_dlviz.reporting.standings import left_out
from mlflow_dlviz.reporting.statistics import Band, band

LEAST = 3
"""Runs that a band needs: of two, each is shown as it is."""


@dataclass(frozen=True)
class GroupCurve:
    """One metric of one group. group: its place; steps: (S,) ascending; band: (S,) each."""

    group: int
    place: tuple[str, str]
    steps: np.ndarray
    band: Band


@once
def counted(analysis: Analysis) -> list[list[int]]:
    """The places of the runs of each group that go into its figures, diverged ones not; without a goal none is."""

    def goes(place: int) -> bool:
        return analysis.counts(place) if analysis.goal is None else not left_out(analysis, place)

    return [[place for place in group.members if goes(place)] for group in analysis.groups]


def group_curves(analysis: Analysis, places: Sequence[tuple[str, str]], steps: int) -> list[GroupCurve]:
    """Of each group and (base, half) with enough runs, at most ``steps`` steps."""
    found = []
    for group, members in enumerate(counted(analysis)):
        for place in places:
            curves = _finite(members, analysis.curves, place) if len(members) >= LEAST else []
            if len(curves) >= LEAST:
                shared = common_steps(curves, steps)
                found.append(GroupCurve(group, place, shared, band(on_steps(curves, shared))))
    return found


def common_steps(curves: Sequence[Curve], count: int) -> np.ndarray:
    """(S,) at most ``count`` of all steps of ``curves``, evenly, the first and the last among them."""
    first = curves[0].steps
    same = all(np.array_equal(first, curve.steps) for curve in curves[1:])
    steps = first if same else np.unique(np.concatenate([curve.steps for curve in curves]))
    return steps[evenly(len(steps), count)]


def on_steps(curves: Sequence[Curve], steps: np.ndarray) -> np.ndarray:
    """(R, S) values of R finite curves at ``steps``, between two of a curve's own in proportion.

    NaN before a curve's first step and after its last: each ends where it ends.
    """
    rows = [np.interp(steps, curve.steps, curve.values, left=np.nan, right=np.nan) for curve in curves]
    return np.array(rows).reshape(len(curves), len(steps))


def _finite(
    members: Sequence[int], curves: Sequence[Mapping[tuple[str, str], Curve]], place: tuple[str, str]
) -> list[Curve]:
    logged = [curves[member][place] for member in members if place in curves[member]]
    kept = [(curve, np.isfinite(curve.values)) for curve in logged]
    return [
        curve if finite.all() else Curve(curve.steps[finite], curve.values[finite])
        for curve, finite in kept
        if finite.any()
    ]
