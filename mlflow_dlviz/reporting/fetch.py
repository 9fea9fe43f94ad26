"""From a tracking server to a :class:`Bundle`, through the store alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.bundle import Bundle, Excluded, Frame, Query, RunData
from mlflow_dlviz.reporting.options import Options
from mlflow_dlviz.reporting.pictures import IMAGE_BUDGET, plan_frames, shrink, within_budget
from mlflow_dlviz.store import histories, images

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) on the calling thread."""

MAX_METRICS = 60
MAX_FRAMES = 2400


def _silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Reading:
    """How runs are read. jobs: requests at a time; max_frames: pictures at most."""

    tracking_uri: str | None = None
    jobs: int = 4
    max_frames: int = MAX_FRAMES


def fetch(query: Query, options: Options, reading: Reading, *, progress: Progress | None = None) -> Bundle:
    """Read the runs that ``query`` asks for, as far as ``options`` show them.

    With neither experiments nor run ids, all active experiments are searched. What cannot be read is told in the
    bundle; only an unreachable server, an unknown experiment and a bad filter raise.
    """
    progress = progress or _silent
    client = histories.connect(reading.tracking_uri)
    found, excluded, notes = _find(client, query)
    problems: list[str] = []
    series = _histories(client, found, progress, notes, problems)
    frames = _frames(client, found, progress, reading.max_frames, notes, problems)
    names = histories.find_experiments(client, sorted({run.info.experiment_id for run in found})) if found else {}
    runs = [_run_data(run, names, series[run.info.run_id], frames[run.info.run_id]) for run in found]
    empty = [run for run in runs if not run.histories and not run.frames]
    excluded += [Excluded(run.id, run.name, "no metrics and no pictures") for run in empty]
    return Bundle(
        replace(query, server=histories.public_uri(client.tracking_uri)),
        tuple(run for run in runs if run not in empty),
        tuple(excluded),
        tuple(notes),
        tuple(problems),
    )


def _find(client: MlflowClient, query: Query) -> tuple[list[Run], list[Excluded], list[str]]:
    named, missing = histories.get_runs(client, query.run_ids)
    limit = query.limit
    excluded = [Excluded(run_id, "", reason) for run_id, reason in missing.items()]
    searched: list[Run] = []
    notes: list[str] = []
    if query.experiments or not query.run_ids:
        # One more than wanted tells whether there are more.
        searched = histories.find_runs(client, query.experiments, " ".join(query.filters), limit + 1)
        if len(searched) > limit:
            notes.append(f"More than {limit} runs match; the newest {limit} are shown (limit={limit}).")
    runs = {run.info.run_id: run for run in [*named, *searched[:limit]]}
    return list(runs.values()), excluded, notes


def _histories(
    client: MlflowClient, runs: Sequence[Run], progress: Progress, notes: list[str], problems: list[str]
) -> dict[str, dict[str, histories.Series]]:
    logged = {run.info.run_id: [key for key in run.data.metrics if align.is_curve(key)] for run in runs}
    chosen, dropped = _choose_metrics(logged)
    if dropped:
        notes.append(f"{dropped} further metrics were logged; the {MAX_METRICS} that matter most are shown.")
    errors: dict[str, str] = {}
    keys = {run_id: sorted(chosen.intersection(names)) for run_id, names in logged.items()}
    series = histories.metric_histories(
        client, list(keys), keys, progress=lambda done, total: progress("metrics", done, total), errors=errors
    )
    problems += [f"Run {run_id}: metrics could not be read: {reason}" for run_id, reason in errors.items()]
    return series


def _choose_metrics(logged: Mapping[str, Sequence[str]]) -> tuple[set[str], int]:
    counts = Counter(name for names in logged.values() for name in names)
    order = {panel.base: place for place, panel in enumerate(align.choose_panels(counts))}
    ranked = sorted(counts, key=lambda name: (order[align.split_half(name)[0]], name))
    return set(ranked[:MAX_METRICS]), max(0, len(ranked) - MAX_METRICS)


