"""Reports: runs of any number of experiments compared in one HTML file that needs no network.

Reads MLflow through the store, knows neither Keras nor TensorFlow.
"""

from __future__ import annotations

import html
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_dlviz.reporting import options as asked
from mlflow_dlviz.reporting.analysis import Analysis, analyse
from mlflow_dlviz.reporting.bundle import Bundle, Query
from mlflow_dlviz.reporting.fetch import Reading
from mlflow_dlviz.reporting.fetch import fetch as fetch_bundle
from mlflow_dlviz.reporting.page import generated_now, render
from mlflow_dlviz.reporting.progress import shown_progress
from mlflow_dlviz.reporting.summary import summary_png
from mlflow_dlviz.store.histories import ServerUnreachable, UnknownExperiment

__all__ = ["NothingMatched", "Report", "ServerUnreachable", "UnknownExperiment", "report", "run_page"]

# A run's own page is made while its process would like to end: fewer pictures, the same picture quality.
_RUN_PAGE_FRAMES = 48


class NothingMatched(LookupError):
    """No run is left to report on."""


@dataclass(frozen=True)
class Report:
    """A finished page and what it shows."""

    html: str = field(repr=False)
    analysis: Analysis = field(repr=False)

    @property
    def bundle(self) -> Bundle:
        """The runs as fetched."""
        return self.analysis.bundle

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read; empty when the report is complete."""
        return self.bundle.problems

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to ``path``, all of it or nothing; returns the path."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            draft.write_bytes(self.html.encode("utf-8", "replace"))
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return target

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts" title="mlflow-dlviz report" '
            'style="width:100%;height:760px;border:0"></iframe>'
        )


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
    group_by: params that tell groups of runs apart; "auto" for all that differ but the seeds, "none" for no
        groups.
    seed_keys: params that are seeds, by the last part of their names.
    images: show pictures of these keys only, ``*`` and ``?`` standing for anything.
    epochs: show pictures of these epochs only: ``"0,5,10,last"``, or a sequence.
    smoothing: of the curves at first, from 0 to 0.999: the weight of the past in a debiased moving average.
    max_mb: how large the page may get, pictures aside.
    redact: regular expressions; the values of params and tags whose names match are masked, as those of names
        like ``token``, ``key`` and ``password`` are anyway.
    output: where to write the page; without it, ``Report.save`` does.
    jobs: how many requests run at a time.
    progress: show the progress of reading on stderr.

    Raises ``UnknownExperiment`` and ``ValueError`` for what was asked wrongly, ``NothingMatched`` when no run
    is left, ``ServerUnreachable`` when the server does not answer.
    """
    query = _query(experiments, run_ids, filter, status, since, order_by, limit)
    options = asked.check(
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
        statuses=status,
    )
    with shown_progress() if progress else nullcontext() as shown:
        bundle = fetch_bundle(query, options, Reading(tracking_uri, jobs), progress=shown)
    if not bundle.runs:
        raise NothingMatched(_nothing_words(bundle))
    made = _report(bundle, options)
    if output is not None:
        made.save(output)
    return made


def run_page(tracking_uri: str | None, run_id: str) -> dict[str, bytes]:
    """``{"report.html": …, "summary.png": …}`` of one run, quietly.

    No summary for a run without curves, and nothing for one that has no pictures either.
    """
    options = asked.Options()
    bundle = fetch_bundle(
        Query("", run_ids=(run_id,)), options, Reading(tracking_uri, max_frames=_RUN_PAGE_FRAMES)
    )
    if not bundle.runs:
        return {}
    files = {"report.html": _report(bundle, options).html.encode("utf-8", "replace")}
    if (summary := summary_png(bundle.runs[0])) is not None:
        files["summary.png"] = summary
    return files


def _report(bundle: Bundle, options: asked.Options) -> Report:
    analysis = analyse(bundle, options, generated=generated_now(os.environ, time.time()))
    return Report(render(analysis), analysis)


def _query(experiments, run_ids, filter, status, since, order_by, limit) -> Query:  # noqa: PLR0913
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


def _nothing_words(bundle: Bundle) -> str:
    query = bundle.query
    told = [f"experiments {', '.join(query.experiments)}"] if query.experiments else []
    told += [f"runs {', '.join(query.run_ids)}"] if query.run_ids else []
    told += [f"filter {' or '.join(map(repr, query.filters))}"] if query.filters else []
    why = "; ".join(f"{run.name or run.id}: {run.reason}" for run in bundle.excluded[:5])
    return f"no run matches ({'; '.join(told) or 'all experiments'})" + (f": {why}" if why else "")
