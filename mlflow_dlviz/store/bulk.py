"""Metric histories of many runs at once, by ways that MLflow does not promise.

Each way is one function here, asks first whether this MLflow and this store have it, and raises whatever goes
wrong: :func:`mlflow_dlviz.store.histories.metric_histories` then goes the next way. Tests hold each against the
public API, point by point.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from mlflow import MlflowClient

from mlflow_dlviz.store.parallel import Found, Key, completed
from mlflow_dlviz.store.server import is_remote

Pair = tuple[str, str]
"""A run's id and the name of one of its metrics."""

_RUNS_A_QUERY = 50
# With more, Python's garbage collector looks through them again and again, for three times the CPU.
_ROWS_A_FETCH = 500

_ENDPOINT = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
# What an answer of the endpoint holds at most, silently, and how many runs it may be asked for (mlflow 3.17.2).
_ROWS_AN_ANSWER = 25_000
_RUNS_A_REQUEST = 100
# Steps may be further apart than 1; from so many on it pays to find out first.
_MANY_STEPS = 2_500
# An answer that is asked for so full leaves room for points at the same step.
_FILLED = 0.9
_FAILURES = 3


class Unsupported(Exception):
    """The store, or the installed MLflow, does not have a way."""


@dataclass(frozen=True)
class Columns:
    """All points of some metrics, in any order and as stored, infinity as the greatest double.

    pairs: P of them, also without a point; place: (N,) int64, of which pair each point is; steps: (N,) int64;
    values: (N,) float64; times: (N,) int64, Unix milliseconds.
    """

    pairs: Sequence[Pair]
    place: np.ndarray
    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray


