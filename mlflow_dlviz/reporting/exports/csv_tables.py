"""A report's numbers as CSV: RFC 4180, UTF-8 without a byte order mark, every float64 with all its digits.

Text that a spreadsheet would take for a formula has an apostrophe before it; numbers are left as they are.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.cells import metric_name, utc
from mlflow_dlviz.reporting.exports.files import whole_file
from mlflow_dlviz.reporting.standings import Standing, standings

Row = Sequence[Any]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.ASCII)


def write_csv(analysis: Analysis, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """``runs.csv``, ``metrics.csv`` and ``groups.csv`` in ``folder``; their paths."""
    tables = {"runs.csv": run_rows, "metrics.csv": metric_rows, "groups.csv": group_rows}
    return tuple(_write(Path(folder) / name, rows(analysis)) for name, rows in tables.items())


def run_rows(analysis: Analysis) -> Iterator[Row]:
    """A head, and a row per run, best first.

    best, best_step, last: of the goal; ``at_best.<metric>``: of the others at that very step.
    """
    params = _names(run.params for run in analysis.runs)
    tags = _names(run.tags for run in analysis.runs)
    places = sorted({place for of_run in analysis.curves for place in of_run}, key=metric_name)
    yield _safe(
        ["id", "name", "experiment", "status", "group", "start", "seconds", "datasets"]
        + ["goal", "best", "best_step", "last", *(f"at_best.{metric_name(place)}" for place in places)]
        + [*(f"param.{name}" for name in params), *(f"tag.{name}" for name in tags)]
    )
    for number, run in enumerate(analysis.runs):
        group = analysis.groups[analysis.group_of(number)].label
        yield _safe(
            [run.id, run.name, run.experiment, run.status, group, _time(run.start), run.seconds, _datasets(run)]
            + _goal_cells(analysis, number, places)
            + [*map(run.params.get, params), *map(run.tags.get, tags)]
        )


def metric_rows(analysis: Analysis) -> Iterator[Row]:
    """A head, and a row per logged value, in the order in which each run logged them.

    time: Unix milliseconds.
    """
    yield ["run_id", "metric", "step", "time", "value"]
    for run in analysis.runs:
        for metric, series in run.histories.items():
            names = repeat(_text(run.id)), repeat(_text(metric))
            points = series.steps.tolist(), series.times.tolist(), series.values.tolist()
            yield from zip(*names, *points, strict=False)


def group_rows(analysis: Analysis) -> Iterator[Row]:
    """A head, and a row per group, best first.

    iqm, low, high: the interquartile mean of the goal's best values and its interval, over ``counted`` runs of
    ``total``; better_than_baseline, …_low, …_high: the probability that a run of this group beats one of the
    baseline's.
    """
    found = standings(analysis)
    reasons = _names(standing.left_out for standing in found)
    yield _safe(
        ["group", *(f"key.{key}" for key in analysis.keys), "goal", "counted", "total"]
        + [*(f"left_out.{reason}" for reason in reasons), "iqm", "low", "high"]
        + ["better_than_baseline", "better_low", "better_high", "baseline_counted", "paired", "runs"]
    )
    for standing in found:
        group = analysis.groups[standing.group]
        yield _safe(
            [group.label, *group.values, analysis.goal, len(standing.values), standing.total]
            + [*(standing.left_out.get(reason, 0) for reason in reasons), standing.iqm]
            + [*_interval(standing), *_improvement(standing)]
            + [" ".join(analysis.runs[place].id for place in group.members)]
        )


def _write(path: Path, rows: Iterable[Row]) -> Path:
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        # A float is written as repr gives it: the shortest text that is read back as the same 64 bits.
        csv.writer(text).writerows(rows)
        text.flush()
        text.detach()
    return path


def _safe(row: Iterable[Any]) -> list[Any]:
    return [_text(cell) if isinstance(cell, str) else cell for cell in row]


def _text(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({name for each in mappings for name in each})


def _goal_cells(analysis: Analysis, number: int, places: Sequence[tuple[str, str]]) -> list[Any]:
    curves = analysis.curves[number]
    found = analysis.best(number)
    goal = curves.get(align.split_half(analysis.goal)) if analysis.goal else None
    cells: list[Any] = [analysis.goal, found and found.value, found and found.step]
    cells.append(align.last_value(goal) if goal is not None else None)
    there = [align.value_at(curves[place], found.step) if found and place in curves else None for place in places]
    return cells + there


def _time(milliseconds: int | None) -> str:
    found = utc(milliseconds)
    return "" if found is None else found.isoformat(timespec="milliseconds")


def _datasets(run: RunData) -> str:
    return "; ".join(" ".join(filter(None, (data.context, data.name, data.digest))) for data in run.datasets)


def _interval(standing: Standing) -> list[float | None]:
    interval = standing.interval
    return [None, None] if interval is None else [interval.low, interval.high]


def _improvement(standing: Standing) -> list[Any]:
    found = standing.improvement
    if found is None:
        return [None] * 5
    # Below 3 runs no report tells a probability.
    probability = None if found.low is None else found.probability
    return [probability, found.low, found.high, found.n_b, str(found.paired).lower()]
