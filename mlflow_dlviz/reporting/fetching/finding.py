"""Which runs a report is of, and why others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlflow_dlviz.reporting.align import is_curve
from mlflow_dlviz.reporting.bundle import Excluded, Query
from mlflow_dlviz.reporting.fetching.source import Reading
from mlflow_dlviz.reporting.options import Options, check_metrics
from mlflow_dlviz.store.reports import REPORT_TAG
from mlflow_dlviz.store.searching import DELETED, find_runs, get_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def find(
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


def check_asked(runs: Sequence[Run], options: Options) -> None:
    """Raises ValueError for a metric that was asked for and none of the runs has."""
    if runs:
        check_metrics(options, (name for run in runs for name in run.data.metrics if is_curve(name)))


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
