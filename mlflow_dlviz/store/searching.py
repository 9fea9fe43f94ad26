"""Which runs there are: found by experiment and filter, or named by their ids."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from mlflow_dlviz.store.parallel import completed
from mlflow_dlviz.store.server import first_line

DELETED = "deleted"
"""Why a run that is in the trash is missing."""

_PAGE = 1000
# Asking for each of more experiments takes longer than a list of all.
_FEW = 5
_NO_SUCH_RUN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class UnknownExperiment(ValueError):
    """No active experiment has this name or id."""


def find_experiments(client: MlflowClient, experiments: Sequence[str] = ()) -> dict[str, str]:
    """``{id: name}`` of the experiments named by name or id; of all active ones when none is named."""
    if not experiments:
        return {found.experiment_id: found.name for found in _paged(client.search_experiments)}
    return dict(_find_experiment(client, str(wanted)) for wanted in experiments)


def experiment_names(client: MlflowClient, ids: Iterable[str]) -> dict[str, str]:
    """``{id: name}`` of the experiments with these ids, deleted ones too; an id that nothing has is left out."""
    ids = sorted(set(ids))
    if len(ids) > _FEW:
        search = partial(client.search_experiments, view_type=ViewType.ALL)
        known = {found.experiment_id: found.name for found in _paged(search)}
        return {number: known[number] for number in ids if number in known}
    names = {}
    for number in ids:
        try:
            names[number] = client.get_experiment(number).name
        except MlflowException:  # one may search what one may not see
            continue
    return names


def _find_experiment(client: MlflowClient, wanted: str) -> tuple[str, str]:
    found = client.get_experiment_by_name(wanted)
    if found is None and wanted.isdigit():
        try:
            found = client.get_experiment(wanted)
        except MlflowException:
            found = None
    if found is None or found.lifecycle_stage != "active":
        raise UnknownExperiment(_unknown_words(client, wanted, deleted=found is not None))
    return found.experiment_id, found.name


def _unknown_words(client: MlflowClient, wanted: str, *, deleted: bool) -> str:
    if deleted:
        return f"experiment {wanted!r} is deleted; restore it first (mlflow experiments restore)"
    names = [experiment.name for experiment in _paged(client.search_experiments)]
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5) or names[:3]
    hint = f"; closest: {', '.join(map(repr, near))}" if near else ""
    return f"experiment {wanted!r} does not exist{hint}"


def find_runs(
    client: MlflowClient,
    experiments: Sequence[str] = (),
    filters: Sequence[str] = (),
    *,
    statuses: Sequence[str] = (),
    since: float | None = None,
    order_by: Sequence[str] = (),
    limit: int = 1000,
) -> list[Run]:
    """Active runs of ``experiments`` (names or ids; none = all), at most ``limit``.

    filters: in MLflow's syntax; a run must match one of them. statuses: of the runs, none for all; since:
    seconds before now in which they began. order_by: in MLflow's syntax; by default the newest first.

    Raises UnknownExperiment, and ValueError with MLflow's own words for a filter or an order that it refuses.
    """
    ids = list(find_experiments(client, experiments))
    if not ids:
        return []
    search = partial(client.search_runs, ids, order_by=list(order_by))
    narrowed = _narrowed(statuses, since)
    found: dict[str, Run] = {}
    wanted = list(dict.fromkeys(filters)) or [""]
    for filter_string in wanted:
        clauses = [clause for clause in [filter_string, *narrowed] if clause.strip()]
        # What is sorted out here must not count.
        most = limit if len(statuses) < 2 else None
        matching = _searched(search, filter_string, " and ".join(clauses), most)
        chosen = (run for run in matching if not statuses or run.info.status in statuses)
        found.update((run.info.run_id, run) for run in islice(chosen, limit))
    runs = list(found.values())
    return (_ordered(runs, order_by) if len(wanted) > 1 else runs)[:limit]


def _narrowed(statuses: Sequence[str], since: float | None) -> list[str]:
    # MLflow's filters know no "or": of several statuses, what comes back is sorted out here.
    clauses = [f"attributes.status = '{statuses[0]}'"] if len(statuses) == 1 else []
    if since is not None:
        clauses.append(f"attributes.start_time >= {int((time.time() - since) * 1000)}")
    return clauses


def _searched(search: Callable, filter_string: str, clauses: str, limit: int | None) -> Iterator[Run]:
    def page(max_results: int, page_token: str | None) -> Iterable[Run]:
        return search(filter_string=clauses, max_results=max_results, page_token=page_token)

    try:
        yield from _paged(page, limit)
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise ValueError(f"{_culprit(search, filter_string)}: {error.message}") from error


def _culprit(search: Callable, filter_string: str) -> str:
    order_by = search.keywords["order_by"]  # type: ignore[attr-defined]
    try:
        search(filter_string="", max_results=1)
    except MlflowException:
        return f"order_by={order_by!r}"
    return f"filter={filter_string!r}"


def _ordered(runs: Sequence[Run], order_by: Sequence[str]) -> list[Run]:
    """Runs of several searches in the order that one search would have given (mlflow 3.17.2)."""
    try:
        from mlflow.utils.search_utils import SearchUtils

        return SearchUtils.sort(runs, list(order_by))
    except Exception:  # not public: of another version, anything may be raised
        return sorted(runs, key=lambda run: (-(run.info.start_time or 0), run.info.run_id))


def get_runs(
    client: MlflowClient, run_ids: Sequence[str], *, jobs: int = 4, errors: dict[str, str] | None = None
) -> tuple[list[Run], dict[str, str]]:
    """The runs with these ids, and why each missing one is missing.

    errors: given a dict, why a run could not be asked for is told there instead.
    """
    runs: list[Run] = []
    missing: dict[str, str] = {}
    ids = list(dict.fromkeys(run_ids))
    calls = {run_id: partial(_get_run, client, run_id) for run_id in ids}
    found = {run_id: future.result() for run_id, future in completed(jobs, calls)}
    for run_id in ids:
        each = found[run_id]
        if isinstance(each, MlflowException):
            told = missing if errors is None or each.error_code in _NO_SUCH_RUN else errors
            told[run_id] = first_line(each.message)
        elif each.info.lifecycle_stage != "active":
            missing[run_id] = DELETED
        else:
            runs.append(each)
    return runs, missing


def _get_run(client: MlflowClient, run_id: str) -> Run | MlflowException:
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        return error


LastPoints = Mapping[str, tuple[int, int, float]]
"""``{metric: (step, timestamp, value)}`` of the point at a run's greatest step."""


def last_points(run: Run) -> dict[str, tuple[int, int, float]]:
    """The last point of each metric, as the search that found ``run`` has told it."""
    points = run.data.to_proto().metrics
    return {point.key: (point.step, point.timestamp, point.value) for point in points}


def _paged(search: Callable, limit: int | None = None) -> Iterator:
    token, left = None, limit
    while left is None or left > 0:
        page = search(max_results=_PAGE if left is None else min(_PAGE, left), page_token=token)
        yield from page
        left = None if left is None else left - len(page)
        token = page.token
        if not token:
            return
