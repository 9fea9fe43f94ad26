"""How the size of the page is shared out among its curves. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_dlviz.reporting import bands
from mlflow_dlviz.reporting.align import Curve
from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.compaction import allowance
from mlflow_dlviz.store.histories import Series

# Characters of base64, as encode writes them.
_FLOAT, _SHORT = 16 / 3, 8 / 3
# BokehJS with scripts, styles and text; a run's rows in the tables; the keys of a line, and of averages, a band or
# a clock.
_PAGE, _RUN, _LINE, _AVERAGES = 1_650_000, 1_800, 60, 180
_CLOCKS, _BANDS = (256, 128), (24, 64)
_FEWEST = 24


@dataclass(frozen=True)
class Room:
    """What fits. characters: that each line may take, inf for all of it; clock, band: points of each."""

    characters: float
    clock: int
    band: int

    def points(self, weights: int) -> int:
        """How many points of a line that is too long are kept, with its averages by so many weights."""
        return max(_FEWEST, int((self.characters - _AVERAGES) / _shortened(weights)))

    def cuts(self, curve: Curve, weights: int) -> bool:
        """Whether ``curve`` is too long, and takes less when it is shortened."""
        return cost(curve) > max(self.characters, _LINE + _AVERAGES + _FEWEST * _shortened(weights))


def plan(analysis: Analysis, curves: Sequence[Curve], places: int) -> Room:
    """How to share out what ``max_mb`` leaves beside the rest of the page; a group has up to ``places`` curves."""
    total = analysis.options.max_mb * 1e6 - _PAGE - len(analysis.runs) * _RUN
    banded = sum(len(members) >= bands.LEAST for members in bands.counted(analysis)) * places
    band = int(np.clip(total / 20 / max(1, banded * 4 * _SHORT), *_BANDS))
    left = total - banded * (band * 4 * _SHORT + _AVERAGES)
    costs = [cost(curve) for curve in curves]
    whole = allowance(costs, left - _clocks(analysis, _CLOCKS[0]))
    if whole == np.inf:
        return Room(whole, _CLOCKS[0], band)
    return Room(allowance(costs, left - _clocks(analysis, _CLOCKS[1])), _CLOCKS[1], band)


def _shortened(weights: int) -> float:
    """Characters of a point, with its share of the averages."""
    return _FLOAT + _SHORT + weights * _SHORT / 2


def cost(curve: Curve) -> float:
    """Characters that ``curve`` takes when it is sent whole."""
    count = len(curve.steps)
    plain = not count or (curve.steps[0] == 0 and curve.steps[-1] == count - 1)
    return _LINE + count * (_FLOAT if plain else _FLOAT + _SHORT)


def _clocks(analysis: Analysis, points: int) -> float:
    lengths = (max(map(_size, run.histories.values()), default=0) for run in analysis.runs)
    return sum(_AVERAGES + min(length, points) * _SHORT for length in lengths)


def _size(series: Series) -> int:
    return len(series.steps)
