"""From a tracking server to a :class:`Bundle`, through the store alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mlflow_dlviz.reporting.align import is_curve
from mlflow_dlviz.reporting.bundle import Bundle, Dataset, Excluded, Frame, Numbers, Query, RunData
from mlflow_dlviz.reporting.fetching.finding import check_asked, find
from mlflow_dlviz.reporting.fetching.metrics import read_histories
from mlflow_dlviz.reporting.fetching.numbers import read_numbers
from mlflow_dlviz.reporting.fetching.pictures import read_frames
from mlflow_dlviz.reporting.fetching.source import Progress, Reading, Source
from mlflow_dlviz.reporting.options import Options
from mlflow_dlviz.store.cache import Cache
from mlflow_dlviz.store.histories import Series
from mlflow_dlviz.store.images import has_images
from mlflow_dlviz.store.searching import experiment_names
from mlflow_dlviz.store.server import answering, connect, public_uri

if TYPE_CHECKING:
    from mlflow.entities import Run

_CONTEXT_TAG = "mlflow.data.context"


def fetch(query: Query, options: Options, reading: Reading, *, progress: Progress | None = None) -> Bundle:
    """Read the runs that ``query`` asks for, as far as ``options`` show them.

    With neither experiments nor run ids, all active experiments are searched. What cannot be read is told in the
    bundle; only an unreachable server, an unknown experiment and a bad filter raise.
    """
    client = connect(reading.tracking_uri)
    with answering(client.tracking_uri):
        found, excluded, notes, problems = find(client, query, reading)
    check_asked(found, options)
    with Cache(client.tracking_uri, off=not reading.cache, refresh=reading.refresh) as cache:
        source = Source(client, found, reading, cache, progress or _silent, notes, problems)
        series, errors = read_histories(source, options)
        frames = read_frames(source, options)
        numbers = read_numbers(source)
    names = experiment_names(client, (run.info.experiment_id for run in found))
    runs = [
        _run_data(run, names, series[run.info.run_id], frames[run.info.run_id], numbers.get(run.info.run_id, {}))
        for run in found
    ]
    whole = {run.info.run_id: run for run in found}
    shown, empty = _without_empty(runs, whole, errors, options)
    return Bundle(
        replace(query, server=public_uri(client.tracking_uri)),
        tuple(shown),
        (*excluded, *empty),
        tuple(source.notes),
        tuple(source.problems),
    )


def _silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


def _without_empty(
    runs: Sequence[RunData], found: Mapping[str, Run], errors: Mapping[str, str], options: Options
) -> tuple[list[RunData], list[Excluded]]:
    shown, empty = [], []
    for run in runs:
        if run.histories or run.frames:
            shown.append(run)
        elif run.id in errors:
            empty.append(Excluded(run.id, run.name, f"its metrics could not be read: {errors[run.id]}"))
        else:
            empty.append(Excluded(run.id, run.name, _emptiness(found[run.id], options)))
    return shown, empty


def _emptiness(run: Run, options: Options) -> str:
    """Why nothing of ``run`` is there."""
    metrics = bool(options.metrics) and any(map(is_curve, run.data.metrics))
    pictures = (options.images != "*" or bool(options.epochs)) and has_images(run.data.tags)
    asked = " and ".join(what for what, there in (("metrics", metrics), ("pictures", pictures)) if there)
    return f"none of its {asked} was asked for" if asked else "no metrics and no pictures"


def _run_data(
    run: Run,
    experiments: Mapping[str, str],
    series: Mapping[str, Series],
    frames: Sequence[Frame],
    numbers: Mapping[str, Numbers],
) -> RunData:
    info = run.info
    return RunData(
        id=info.run_id,
        name=info.run_name or "",
        experiment=experiments.get(info.experiment_id, info.experiment_id),
        status=info.status,
        start=info.start_time,
        seconds=_seconds(run, series),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        datasets=_datasets(run),
        histories=series,
        frames=tuple(frames),
        numbers=numbers,
    )


def _datasets(run: Run) -> tuple[Dataset, ...]:
    # Of a store that has none, the inputs may be missing altogether.
    inputs = run.inputs.dataset_inputs if run.inputs else []
    contexts = [{tag.key: tag.value for tag in each.tags}.get(_CONTEXT_TAG, "") for each in inputs]
    found = [
        Dataset(each.dataset.name, each.dataset.digest, context)
        for each, context in zip(inputs, contexts, strict=True)
    ]
    return tuple(sorted(found, key=lambda each: (each.context, each.name, each.digest)))


def _seconds(run: Run, series: Mapping[str, Series]) -> float | None:
    # A run that has not ended has lasted until its last sign of life; "until now" would differ in each build.
    last = [int(each.times.max()) for each in series.values() if len(each.times)]
    end = run.info.end_time or max(last, default=None)
    if end is None or run.info.start_time is None or end < run.info.start_time:
        return None
    return (end - run.info.start_time) / 1000
