"""Axes of parallel coordinates: where each run stands on each param. Pure.

Inselberg 1985, "The plane with parallel coordinates" (doi:10.1007/BF01898350).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.scales import Scale, Tick, scale_of, value_ticks

MOST_CATEGORIES = 20


@dataclass(frozen=True)
class Axis:
    """One param, or the goal. places: (R,) of the runs, 0 to 1, NaN for those without; scale: None for texts."""

    name: str
    places: np.ndarray
    ticks: tuple[Tick, ...]
    scale: Scale | None


def param_axes(params: Sequence[Mapping[str, str]], names: Sequence[str]) -> tuple[list[Axis], list[str]]:
    """An axis for each of ``names``, and those that have none: texts of more kinds than an axis can show."""
    axes, refused = [], []
    for name in names:
        axis = _param_axis(name, [run.get(name) for run in params])
        if axis is None:
            refused.append(name)
        else:
            axes.append(axis)
    return axes, refused


def number_axis(name: str, values: np.ndarray) -> Axis:
    """An axis of numbers (R,), NaN or ±inf for runs without one."""
    values = np.where(np.isfinite(values), values, np.nan)
    scale = scale_of(values)
    return Axis(name, scale.places(values), value_ticks(scale, values), scale)


def _param_axis(name: str, values: Sequence[str | None]) -> Axis | None:
    found = [align.canonical(value) for value in values]
    if not any(isinstance(value, str) for value in found):
        numbers = np.array([np.nan if text is None else float(text) for text in values])
        # "1e400" is a number that no 64-bit float holds.
        if not np.isinf(numbers).any():
            return number_axis(name, numbers)
    shown = {value: text.strip() for value, text in zip(found, values, strict=True) if text is not None}
    if len(shown) > MOST_CATEGORIES:
        return None
    # Numbers among texts come first, in their own order.
    order = sorted(shown, key=lambda value: (isinstance(value, str), value))
    place = {value: (number + 0.5) / len(order) for number, value in enumerate(order)}
    places = np.array([place.get(value, np.nan) for value in found])
    return Axis(name, places, tuple((place[value], shown[value]) for value in order), None)