def from_tables(client: MlflowClient, pairs: Sequence[Pair]) -> Iterator[Columns]:
    """Read the tables of a database store, through MLflow's own models (mlflow 3.17.2); nothing is written."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = client._tracking_client.store
    if not isinstance(store, SqlAlchemyStore):
        raise Unsupported(f"{type(store).__name__} has no tables")
    engine = getattr(store, "read_engine", None) or store.engine
    by_run = {run_id: [key for _, key in each] for run_id, each in groupby(sorted(pairs), itemgetter(0))}
    run_ids = list(by_run)
    with engine.connect() as connection:
        for start in range(0, len(run_ids), _RUNS_A_QUERY):
            chosen = run_ids[start : start + _RUNS_A_QUERY]
            yield _from_rows(connection, {run_id: by_run[run_id] for run_id in chosen})


def _from_rows(connection: Any, wanted: Mapping[str, Sequence[str]]) -> Columns:
    import sqlalchemy
    from mlflow.store.tracking.dbmodels.models import SqlMetric

    keys = sorted({key for each in wanted.values() for key in each})
    key: Any = SqlMetric.key
    if connection.dialect.name == "sqlite":
        # Else SQLite goes by the key, through the points of all the runs that there are.
        key = sqlalchemy.func.coalesce(key, "")
    statement: Any = sqlalchemy.select(
        SqlMetric.run_uuid,
        SqlMetric.key,
        SqlMetric.step,
        sqlalchemy.case((SqlMetric.is_nan, sqlalchemy.null()), else_=SqlMetric.value),
        SqlMetric.timestamp,
    ).where(SqlMetric.run_uuid.in_(list(wanted)), key.in_(keys))
    # What was not asked for comes too, where databases don't tell capitals apart: it has no place.
    place: defaultdict[Pair, int] = defaultdict(lambda: -1)
    pairs = [(run_id, key) for run_id, each in wanted.items() for key in each]
    place.update((pair, number) for number, pair in enumerate(pairs))
    rows = connection.execute(statement)
    parts = [_part(part, place) for part in iter(partial(rows.cursor.fetchmany, _ROWS_A_FETCH), [])]
    return _joined(pairs, parts)


def _part(rows: Sequence[Sequence], place: Mapping[Pair, int]) -> tuple[np.ndarray, ...]:
    runs, keys, steps, values, times = zip(*rows, strict=True)
    return (
        np.fromiter(map(place.__getitem__, zip(runs, keys, strict=True)), np.int64, len(rows)),
        np.array(steps, dtype=np.int64),
        np.array(values, dtype=np.float64),  # NULL becomes NaN
        np.array(times, dtype=np.int64),
    )


def _joined(pairs: Sequence[Pair], parts: Sequence[tuple[np.ndarray, ...]]) -> Columns:
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))
    place, steps, values, times = (np.concatenate(column) for column in zip(*(parts or [empty]), strict=True))
    ours = place >= 0
    if ours.all():
        return Columns(pairs, place, steps, values, times)
    return Columns(pairs, place[ours], steps[ours], values[ours], times[ours])


def from_endpoint(
    client: MlflowClient, pairs: Sequence[Pair], *, last_steps: Mapping[Pair, int], jobs: int = 4
) -> Iterator[Columns]:
    """Ask the endpoint behind the charts of MLflow's UI (mlflow 3.17.2): one metric of up to 100 runs a request.

    last_steps: of each pair, as far as they are known: by them requests are cut to size. A metric of one run
    that doesn't fit into one answer is left out, and so is what was asked for by a request that failed; after
    three such the error is raised.
    """
    if not is_remote(client.tracking_uri):
        raise Unsupported(f"{client.tracking_uri} is no server")
    ask = partial(_ask, client.tracking_uri)
    sizes: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for run_id, key in pairs:
        sizes[key][run_id] = 1.0 + max(0, last_steps.get((run_id, key), _MANY_STEPS))
    chunks: list[tuple[str, tuple[str, ...]]] = []
    sounding = {key: partial(_sounded, ask, key, of_key) for key, of_key in sizes.items()}
    for key, (found, left) in _successes(jobs, sounding):
        yield from found
        chunks += [(key, chunk) for chunk in _chunks(left)]
    for _, answers in _successes(jobs, {each: partial(_answers, ask, *each) for each in chunks}):
        yield from answers


def _successes(jobs: int, calls: Mapping[Key, Callable[[], Found]]) -> Iterator[tuple[Key, Found]]:
    failed = 0
    for key, future in completed(jobs, calls):
        try:
            yield key, future.result()
        except Exception:
            failed += 1
            if failed == _FAILURES:
                raise


def _sounded(ask: Callable, key: str, sizes: Mapping[str, float]) -> tuple[list[Columns], dict[str, float]]:
    """Where runs are long: the points of the longest, and how many each of the others is likely to have."""
    longest = max(sizes, key=sizes.__getitem__)
    if sizes[longest] <= _MANY_STEPS:
        return [], dict(sizes)
    points = ask(key, (longest,))
    density = len(points) / sizes[longest]
    others = {run_id: size * density for run_id, size in sizes.items() if run_id != longest}
    return [_from_points(key, (longest,), points)] if len(points) < _ROWS_AN_ANSWER else [], others


def _chunks(sizes: Mapping[str, float]) -> Iterator[tuple[str, ...]]:
    """Runs that fit into one answer together."""
    chunk: list[str] = []
    rows = 0.0
    for run_id, size in sizes.items():
        if chunk and (len(chunk) == _RUNS_A_REQUEST or rows + size > _FILLED * _ROWS_AN_ANSWER):
            yield tuple(chunk)
            chunk, rows = [], 0.0
        chunk.append(run_id)
        rows += size
    if chunk:
        yield tuple(chunk)


def _answers(ask: Callable, key: str, run_ids: Sequence[str]) -> list[Columns]:
    points = ask(key, run_ids)
    if len(points) < _ROWS_AN_ANSWER:
        return [_from_points(key, run_ids, points)]
    if len(run_ids) == 1:
        return []
    middle = len(run_ids) // 2
    return _answers(ask, key, run_ids[:middle]) + _answers(ask, key, run_ids[middle:])


def _ask(uri: str, key: str, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    # Behind this way there is another: MLflow's own patience, minutes for a request, is not needed.
    answer = http_request(
        get_default_host_creds(uri),
        _ENDPOINT,
        "GET",
        max_retries=min(2, MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()),
        backoff_factor=1,
        timeout=min(60, MLFLOW_HTTP_REQUEST_TIMEOUT.get()),
        params={"run_id": list(run_ids), "metric_key": key, "max_results": _ROWS_AN_ANSWER},
    )
    if answer.status_code != 200:
        raise Unsupported(f"the server answers {answer.status_code} to {_ENDPOINT}")
    return json.loads(answer.content)["metrics"]


_FIELDS = itemgetter("run_id", "step", "value", "timestamp")


def _from_points(key: str, run_ids: Sequence[str], points: Sequence[Mapping[str, Any]]) -> Columns:
    pairs = [(run_id, key) for run_id in run_ids]
    if not points:
        return _joined(pairs, [])
    runs, steps, values, times = zip(*map(_FIELDS, points), strict=True)
    numbers = {run_id: number for number, run_id in enumerate(run_ids)}
    return Columns(
        pairs,
        np.fromiter(map(numbers.__getitem__, runs), np.int64, len(runs)),
        np.array(steps, dtype=np.int64),
        np.array(values, dtype=np.float64),
        np.array(times, dtype=np.int64),
    )