def _frames(
    client: MlflowClient,
    runs: Sequence[Run],
    progress: Progress,
    max_frames: int,
    notes: list[str],
    problems: list[str],
) -> dict[str, list[Frame]]:
    refs = _list_frames(client, runs, progress, problems)
    steps = {place: sorted(by_step) for place, by_step in refs.items()}
    planned = plan_frames(steps, max_frames)
    wanted = {
        (run_id, key, step): refs[run_id, key][step] for (run_id, key), each in planned.items() for step in each
    }
    drawn = _fetch_frames(client, wanted, progress)
    failed = [place for place, frame in drawn.items() if frame.webp is None]
    if failed:
        problems.append(f"{len(failed)} picture{'s' * (len(failed) > 1)} could not be read; the tiles say why.")
    kept = _fit_budget(drawn)
    total = sum(map(len, steps.values()))
    if len(kept) < total:
        notes.append(
            f"{len(kept)} of {total} pictures are shown: epochs were thinned out evenly to keep the file small."
        )
    frames: dict[str, list[Frame]] = {run.info.run_id: [] for run in runs}
    for run_id, key, step in kept:
        frames[run_id].append(drawn[run_id, key, step])
    return frames


def _list_frames(
    client: MlflowClient, runs: Sequence[Run], progress: Progress, problems: list[str]
) -> dict[tuple[str, str], dict[int, images.ImageRef]]:
    refs: dict[tuple[str, str], dict[int, images.ImageRef]] = {}
    for done, run in enumerate(runs, start=1):
        run_id = run.info.run_id
        try:
            found = images.list_images(client, run_id)
        # Artifact stores raise whatever their client library raises; the run's curves are still good.
        except Exception as error:
            problems.append(f"Run {run_id}: pictures could not be listed: {type(error).__name__}: {error}"[:300])
            found = []
        for ref in found:
            refs.setdefault((run_id, ref.key), {})[ref.step] = ref
        progress("pictures: listing", done, len(runs))
    return refs


def _fetch_frames(
    client: MlflowClient, wanted: Mapping[tuple[str, str, int], images.ImageRef], progress: Progress
) -> dict[tuple[str, str, int], Frame]:
    fetched = images.fetch_images(
        client,
        [(run_id, ref.path or ref.thumbnail_path) for (run_id, _, _), ref in wanted.items()],
        convert=shrink,
        progress=lambda done, total: progress("pictures", done, total),
    )
    return {
        (run_id, key, step): Frame(key, step, *fetched[run_id, ref.path or ref.thumbnail_path])
        for (run_id, key, step), ref in wanted.items()
    }


def _fit_budget(drawn: Mapping[tuple[str, str, int], Frame]) -> list[tuple[str, str, int]]:
    sizes: dict[tuple[str, str], dict[int, int]] = {}
    for (run_id, key, step), frame in drawn.items():
        # base64 turns 3 bytes into 4 characters.
        sizes.setdefault((run_id, key), {})[step] = -(-len(frame.webp or b"") // 3) * 4
    kept = within_budget(sizes, IMAGE_BUDGET)
    return [(run_id, key, step) for (run_id, key), each in kept.items() for step in each]


def _run_data(
    run: Run, experiments: Mapping[str, str], series: Mapping[str, histories.Series], frames: Sequence[Frame]
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
        histories=series,
        frames=tuple(frames),
    )


def _seconds(run: Run, series: Mapping[str, histories.Series]) -> float | None:
    # A run that has not ended has lasted until its last sign of life; "until now" would differ in each build.
    last = [int(each.times.max()) for each in series.values() if len(each.times)]
    end = run.info.end_time or max(last, default=None)
    if end is None or run.info.start_time is None or end < run.info.start_time:
        return None
    return (end - run.info.start_time) / 1000
