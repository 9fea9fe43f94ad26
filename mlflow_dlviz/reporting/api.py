"""What a user calls: a report, and what it would read. Wrong arguments raise before anything is read."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_dlviz.reporting import fitting
from mlflow_dlviz.reporting import options as asked
from mlflow_dlviz.reporting.analysis import analyse
from mlflow_dlviz.reporting.bundle import Bundle, Query
from mlflow_dlviz.reporting.fetching.fetch import fetch as fetch_bundle
from mlflow_dlviz.reporting.fetching.preview import Preview
from mlflow_dlviz.reporting.fetching.preview import preview as fetch_preview
from mlflow_dlviz.reporting.fetching.progress import shown_progress
from mlflow_dlviz.reporting.fetching.source import Progress, Reading
from mlflow_dlviz.reporting.page import generated_now, render
from mlflow_dlviz.reporting.result import Report
from mlflow_dlviz.reporting.summary import monitored, summary_png
from mlflow_dlviz.store.reports import find_run, resolved_uri

# A run's own page is made while its process would like to end: fewer pictures, the same picture quality.
_RUN_PAGE_FRAMES = 48
_MOST_JOBS = 64
_TOLD = 5


class NothingMatched(LookupError):
    """No run is left to report on."""


class Incomplete(RuntimeError):
    """Not everything could be read, and ``strict=True`` wants all or nothing."""


class _Request(NamedTuple):
    query: Query
    options: asked.Options
    reading: Reading


def report(
    experiments: str | Iterable[str] = (),
    *,
    run_ids: str | Iterable[str] = (),
    filter: str | Iterable[str] = (),
    status: str | Iterable[str] = (),
    since: str | None = None,
    order_by: str | Iterable[str] = (),
    limit: int = 1000,
    metrics: str | Iterable[str] = (),
    goal: str | None = None,
    x: str = "epoch",
    baseline: str | None = None,
    group_by: str | Iterable[str] = "auto",
    seed_keys: str | Iterable[str] = (),
    images: str | None = None,
    epochs: str | Sequence[int | str] | None = None,
    smoothing: float = 0.0,
    max_mb: float = 12.0,
    redact: str | Iterable[str] = (),
    output: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    jobs: int = 4,
    cache: bool = True,
    refresh: bool = False,
    strict: bool = False,
    progress: bool = True,
) -> Report:
    """Compare runs in one HTML page that works from disk, from a mail and in MLflow's artifact viewer.

    experiments: names or ids; with neither these nor ``run_ids``, all experiments.
    run_ids: these runs, beside what the experiments bring.
    filter: MLflow's search syntax (``"metrics.val_loss < 0.3"``), for the experiments' runs; of several, one
        must match.
    status: only runs of these statuses; they then count in the figures of groups, where else finished runs do.
    since: only runs that began at most so long ago: "30m", "12h", "7d", "2w".
    order_by: MLflow's search syntax (``"metrics.val_loss ASC"``): which runs come first where ``limit`` cuts.
    limit: how many runs at most, by default the newest.
    metrics: show these only, ``*`` and ``?`` standing for anything; ``:min`` or ``:max`` behind one says what is
        better.
    goal: the metric to rank runs by; by default the most important one that most runs have.
    x: what curves are drawn over at first: "epoch", "step" or "time".
    baseline: id or name of the run that others are compared with, or "best".
    group_by: params that tell groups of runs apart; "auto" for those that vary, but the seeds, "none" for no
        groups.
    seed_keys: params that are seeds, by the last part of their names.
    images: show pictures of these keys only, ``*`` and ``?`` standing for anything.
    epochs: show pictures of these epochs only: ``"0,5,10,last"``, or a sequence.
    smoothing: of the curves at first, from 0 to 0.999: the weight of the past in a debiased moving average.
    max_mb: how large the page may get, pictures aside.
    redact: regular expressions; the values of params and tags whose names match are masked, as those of names
        like ``token``, ``key`` and ``password`` are anyway.
    output: where to write the page; without it, ``Report.save`` does.
    tracking_uri: of the server or store; by default MLflow's own setting.
    jobs: how many requests run at a time, 64 at most.
    cache: keep what was read, and read it from there while the run has not changed.
    refresh: read all again, and keep that.
    strict: raise ``Incomplete`` and write nothing unless everything could be read.
    progress: show the progress of reading on stderr.

    Raises ``UnknownExperiment`` and ``ValueError`` for what was asked wrongly, ``NothingMatched`` when no run
    is left, ``ServerUnreachable`` when the server does not answer.
    """
    check_output(output)
    query, options, reading = _request(
        experiments,
        run_ids=run_ids,
        filter=filter,
        status=status,
        since=since,
        order_by=order_by,
        limit=limit,
        metrics=metrics,
        goal=goal,
        x=x,
        baseline=baseline,
        group_by=group_by,
        seed_keys=seed_keys,
        images=images,
        epochs=epochs,
        smoothing=smoothing,
        max_mb=max_mb,
        redact=redact,
        tracking_uri=tracking_uri,
        jobs=jobs,
        cache=cache,
        refresh=refresh,
    )
    check_flags(strict=strict, progress=progress)
    read: dict[str, int] = {}
    with shown_progress() if progress else nullcontext() as shown:
        bundle = fetch_bundle(query, options, reading, progress=_counting(read, shown))
    if not bundle.runs:
        raise NothingMatched(_nothing_words(bundle))
    made = replace(_report(bundle, options, reading), read=read)
    if strict and made.problems:
        raise Incomplete(_incomplete_words(made.problems))
    if output is not None:
        made.save(output)
    return made


def preview(experiments: str | Iterable[str] = (), **asked_for: Any) -> Preview:
    """What :func:`report` would read if it was called with these arguments; no history and no picture is read.

    Raises as :func:`report` does, but for ``NothingMatched``.
    """
    bound = inspect.signature(report).bind(experiments, **asked_for)
    bound.apply_defaults()
    left_out = ("output", "strict", "progress")
    request = _request(**{name: value for name, value in bound.arguments.items() if name not in left_out})
    return fetch_preview(*request)


def run_page(tracking_uri: str | None, run_id: str) -> dict[str, bytes]:
    """``{"report.html": …, "summary.png": …}`` of one run, quietly.

    No summary for a run without curves, and nothing for one that has no pictures either.
    """
    options = asked.Options()
    # The run is about to end: what is read now would not be asked for again.
    reading = Reading(tracking_uri, max_frames=_RUN_PAGE_FRAMES, cache=False)
    bundle = fetch_bundle(Query("", run_ids=(run_id,)), options, reading)
    if not bundle.runs:
        return {}
    options = replace(options, goal=monitored(bundle.runs[0]))
    files = {"report.html": _report(bundle, options, reading).html.encode("utf-8", "replace")}
    if (summary := summary_png(bundle.runs[0])) is not None:
        files["summary.png"] = summary
    return files


def check_run(run_id: str, tracking_uri: str | None = None) -> None:
    """Whether a report can be logged to this run. Raises ValueError if not, and ``ServerUnreachable``."""
    find_run(tracking_uri, run_id)


def check_output(output: Any) -> None:
    """Raises ValueError for what is no path of a file."""
    if output is None:
        return
    if not isinstance(output, str | os.PathLike) or not os.fspath(output):
        raise ValueError(f"output={output!r}: expected the path of a file")
    if Path(output).is_dir():
        raise ValueError(f"output={str(output)!r}: expected the path of a file, this is a folder")


def check_flags(**flags: Any) -> None:
    """Raises ValueError for the first that is neither True nor False."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name}={value!r}: expected True or False")


