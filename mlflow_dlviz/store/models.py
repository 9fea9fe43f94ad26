"""The trained model as an MLflow model of the run."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import mlflow
import numpy as np

from mlflow_dlviz.store.runs import Opened

_REQUIRED = ("keras", "tensorflow", "numpy")


def log_model(opened: Opened, model: Any, example: np.ndarray | None, prediction: np.ndarray | None) -> None:
    """Log ``model`` under the name "model", with a signature where an example (N, ...) of its input is known.

    The requirements are stated: left to find them out itself, MLflow starts a process that imports
    TensorFlow.  Raises RuntimeError if another run has become the active one.
    """
    active = mlflow.active_run()
    if active is None or active.info.run_id != opened.ref.run_id:
        raise RuntimeError("the run of this fit is no longer the active one, and MLflow logs models to that")
    signature = None
    if example is not None and prediction is not None:
        signature = mlflow.models.infer_signature(example, prediction)
    requirements = [f"{name}=={version(name)}" for name in _REQUIRED]
    mlflow.keras.log_model(model, name="model", signature=signature, pip_requirements=requirements)
