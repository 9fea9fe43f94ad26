"""Where numbers stand on an axis, and what is written beside it. Pure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

# From this ratio of the largest to the smallest on, steps by a factor say more than steps by a sum.
_LOG_FROM = 30.0
_NICE = (1.0, 2.0, 5.0, 10.0)

Tick = tuple[float, str]
"""A place from 0 to 1 along the axis, and what stands there."""


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high``, low < high; log: in steps by a factor, both are positive then."""

    low: float
    high: float
    log: bool = False

    def places(self, values: np.ndarray) -> np.ndarray:
        """Places along the axis, 0 for ``low`` and 1 for ``high``; NaN stays NaN, and so becomes what is ≤ 0 of a
        logarithmic axis.
        """
        values = np.asarray(values, float)
        low, high = self.low, self.high
        if self.log:
            low, high = log10(low), log10(high)
            values = np.log10(np.where(values > 0, values, np.nan))
        # Halved, as the span of 64-bit floats is more than the largest of them.
        return (values / 2 - low / 2) / (high / 2 - low / 2)

    def ticks(self, most: int = 6) -> tuple[Tick, ...]:
        """Round numbers along the axis, ``most`` or somewhat fewer."""
        found = np.array(self._decades(most) if self.log else self._steps(most))
        return tuple(zip(self.places(found).tolist(), [f"{value:.4g}" for value in found.tolist()], strict=True))

    def _steps(self, most: int) -> list[float]:
        rough = (self.high / most) - (self.low / most)
        unit = 10.0 ** floor(log10(rough))
        step = next(unit * nice for nice in _NICE if unit * nice >= rough * (1 - 1e-9))
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _decades(self, most: int) -> list[float]:
        first, last = floor(log10(self.low)), ceil(log10(self.high))
        each = max(1, ceil((last - first) / most))
        factors = (1.0, 3.0) if last - first <= 2 else (1.0,)
        powers = range(first, min(last, sys.float_info.max_10_exp) + 1, each)
        found = [10.0**power * factor for power in powers for factor in factors]
        return [value for value in found if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]


def scale_of(values: Sequence[float] | np.ndarray) -> Scale:
    """An axis for the finite ones of ``values``: logarithmic where all are positive and 30 times apart."""
    found = np.asarray(values, float)
    found = found[np.isfinite(found)]
    if not len(found):
        return Scale(0.0, 1.0)
    low, high = float(found.min()), float(found.max())
    if low > 0 and high / _LOG_FROM >= low:
        return Scale(low, high, log=True)
    # Further apart than rounding can blur: steps of one value would be steps of nothing.
    room = max(abs(low), abs(high)) * 1e-12
    if high / 2 - low / 2 > room:
        return Scale(low, high)
    margin = max(abs(low) * 0.05, 1e-300) if low else 0.5
    return Scale(max(low - margin, -sys.float_info.max), min(high + margin, sys.float_info.max))


def value_ticks(scale: Scale, values: np.ndarray, *, most: int = 6, apart: float = 0.06) -> tuple[Tick, ...]:
    """The values themselves where they are few, else round numbers."""
    found = np.unique(values[np.isfinite(values)])
    if not 0 < len(found) <= most:
        return scale.ticks(most)
    places = scale.places(found).tolist()
    kept: list[Tick] = []
    for place, value in zip(places, found.tolist(), strict=True):
        if not kept or place - kept[-1][0] >= apart:
            kept.append((place, f"{value:.4g}"))
    return tuple(kept)
