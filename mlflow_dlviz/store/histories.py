"""Runs and their metric histories, read from a tracking server.

One obvious place: whatever asks for histories calls :func:`metric_histories`, so a faster way to read them
(the store's own tables, the bulk endpoint) changes this file alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from urllib.parse import urlsplit

import mlflow
import numpy as np
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException

Progress = Callable[[int, int], None]
"""Called with (done, total) on the calling thread."""

_PAGE = 1000
_REACH_SECONDS = 10.0
# Said by a server, or by what stands before it, that can't work now.
_BROKEN = (429, 500, 502, 503, 504)
# The greatest double stands for infinity in what some of MLflow's endpoints answer.
_INFINITE = 1.797e308


class UnknownExperiment(ValueError):
    """No active experiment has this name or id."""


class ServerUnreachable(ConnectionError):
    """The tracking server does not answer."""


@dataclass(frozen=True)
class Series:
    """One metric of one run, in the order in which it was logged.

    steps: (S,) int64; values: (S,) float64, NaN and ±inf as logged; times: (S,) int64, Unix milliseconds.
    """

    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray


def connect(tracking_uri: str | None = None) -> MlflowClient:
    """A client for ``tracking_uri`` (default: MLflow's own), after a short look whether its server answers.

    MLflow's client retries for about four minutes before it gives up on a dead server; whoever waits at a
    command line wants to know at once.
    """
    uri = tracking_uri or mlflow.get_tracking_uri()
    check_reachable(uri)
    return MlflowClient(tracking_uri=uri)


def check_reachable(uri: str, seconds: float = _REACH_SECONDS) -> None:
    """Ask a server for a sign of life; of a local store or a database nothing is asked.

    Raises ServerUnreachable without an answer within so many seconds, and for one that says it is broken.
    """
    if urlsplit(uri).scheme not in ("http", "https"):
        return
    # A refusal will do for an answer: access is MLflow's to settle, TLS with its own options too.
    try:
        answer = requests.get(uri.rstrip("/") + "/health", timeout=seconds)
    except requests.exceptions.SSLError:
        return
    except requests.exceptions.RequestException as error:
        raise ServerUnreachable(f"the tracking server at {public_uri(uri)} does not answer: {error}") from error
    if answer.status_code in _BROKEN:
        raise ServerUnreachable(f"the tracking server at {public_uri(uri)} answers {answer.status_code}")


def public_uri(uri: str) -> str:
    """``uri`` fit to be shown to others: without user, password, query and local folders."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
    if uri.startswith(("databricks", "uc")):
        return uri.split(":")[0]
    if not parts.scheme or len(parts.scheme) == 1 or "/" in parts.path:
        return f"{parts.scheme or 'file'}: {parts.path.replace(chr(92), '/').rstrip('/').rsplit('/', 1)[-1]}"
    return parts.scheme


def find_experiments(client: MlflowClient, experiments: Sequence[str] = ()) -> dict[str, str]:
    """``{id: name}`` of the experiments named by name or id; of all active ones when none is named."""
    if not experiments:
        return {found.experiment_id: found.name for found in _paged(client.search_experiments)}
    return dict(_find_experiment(client, str(wanted)) for wanted in experiments)


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
    filter_string: str = "",
    max_results: int = 1000,
) -> list[Run]:
    """Active runs of ``experiments`` (names or ids; none = all), newest first, at most ``max_results``."""
    ids = list(find_experiments(client, experiments))
    if not ids:
        return []

    def search(max_results: int, page_token: str | None) -> Iterable[Run]:
        return client.search_runs(ids, filter_string, max_results=max_results, page_token=page_token)

    try:
        return list(_paged(search, max_results))
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise ValueError(f"filter={filter_string!r}: {error.message}") from error


def get_runs(client: MlflowClient, run_ids: Sequence[str]) -> tuple[list[Run], dict[str, str]]:
    """The runs with these ids, and why each missing one is missing."""
    runs: list[Run] = []
    missing: dict[str, str] = {}
    for run_id in dict.fromkeys(run_ids):
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            missing[run_id] = _first_line(error.message)
            continue
        if run.info.lifecycle_stage == "active":
            runs.append(run)
        else:
            missing[run_id] = "deleted"
    return runs, missing


def _paged(search: Callable, limit: int | None = None) -> Iterator:
    token, left = None, limit
    while left is None or left > 0:
        page = search(max_results=_PAGE if left is None else min(_PAGE, left), page_token=token)
        yield from page
        left = None if left is None else left - len(page)
        token = page.token
        if not token:
            return


def metric_histories(
    client: MlflowClient,
    run_ids: Sequence[str],
    keys: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    jobs: int = 4,
    progress: Progress | None = None,
    errors: dict[str, str] | None = None,
) -> dict[str, dict[str, Series]]:
    """``{run_id: {key: Series}}``; a key that a run never logged is absent.

    keys: the same for all runs, or ``{run_id: keys}``. errors: given a dict, a run whose history cannot be
    read leaves its reason there, and the others are still read; without one, the first error is raised.
    """
    wanted = keys if isinstance(keys, Mapping) else dict.fromkeys(run_ids, keys)
    found: dict[str, dict[str, Series]] = {run_id: {} for run_id in run_ids}
    with ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="dlviz-read") as pool:
        pending = {
            pool.submit(client.get_metric_history, run_id, key): (run_id, key)
            for run_id in run_ids
            for key in wanted.get(run_id, ())
        }
        for done, future in enumerate(as_completed(pending), start=1):
            _collect(future, *pending[future], found, errors)
            if progress is not None:
                progress(done, len(pending))
    # As they were asked for, not as they came in: the same data make the same report.
    return {
        run_id: {key: series[key] for key in wanted.get(run_id, ()) if key in series}
        for run_id, series in found.items()
    }


def _collect(
    future: Future, run_id: str, key: str, found: dict[str, dict[str, Series]], errors: dict[str, str] | None
) -> None:
    try:
        points = future.result()
    except (MlflowException, requests.exceptions.RequestException) as error:
        if errors is None:
            raise
        errors[run_id] = f"{key}: {_first_line(str(error))}"
        return
    if points:
        found[run_id][key] = _series(points)


def _series(points: Sequence[Metric]) -> Series:
    values = np.array([point.value for point in points], dtype=float)
    huge = np.abs(values) >= _INFINITE
    values[huge] = np.copysign(np.inf, values[huge])
    return Series(
        steps=np.array([point.step for point in points], dtype=np.int64),
        values=values,
        times=np.array([point.timestamp for point in points], dtype=np.int64),
    )


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[0][:300]
