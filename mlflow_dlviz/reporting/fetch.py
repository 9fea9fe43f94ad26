"""From a tracking server to a :class:`Bundle`, through the store alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mlflow_dlviz.reporting.align import is_curve
from mlflow_dlviz.reporting.bundle import Bundle, Dataset, Excluded, Frame, Numbers, Query, RunData
from mlflow_dlviz.reporting.fetch_metrics import choose_metrics, read_histories
from mlflow_dlviz.reporting.fetch_numbers import read_numbers
from mlflow_dlviz.reporting.fetch_pictures import read_frames
from mlflow_dlviz.reporting.options import Options, check_metrics
from mlflow_dlviz.reporting.source import Progress, Reading, Source
from mlflow_dlviz.store.cache import Cache
from mlflow_dlviz.store.histories import Series
from mlflow_dlviz.store.images import has_images
from mlflow_dlviz.store.reports import REPORT_TAG
from mlflow_dlviz.store.searching import DELETED, experiment_names, find_runs, get_runs, last_points
from mlflow_dlviz.store.server import answering, connect, public_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_CONTEXT_TAG = "mlflow.data.context"


@dataclass(frozen=True)
class Preview:
    """What would be read.

    runs: how many; experiments, by_status: how many of each; metrics: ``{name: runs that have it}``; points: of
    all histories, if steps are logged one by one; pictured: runs with pictures.
    """

    server: str
    runs: int
    experiments: Mapping[str, int] = field(default_factory=dict)
    by_status: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, int] = field(default_factory=dict)
    points: int = 0
    pictured: int = 0
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """All of it, for a person."""
        return list(_preview_lines(self))


def fetch(query: Query, options: Options, reading: Reading, *, progress: Progress | None = None) -> Bundle:
    """Read the runs that ``query`` asks for, as far as ``options`` show them.

    With neither experiments nor run ids, all active experiments are searched. What cannot be read is told in the
    bundle; only an unreachable server, an unknown experiment and a bad filter raise.
    """
    client = connect(reading.tracking_uri)
    with answering(client.tracking_uri):
        found, excluded, notes, problems = _find(client, query, reading)
    _check_metrics(found, options)
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


def preview(query: Query, options: Options, reading: Reading) -> Preview:
    """What :func:`fetch` would read; no history, picture or number is. Raises as it does."""
    client = connect(reading.tracking_uri)
    with answering(client.tracking_uri):
        runs, excluded, notes, problems = _find(client, query, reading)
    _check_metrics(runs, options)
    chosen, _ = choose_metrics(runs, options)
    names = experiment_names(client, (run.info.experiment_id for run in runs))
    return Preview(
        server=public_uri(client.tracking_uri),
        runs=len(runs),
        experiments=_counted(names.get(run.info.experiment_id, run.info.experiment_id) for run in runs),
        by_status=_counted(run.info.status for run in runs),
        metrics=_counted(key for keys in chosen.values() for key in keys),
        points=sum(_points(run, chosen[run.info.run_id]) for run in runs),
        pictured=sum(has_images(run.data.tags) for run in runs),
        excluded=tuple(excluded),
        notes=(*notes, *problems),
    )


def _silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


def _check_metrics(runs: Sequence[Run], options: Options) -> None:
    if runs:
        check_metrics(options, (name for run in runs for name in run.data.metrics if is_curve(name)))


def _find(
    client: MlflowClient, query: Query, reading: Reading
) -> tuple[list[Run], list[Excluded], list[str], list[str]]:
    """The runs to read, those that are left out, notes and problems."""
    errors: dict[str, str] = {}
    named, missing = get_runs(client, query.run_ids, jobs=reading.jobs, errors=errors)
    absent = {run_id: reason for run_id, reason in missing.items() if reason != DELETED}
    problems = [f"Run {run_id} could not be read: {reason}" for run_id, reason in (absent | errors).items()]
    searched = _searched(client, query) if query.experiments or not query.run_ids else []
    notes: list[str] = []
    found = [run for run in searched if REPORT_TAG not in run.data.tags]
    if len(found) > query.limit:
        first = (
            f"first {query.limit} by {', '.join(query.order_by)}" if query.order_by else f"newest {query.limit}"
        )
        notes.append(f"More than {query.limit} runs match; the {first} are shown (limit={query.limit}).")
    runs = {run.info.run_id: run for run in [*named, *found[: query.limit]] if REPORT_TAG not in run.data.tags}
    reports = {run.info.run_id: run for run in [*named, *searched] if REPORT_TAG in run.data.tags}
    excluded = [Excluded(run_id, "", reason) for run_id, reason in (missing | errors).items()]
    excluded += [Excluded(run_id, run.info.run_name or "", "holds a report") for run_id, run in reports.items()]
    return list(runs.values()), excluded, notes, problems


def _searched(client: MlflowClient, query: Query) -> list[Run]:
    """One more than the limit, where there are, as that tells whether there are; reports come on top."""
    more = 1
    while True:
        found = find_runs(
            client,
            query.experiments,
            query.filters,
            statuses=query.statuses,
            since=query.since,
            order_by=query.order_by,
            limit=query.limit + more,
        )
        reports = sum(REPORT_TAG in run.data.tags for run in found)
        if len(found) < query.limit + more or reports < more:
            return found
        more = reports + 1


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


def _counted(names: Iterator[str]) -> dict[str, int]:
    """How often each occurs, the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _points(run: Run, keys: Sequence[str]) -> int:
    points = last_points(run)
    return sum(1 + max(0, points[key][0]) for key in keys)


def _preview_lines(told: Preview) -> Iterator[str]:
    yield f"server: {told.server}"
    yield f"runs: {told.runs} ({_list(told.by_status)})" if told.runs else "runs: 0"
    yield f"experiments: {_list(told.experiments)}" if told.experiments else "experiments: none"
    yield f"metrics, and runs that have them: {_list(told.metrics)}" if told.metrics else "metrics: none"
    yield f"points: about {told.points:,}".replace(",", " ")
    yield f"runs with pictures: {told.pictured}"
    yield from told.notes
    for run in told.excluded:
        yield f"left out: {run.name or run.id}: {run.reason}"


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
