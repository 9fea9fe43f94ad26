"""Sending to MLflow: one batch of metrics, parameters, tags and files to one run."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from mlflow_dlviz.store.runs import RunRef, client
from mlflow_dlviz.visual import Arrays

SCHEMA = 1
"""Version of what the stored arrays look like; written into every file."""

SCHEMA_KEY = "dlviz_schema"

# MLflow's limits for one log_batch request (mlflow.utils.validation, 3.17); metrics well under its
# 1,000 so that long names do not pass its limit of 1 MB.
_METRICS_A_REQUEST = 500
_ENTITIES_A_REQUEST = 100
_PARAM_LENGTH = 6000
_TAG_LENGTH = 8000

_ONLY_BY_SERVER = (
    "this experiment was made by an MLflow server, and only that takes its artifacts: set MLFLOW_TRACKING_URI "
    "to the server's address, or log to an experiment of another name. (`mlflow ui`, started in a folder "
    'without a store, makes such an experiment "Default".)'
)

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """What is sent together. metrics: MLflow's own value; files: path in the run's artifacts -> content."""

    metrics: Sequence[Metric] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


def merge(batches: Iterable[Batch]) -> Batch:
    """One batch for several, in order: what came later wins."""
    metrics: list[Metric] = []
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for batch in batches:
        metrics.extend(batch.metrics)
        params.update(batch.params)
        tags.update(batch.tags)
        files.update(batch.files)
    return Batch(metrics, params, tags, files)


def put(ref: RunRef, batch: Batch) -> list[str]:
    """Send ``batch``; returns what the server would not take of its parameters, a sentence each.

    Raises what MLflow raises when the run can't be reached.
    """
    refused = _put_params(ref, batch.params)
    to = client(ref)
    for metrics in _chunks(batch.metrics, _METRICS_A_REQUEST):
        to.log_batch(ref.known_id, metrics=metrics)
    tags = [RunTag(key, value[:_TAG_LENGTH]) for key, value in batch.tags.items()]
    for chunk in _chunks(tags, _ENTITIES_A_REQUEST):
        to.log_batch(ref.known_id, tags=chunk)
    if batch.files:
        _put_files(ref, batch.files)
    return refused


def pack(arrays: Arrays) -> bytes:
    """``arrays`` as a compressed .npz that never needs unpickling.

    Raises TypeError for arrays of objects.
    """
    buffer = io.BytesIO()
    plain = {name: np.asarray(value) for name, value in arrays.items()}
    for name, value in plain.items():
        if value.dtype.hasobject:
            raise TypeError(f"array {name!r} has dtype object; expected numbers, booleans or text")
    np.savez_compressed(buffer, **{SCHEMA_KEY: np.asarray(SCHEMA), **plain})  # type: ignore[arg-type]
    return buffer.getvalue()


def _put_params(ref: RunRef, params: Mapping[str, str]) -> list[str]:
    entities = [Param(key, value[:_PARAM_LENGTH]) for key, value in params.items()]
    refused = []
    for chunk in _chunks(entities, _ENTITIES_A_REQUEST):
        try:
            client(ref).log_batch(ref.known_id, params=chunk)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            # One value that can't be changed makes MLflow refuse the whole request.
            refused += _put_one_by_one(ref, chunk)
    return refused


def _put_one_by_one(ref: RunRef, params: Sequence[Param]) -> list[str]:
    refused = []
    for param in params:
        try:
            client(ref).log_batch(ref.known_id, params=[param])
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            refused.append(f"parameter {param.key!r} = {param.value!r} was refused: the run has another value")
    return refused


def _put_files(ref: RunRef, files: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix="dlviz-") as folder:
        for path, content in files.items():
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        try:
            client(ref).log_artifacts(ref.known_id, folder)
        except MlflowException as error:
            if "mlflow-artifacts" not in str(error) or ref.tracking_uri.startswith("http"):
                raise
            raise MlflowException(_ONLY_BY_SERVER) from error


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
