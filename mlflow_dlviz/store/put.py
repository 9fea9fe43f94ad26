"""Sending to MLflow: one batch to one run, so that sending it twice leaves what sending it once leaves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, RESOURCE_DOES_NOT_EXIST

from mlflow_dlviz.store.batch import Batch, TimedImage
from mlflow_dlviz.store.datasets import put_datasets
from mlflow_dlviz.store.images import image_files, log_image_once, logged_images_tag, names_are_known
from mlflow_dlviz.store.models import put_model
from mlflow_dlviz.store.runs import RunRef, client

# MLflow's limits for one log_batch request (mlflow.utils.validation, 3.17); metrics well under its
# 1,000 so that long names do not pass its limit of 1 MB.
_METRICS_A_REQUEST = 500
_ENTITIES_A_REQUEST = 100
_PARAM_LENGTH = 6000
_TAG_LENGTH = 8000

_ONLY_BY_SERVER = (
    "this experiment was made by an MLflow server, and only that takes its artifacts: set MLFLOW_TRACKING_URI "
    "to the server's address, or log to an experiment of another name; `mlflow-dlviz sync --tracking-uri ADDRESS` "
    "sends it what waits. (`mlflow ui`, started in a folder without a store, makes such an experiment "
    '"Default".)'
)

T = TypeVar("T")


def put(ref: RunRef, batch: Batch) -> list[str]:
    """Send ``batch``; returns what the server would not take of its parameters, a sentence each.

    Raises what MLflow raises when the run can't be reached.
    """
    refused = _put_params(ref, batch.params)
    to = client(ref)
    for metrics in _chunks(batch.metrics, _METRICS_A_REQUEST):
        to.log_batch(ref.known_id, metrics=metrics)
    images, files = batch.images, dict(batch.files)
    tags = dict(batch.tags)
    if images and names_are_known():
        tags.update([logged_images_tag()])
        for image in images:
            files.update(_as_files(image))
        images = ()
    for chunk in _chunks([RunTag(key, value[:_TAG_LENGTH]) for key, value in tags.items()], _ENTITIES_A_REQUEST):
        to.log_batch(ref.known_id, tags=chunk)
    if files:
        _put_files(ref, files)
    for image in images:
        log_image_once(to, ref.known_id, image.key, image.step, image.timestamp, image.png)
    _put_the_rest(ref, batch)
    return refused


def _put_the_rest(ref: RunRef, batch: Batch) -> None:
    if batch.datasets:
        put_datasets(ref, batch.datasets)
    for model in batch.models:
        put_model(ref, model)
    if batch.end is not None:
        client(ref).set_terminated(ref.known_id, batch.end.status, batch.end.time)


def _as_files(image: TimedImage) -> dict[str, bytes]:
    return image_files(image.key, image.step, image.png, image.webp, timestamp=image.timestamp)


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
    if client(ref).get_run(ref.known_id).info.lifecycle_stage == "deleted":
        # MLflow has the same error for that.
        raise MlflowException(f"run {ref.run_id} is deleted", error_code=RESOURCE_DOES_NOT_EXIST)
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
        root = Path(folder).resolve()
        for path, content in files.items():
            target = (root / path).resolve()
            # Names are cleaned where they are made; a spool that somebody edited may have any.
            if root not in target.parents:
                raise ValueError(f"path={path!r} leaves the run's artifacts")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        try:
            client(ref).log_artifacts(ref.known_id, folder)
        except MlflowException as error:
            if "mlflow-artifacts" not in str(error) or ref.tracking_uri.startswith("http"):
                raise
            # Not a fault that passes: the numbers behind these files must not wait for it.
            raise MlflowException(_ONLY_BY_SERVER, error_code=BAD_REQUEST) from error


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
