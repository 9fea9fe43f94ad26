"""Sweep: every run as a line through its parameters to the goal, and which parameters matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_dlviz.reporting import align, encode
from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.grouping import varying
from mlflow_dlviz.reporting.importance import FEWEST_RUNS, LEAST_R2, Importance, Refusal, importance, ranks
from mlflow_dlviz.reporting.parallel import Axis, number_axis, param_axes
from mlflow_dlviz.reporting.section import Section
from mlflow_dlviz.reporting.standings import left_out

TITLE = "Sweep"
MOST_AXES = 40
"""Beyond these, the params that differ have no axis."""


@dataclass(frozen=True)
class Bar:
    """The importance of a param. width: in per cent of the highest; clear: whether chance scores less."""

    name: str
    score: float
    width: float
    clear: bool


def build(analysis: Analysis) -> Section:
    """Parallel coordinates of the params that differ, seeds aside, and their importance."""
    names = swept(analysis)
    reason = _absent(analysis, names)
    if reason:
        return Section("sweep", TITLE, reason=reason)
    axes, refused = param_axes(list(map(_values, analysis.runs)), names)
    if not axes:
        return Section("sweep", TITLE, reason="no parameter that differs has values that repeat, or are numbers")
    refused += [axis.name for axis in axes[MOST_AXES:]]
    found = judge(analysis, [axis.name for axis in axes[:MOST_AXES]])
    axes = in_order(axes[:MOST_AXES], found)
    values = {
        "goal": analysis.goal,
        "smaller": analysis.smaller(analysis.goal or ""),
        "refused": refused,
        "bars": bars(found) if isinstance(found, Importance) else [],
        "noise": _noise_width(found) if isinstance(found, Importance) else None,
        "importance": found,
        "refusal": refusal_words(found) if isinstance(found, Refusal) else "",
    }
    goal = number_axis(analysis.goal or "", goal_values(analysis))
    data = {"axes": [_axis_json(axis) for axis in [*axes, goal]], "shades": encode.floats(_shades(analysis))}
    return Section("sweep", TITLE, values, data)


def swept(analysis: Analysis) -> list[str]:
    """The params that tell runs apart, those that most runs have first; of equal ones the shortest name.

    Groups may leave out one of two params that go together; here they have different axes, unless they are one.
    """
    values = list(map(_values, analysis.runs))
    chosen: dict[tuple, str] = {}
    for name in sorted(varying(analysis.runs, analysis.options), key=lambda name: (len(name), name)):
        chosen.setdefault(tuple(_single_precision(of_run.get(name)) for of_run in values), name)
    return sorted(chosen.values(), key=lambda name: (-sum(name in of_run for of_run in values), name))


def _values(run: RunData) -> dict[str, str]:
    """The params of ``run`` that have a value: Python's None is logged as a text."""
    return {name: value for name, value in run.params.items() if value.strip().lower() != "none"}


def _single_precision(value: str | None) -> object:
    # Keras keeps a rate of 0.001 as 0.0010000000474974513.
    found = align.canonical(value)
    return found if isinstance(found, str) or found is None else float(f"{found:.6e}")


def goal_values(analysis: Analysis) -> np.ndarray:
    """(R,) the best value of the goal in each run, NaN without a finite one."""
    found = [analysis.best(place) for place in range(len(analysis.runs))]
    return np.array([np.nan if best is None else best.value for best in found])


def in_order(axes: list[Axis], found: Importance | Refusal) -> list[Axis]:
    """What most runs have first, then the most important, where that is known: not all axes fit side by side."""

    def place(axis: Axis) -> tuple[int, int]:
        important = 0 if isinstance(found, Refusal) else found.params.index(axis.name)
        return -int(np.isfinite(axis.places).sum()), important

    return sorted(axes, key=place)


def judge(analysis: Analysis, names: list[str]) -> Importance | Refusal:
    """The importance of ``names``, from the runs that count in the figures of groups too."""
    counted = [place for place in range(len(analysis.runs)) if not left_out(analysis, place)]
    values = goal_values(analysis)[counted]
    counted = [place for place, value in zip(counted, values, strict=True) if np.isfinite(value)]
    params = {name: [_values(analysis.runs[place]).get(name) for place in counted] for name in names}
    return importance(params, values[np.isfinite(values)].tolist())


def bars(found: Importance) -> list[Bar]:
    """A bar per param, most important first."""
    return [
        Bar(name, score, _width(found, score), score > found.noise)
        for name, score in zip(found.params, found.scores, strict=True)
    ]


def refusal_words(found: Refusal) -> str:
    """Why importance is not shown."""
    if found.n < FEWEST_RUNS:
        return (
            f"Not shown: {found.n} of the runs can be compared and {FEWEST_RUNS} are needed;"
            " with fewer, a parameter of pure noise may look important."
        )
    if found.r2 is None:
        return f"Not shown: all {found.n} runs that can be compared have the same value."
    return (
        f"Not shown: over {found.n} runs, a random forest predicted those it had not seen with"
        f" R² = {found.r2:.2f}, and {LEAST_R2:g} is needed; the parameters explain too little."
    )


def _absent(analysis: Analysis, names: list[str]) -> str:
    if analysis.single:
        return "there is only one run"
    if not names:
        return "the runs differ in no parameter but, perhaps, their seeds"
    if not np.isfinite(goal_values(analysis)).any():
        return "no run has a finite value of a metric to judge its parameters by"
    return ""


def _shades(analysis: Analysis) -> np.ndarray:
    """(R,) by rank: 0 for the best run, 1 for the worst, NaN without a value."""
    values = goal_values(analysis)
    known = np.isfinite(values)
    shades = np.full(len(values), np.nan)
    ranked = ranks(values[known].tolist())
    shades[known] = ranked if analysis.smaller(analysis.goal or "") else 1 - ranked
    return shades


def _axis_json(axis: Axis) -> dict[str, Any]:
    scale = axis.scale
    return {
        "name": axis.name,
        "places": encode.floats(axis.places),
        "ticks": [[round(place, 5), text] for place, text in axis.ticks],
        "scale": None if scale is None else [scale.low, scale.high, scale.log],
    }


def _width(found: Importance, score: float) -> float:
    highest = max(*found.scores, found.noise, 1e-12)
    return round(100 * max(score, 0.0) / highest, 2)


def _noise_width(found: Importance) -> float:
    return _width(found, found.noise)
