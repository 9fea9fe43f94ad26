"""Which metrics of a run a report shows, and their histories: from the cache, or else from the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.fetching.source import Source
from mlflow_dlviz.reporting.options import Options
from mlflow_dlviz.store import cache as caching
from mlflow_dlviz.store.histories import Series, metric_histories
from mlflow_dlviz.store.searching import last_points

if TYPE_CHECKING:
    from mlflow.entities import Run

MAX_METRICS = 60

_KIND = "history"

Pair = tuple[str, str]
Histories = dict[str, dict[str, Series]]


def read_histories(source: Source, options: Options) -> tuple[Histories, dict[str, str]]:
    """``{run_id: {metric: Series}}`` of all runs, and why those of some could not be read."""
    chosen, dropped = choose_metrics(source.runs, options)
    if dropped:
        source.notes.append(
            f"{dropped} further metrics were logged; the {MAX_METRICS} that matter most are shown."
        )
    tokens, steps = _told(source, chosen)
    found = {pair: _unpacked(content) for pair, content in source.cache.get(_KIND, tokens).items()}
    missing = {run_id: [key for key in keys if (run_id, key) not in found] for run_id, keys in chosen.items()}
    errors: dict[str, str] = {}
    read = metric_histories(
        source.client,
        list(missing),
        missing,
        last_steps=steps,
        jobs=source.reading.jobs,
        progress=source.told("metrics"),
        errors=errors,
    )
    _keep(source, read, tokens)
    source.tell(errors, "Metrics")
    return {run_id: _together(keys, run_id, found, read[run_id]) for run_id, keys in chosen.items()}, errors


def choose_metrics(runs: Sequence[Run], options: Options) -> tuple[dict[str, list[str]], int]:
    """``{run_id: metrics}`` to read of each run, and how many metrics are left out because there are too many."""
    logged = {run.info.run_id: [key for key in run.data.metrics if _wanted(key, options)] for run in runs}
    counts = Counter(name for names in logged.values() for name in names)
    order = {panel.base: place for place, panel in enumerate(align.choose_panels(counts))}

    def rank(name: str) -> tuple:
        return name != options.goal, order.get(align.split_half(name)[0], -1), name

    ranked = sorted(counts, key=rank)
    chosen = set(ranked[:MAX_METRICS])
    keys = {run_id: sorted(chosen.intersection(names)) for run_id, names in logged.items()}
    return keys, len(ranked) - len(chosen)


def _wanted(metric: str, options: Options) -> bool:
    return metric == options.goal or (align.is_curve(metric) and options.wants(metric))


def _told(source: Source, chosen: Mapping[str, Sequence[str]]) -> tuple[dict[Pair, str], dict[Pair, int]]:
    """The tokens of what may be in the cache, and the last step of each metric."""
    tokens: dict[Pair, str] = {}
    steps: dict[Pair, int] = {}
    for run in source.runs:
        run_id = run.info.run_id
        points = last_points(run)
        for key in chosen[run_id]:
            steps[run_id, key] = points[key][0]
            if run_id in source.tokens:
                tokens[run_id, key] = caching.history_token(run, points[key])
    return tokens, steps


def _keep(source: Source, read: Histories, tokens: Mapping[Pair, str]) -> None:
    series = {(run_id, key): each for run_id, of_run in read.items() for key, each in of_run.items()}
    contents = {pair: (tokens[pair], _packed(each)) for pair, each in series.items() if pair in tokens}
    source.cache.put(_KIND, contents)


def _together(
    keys: Sequence[str], run_id: str, kept: Mapping[Pair, Series], read: Mapping[str, Series]
) -> dict[str, Series]:
    both = {key: kept.get((run_id, key)) or read.get(key) for key in keys}
    return {key: series for key, series in both.items() if series is not None}


def _packed(series: Series) -> bytes:
    columns = (series.steps.astype("<i8"), series.values.astype("<f8"), series.times.astype("<i8"))
    return b"".join(column.tobytes() for column in columns)


def _unpacked(content: bytes) -> Series:
    size = len(content) // 3
    steps, values, times = (
        np.frombuffer(content, kind, size // 8, place * size) for place, kind in enumerate(("<i8", "<f8", "<i8"))
    )
    return Series(steps, values, times)
