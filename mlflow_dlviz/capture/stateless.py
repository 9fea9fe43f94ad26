"""A forward pass on any of Keras' backends, not compiled: for what is asked often, TensorFlow has ``passes``."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np

from mlflow_dlviz.capture.moment import NotShown, map_arrays


def predict(model: Any, x: Any) -> np.ndarray:
    """Predictions (N, ...) in inference mode on ``x`` (N, ...); nothing in the model changes.

    Raises NotShown for several outputs.
    """
    # As Keras' own predict_step: a call of the user's own need not know of training.
    mode = {"training": False} if "training" in inspect.signature(model.call).parameters else {}
    outputs, _ = model.stateless_call(
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
        map_arrays(keras.ops.convert_to_tensor, x),
        **mode,
    )
    if isinstance(outputs, dict | list | tuple):
        raise NotShown("the model has several outputs")
    return keras.ops.convert_to_numpy(outputs)
