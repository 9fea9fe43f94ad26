"""Metric histories, read from a tracking server by the fastest way that it has.

Three ways, one after the other for what the one before has left: the tables of a database, the endpoint behind
MLflow's own charts, and the public API, which always works. They give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from mlflow_dlviz.store.bulk import Columns, Pair, from_endpoint, from_tables
from mlflow_dlviz.store.parallel import completed
from mlflow_dlviz.store.server import Progress, ServerUnreachable, check_reachable, first_line

# The greatest double stands for infinity in what MLflow's databases hold.
_INFINITE = 1.797e308

# Anybody can write to a store of files or to a database: what is no number raises the last three.
_FAILURES = (MlflowException, requests.exceptions.RequestException, TypeError, ValueError, OverflowError)

Way = Callable[[Sequence[Pair]], Iterable[Columns]]


@dataclass(frozen=True)
class Series:
    """One metric of one run, by step, time and value, NaN last.

    steps: (S,) int64; values: (S,) float64, NaN and ±inf as logged; times: (S,) int64, Unix milliseconds.
    """

    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray


def metric_histories(
    client: MlflowClient,
    run_ids: Sequence[str],
    keys: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    last_steps: Mapping[Pair, int] | None = None,
    jobs: int = 4,
    progress: Progress | None = None,
    errors: dict[str, str] | None = None,
) -> dict[str, dict[str, Series]]:
    """``{run_id: {key: Series}}``; a key that a run never logged is absent.

    keys: the same for all runs, or ``{run_id: keys}``. last_steps: of each (run id, key), as far as they are
    known. errors: given a dict, a run whose history cannot be read leaves its reason there, and the others are
    still read; without one, the first error is raised.
    """
    by_run = keys if isinstance(keys, Mapping) else dict.fromkeys(run_ids, keys)
    wanted = list(dict.fromkeys((run_id, key) for run_id in run_ids for key in by_run.get(run_id, ())))
    ways: list[Way] = [
        _tried(partial(from_tables, client)),
        _tried(partial(from_endpoint, client, last_steps=last_steps or {}, jobs=jobs)),
        partial(_one_by_one, client, jobs=jobs, errors=errors),
    ]
    found: dict[Pair, Series] = {}
    left = set(wanted)
    for columns in _read(ways, wanted, left):
        found.update(split(columns))
        if progress is not None:
            progress(len(wanted) - len(left), len(wanted))
    # As they were asked for, not as they came in: the same data make the same report.
    return {
        run_id: {key: found[run_id, key] for key in by_run.get(run_id, ()) if (run_id, key) in found}
        for run_id in run_ids
    }


def _read(ways: Sequence[Way], wanted: Sequence[Pair], left: set[Pair]) -> Iterator[Columns]:
    """Each way for what those before it have left; what has come is taken from ``left``."""
    for way in ways:
        pairs = [pair for pair in wanted if pair in left]
        for columns in way(pairs) if pairs else ():
            left.difference_update(columns.pairs)
            yield columns


def _tried(way: Way) -> Way:
    """``way`` as far as it goes."""

    def attempt(pairs: Sequence[Pair]) -> Iterator[Columns]:
        try:
            yield from way(pairs)
        except Exception:  # of what MLflow does not promise, anything may be raised
            return

    return attempt


def _one_by_one(
    client: MlflowClient, pairs: Sequence[Pair], *, jobs: int, errors: dict[str, str] | None
) -> Iterator[Columns]:
    """MLflow's public API: a request for each metric of each run."""
    gone: list[str] = []

    def read(run_id: str, key: str) -> Columns:
        if gone:
            raise ServerUnreachable(gone[0])
        try:
            return _from_entities((run_id, key), client.get_metric_history(run_id, key))
        except _FAILURES:
            # Each request to a dead server takes MLflow minutes: one is enough.
            gone.extend(_silence(client))
            raise

    for pair, future in completed(jobs, {pair: partial(read, *pair) for pair in pairs}):
        yield _outcome(future, pair, errors)


def _outcome(future: Future, pair: Pair, errors: dict[str, str] | None) -> Columns:
    try:
        return future.result()
    except (*_FAILURES, ServerUnreachable) as error:
        if errors is None:
            raise
        errors.setdefault(pair[0], f"{pair[1]}: {first_line(str(error))}")
        return _from_entities(pair, [])


def _silence(client: MlflowClient) -> list[str]:
    """Why the server does not answer, if it does not."""
    try:
        check_reachable(client.tracking_uri)
    except ServerUnreachable as error:
        return [str(error)]
    return []


def _from_entities(pair: Pair, points: Sequence[Metric]) -> Columns:
    return Columns(
        [pair],
        place=np.zeros(len(points), np.int64),
        steps=np.array([point.step for point in points], dtype=np.int64),
        values=np.array([point.value for point in points], dtype=np.float64),
        times=np.array([point.timestamp for point in points], dtype=np.int64),
    )


def split(columns: Columns) -> dict[Pair, Series]:
    """The series of each pair that has any points."""
    values = columns.values.copy()
    huge = np.abs(values) >= _INFINITE
    values[huge] = np.copysign(np.inf, values[huge])
    order = np.lexsort((values, columns.times, columns.steps, columns.place))
    place = columns.place[order]
    steps, values, times = columns.steps[order], values[order], columns.times[order]
    starts = np.flatnonzero(np.append(True, place[1:] != place[:-1])) if len(place) else place
    ends = np.append(starts[1:], len(place))[: len(starts)]
    return {
        columns.pairs[place[start]]: Series(steps[start:end], values[start:end], times[start:end])
        for start, end in zip(starts, ends, strict=True)
    }
