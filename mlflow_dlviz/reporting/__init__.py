"""Reports: runs of any number of experiments compared in one HTML file that needs no network.

Reads MLflow through the store, knows neither Keras nor TensorFlow.
"""

from __future__ import annotations

import html
import os
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_dlviz.reporting.bundle import Bundle
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
    """A finished page and the data it shows."""

    html: str = field(repr=False)
    bundle: Bundle = field(repr=False)

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
    filter: str = "",
    limit: int = 1000,
    output: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    progress: bool = True,
    goal: str | None = None,
) -> Report:
    """Compare runs in one HTML page that works from disk, from a mail and in MLflow's artifact viewer.

    experiments: names or ids; with neither these nor ``run_ids``, all experiments.
    run_ids: these runs, beside what the experiments bring.
    filter: MLflow's search syntax (``"metrics.val_loss < 0.3"``); for the experiments' runs.
    limit: how many runs at most, the newest first.
    output: where to write the page; without it, ``Report.save`` does.
    progress: show the progress of reading on stderr.
    goal: the metric to rank runs by; by default the most important one that most runs have.

    Raises ``UnknownExperiment`` and ``ValueError`` for what was asked wrongly, ``NothingMatched`` when no run
    is left, ``ServerUnreachable`` when the server does not answer.
    """
    wanted = _texts("experiments", experiments), _texts("run_ids", run_ids)
    _check_options(filter, limit, goal)
    with shown_progress() if progress else nullcontext() as shown:
        bundle = fetch_bundle(
            wanted[0],
            run_ids=wanted[1],
            filter=filter,
            limit=limit,
            tracking_uri=tracking_uri,
            progress=shown,
        )
    if not bundle.runs:
        raise NothingMatched(_nothing_words(bundle))
    _check_goal(bundle, goal)
    made = Report(_render(bundle, goal), bundle)
    if output is not None:
        made.save(output)
    return made


def run_page(tracking_uri: str | None, run_id: str) -> dict[str, bytes]:
    """``{"report.html": …, "summary.png": …}`` of one run, quietly.

    No summary for a run without curves, and nothing for one that has no pictures either.
    """
    bundle = fetch_bundle(run_ids=[run_id], tracking_uri=tracking_uri, max_frames=_RUN_PAGE_FRAMES)
    if not bundle.runs:
        return {}
    files = {"report.html": _render(bundle, None).encode("utf-8", "replace")}
    if (summary := summary_png(bundle.runs[0])) is not None:
        files["summary.png"] = summary
    return files


def _render(bundle: Bundle, goal: str | None) -> str:
    return render(bundle, generated=generated_now(os.environ, time.time()), goal=goal)


def _texts(argument: str, value: str | Iterable[str]) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value)
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{argument}={value!r}: expected names or ids, not {text!r}")
    return texts


def _check_options(filter: str, limit: int, goal: str | None) -> None:
    if not isinstance(filter, str):
        raise ValueError(f"filter={filter!r}: expected text in MLflow's search syntax")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"limit={limit!r}: expected a whole number of at least 1")
    if goal is not None and not isinstance(goal, str):
        raise ValueError(f"goal={goal!r}: expected the name of a metric")


def _check_goal(bundle: Bundle, goal: str | None) -> None:
    known = sorted({metric for run in bundle.runs for metric in run.histories})
    if goal is not None and goal not in known:
        raise ValueError(f"goal={goal!r}: no run has it; there are {', '.join(known[:20]) or 'no metrics'}")


def _nothing_words(bundle: Bundle) -> str:
    query = bundle.query
    asked = [f"experiments {', '.join(query.experiments)}"] if query.experiments else []
    asked += [f"runs {', '.join(query.run_ids)}"] if query.run_ids else []
    asked += [f"filter {query.filter!r}"] if query.filter else []
    why = "; ".join(f"{run.name or run.id}: {run.reason}" for run in bundle.excluded[:5])
    return f"no run matches ({'; '.join(asked) or 'all experiments'})" + (f": {why}" if why else "")
