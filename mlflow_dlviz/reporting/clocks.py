"""When the steps of runs were reached, for curves over time. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.store.histories import Series

_ASTRAY = 0.01


@dataclass(frozen=True)
class Clock:
    """The time of each step of one run.

    start: Unix milliseconds; steps: (S,) int64, ascending; seconds: (S,) since ``start``, never falling; series:
    the metric that tells them.
    """

    start: int
    steps: np.ndarray
    seconds: np.ndarray
    series: Series

    def at(self, steps: np.ndarray) -> np.ndarray:
        """(S,) seconds at ``steps`` (S,): in between in proportion, before and after as at the ends."""
        return np.interp(steps, self.steps, self.seconds)


def run_clock(run: RunData) -> Clock | None:
    """The clock of ``run`` by its metric with most points; None without any."""
    known = [series for _, series in sorted(run.histories.items()) if len(series.steps)]
    if not known:
        return None
    longest = max(known, key=lambda series: len(series.steps))
    # Clocks of two machines may disagree: no point of a run lies before its start.
    first = int(longest.times.min())
    start = first if run.start is None else min(run.start, first)
    steps, seconds = _times(longest, start)
    return Clock(start, steps, seconds, longest)


def own_times(series: Series, clock: Clock) -> np.ndarray | None:
    """(S,) seconds at the steps of ``series``, where the run's clock would mislead by a hundredth of its length.

    So it is where a run counts batches in one metric and epochs in another.
    """
    same = clock.series
    if series is same or (np.array_equal(series.steps, same.steps) and np.array_equal(series.times, same.times)):
        return None
    steps, seconds = _times(series, clock.start)
    off = np.abs(clock.at(steps) - seconds).max(initial=0.0)
    return seconds if off > _ASTRAY * max(float(clock.seconds[-1]), 1.0) else None


def _times(series: Series, start: int) -> tuple[np.ndarray, np.ndarray]:
    # Steps logged again after a resume would lead back in time.
    cleaned = align.clean(replace(series, values=series.times.astype(float)))
    return cleaned.steps, np.maximum.accumulate(np.maximum(cleaned.values - start, 0.0)) / 1000
