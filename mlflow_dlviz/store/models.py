"""The trained model as an MLflow model of the run: saved where it was trained, sent when it can be."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.models import Model

from mlflow_dlviz.store.batch import SavedModel
from mlflow_dlviz.store.runs import RunRef, client

ITEM_TAG = "dlviz.item"
"""On every model that we log: by it one is found that was made in an interrupted sending."""

_REQUIRED = ("keras", "tensorflow", "numpy")


def save_model(model: Any, example: np.ndarray | None, prediction: np.ndarray | None) -> SavedModel:
    """``model`` in MLflow's format, as "model"; asks no server.

    A signature is there where an example (N, ...) of the input is known.  The requirements are stated: left
    to find them out itself, MLflow starts a process that imports TensorFlow.
    """
    signature = None
    if example is not None and prediction is not None:
        signature = mlflow.models.infer_signature(example, prediction)
    folder = Path(tempfile.mkdtemp(prefix="dlviz-"))
    requirements = [f"{name}=={version(name)}" for name in _required()]
    mlflow.keras.save_model(model, str(folder), signature=signature, pip_requirements=requirements)
    return SavedModel("model", folder)


def put_model(ref: RunRef, saved: SavedModel) -> None:
    """Log a saved model to the run, as ``mlflow.keras.log_model`` would; sent again, it makes no second one."""
    to = client(ref)
    experiment = to.get_run(ref.known_id).info.experiment_id
    made = _found(to, experiment, saved.id) or to.create_logged_model(
        experiment, name=saved.name, source_run_id=ref.known_id, tags={ITEM_TAG: saved.id}
    )
    if str(made.status) == "READY":
        return
    facts = Model.load(str(saved.folder))
    facts.run_id, facts.model_id, facts.model_uuid = ref.known_id, made.model_id, made.model_id
    facts.artifact_path = made.artifact_location
    facts.save(str(saved.folder / "MLmodel"))
    to.log_outputs(ref.known_id, [LoggedModelOutput(made.model_id, step=0)])
    to.log_model_artifacts(made.model_id, str(saved.folder))
    to.finalize_logged_model(made.model_id, "READY")


def _found(to: mlflow.MlflowClient, experiment: str, item: str) -> LoggedModel | None:
    found = to.search_logged_models([experiment], filter_string=f"tags.`{ITEM_TAG}` = '{item}'", max_results=1)
    return found[0] if found else None


def _required() -> tuple[str, ...]:
    import keras

    backend = keras.backend.backend()
    return _REQUIRED if backend == "tensorflow" else ("keras", backend, "numpy")