def _request(
    experiments: Any,
    *,
    tracking_uri: Any,
    jobs: Any,
    cache: Any,
    refresh: Any,
    status: Any,
    **more: Any,
) -> _Request:
    selecting = {name: more.pop(name) for name in ("run_ids", "filter", "since", "order_by", "limit")}
    query = _query(experiments=experiments, status=status, **selecting)
    options = asked.check(statuses=status, **more)
    if tracking_uri is not None and (not isinstance(tracking_uri, str) or not tracking_uri):
        raise ValueError(f"tracking_uri={tracking_uri!r}: expected the address of a server or a store")
    if isinstance(jobs, bool) or not isinstance(jobs, Integral) or not 1 <= int(jobs) <= _MOST_JOBS:
        raise ValueError(f"jobs={jobs!r}: expected a whole number from 1 to {_MOST_JOBS}")
    check_flags(cache=cache, refresh=refresh)
    if refresh and not cache:
        raise ValueError("refresh=True: expected cache=True beside it, as what is read again is kept")
    reading = Reading(resolved_uri(tracking_uri), int(jobs), cache=cache, refresh=refresh)
    return _Request(query, options, reading)


def _query(
    *, experiments: Any, run_ids: Any, filter: Any, status: Any, since: Any, order_by: Any, limit: Any
) -> Query:
    return Query(
        server="",
        experiments=asked.texts("experiments", experiments),
        run_ids=asked.texts("run_ids", run_ids),
        filters=asked.texts("filter", filter) if filter else (),
        statuses=asked.check_statuses(status),
        since=asked.check_since(since),
        order_by=asked.texts("order_by", order_by),
        limit=asked.check_limit(limit),
    )


def _report(bundle: Bundle, options: asked.Options, reading: Reading) -> Report:
    generated = generated_now(os.environ, time.time())
    while True:
        analysis = analyse(bundle, options, generated=generated)
        page = render(analysis)
        fewer = fitting.smaller(
            bundle, analysis, len(page.encode("utf-8", "replace")) - fitting.pictures_size(analysis)
        )
        if fewer is None:
            break
        bundle = fewer
    first = [*bundle.query.experiments, bundle.runs[0].experiment][0]
    return Report(page, analysis, resolved_uri(reading.tracking_uri), first)


def _nothing_words(bundle: Bundle) -> str:
    query = bundle.query
    told = [f"experiments {', '.join(query.experiments)}"] if query.experiments else []
    told += [f"runs {', '.join(query.run_ids)}"] if query.run_ids else []
    told += [f"filter {' or '.join(map(repr, query.filters))}"] if query.filters else []
    told += [f"status {' or '.join(query.statuses)}"] if query.statuses else []
    told += [f"of the last {query.since / 86400:g} days"] if query.since else []
    why = "; ".join(f"{run.name or run.id}: {run.reason}" for run in bundle.excluded[:_TOLD])
    return f"no run matches ({'; '.join(told) or 'all experiments'})" + (f": {why}" if why else "")


def _counting(read: dict[str, int], shown: Progress | None) -> Progress:
    """Progress that is also counted, by what is read."""

    def advance(what: str, done: int, total: int) -> None:
        read[what] = done
        if shown is not None:
            shown(what, done, total)

    return advance


def _incomplete_words(problems: Sequence[str]) -> str:
    more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
    return f"not everything could be read, so nothing is written: {'; '.join(problems[:_TOLD])}{more}"
