"""What is known of a ``fit`` besides its numbers: arguments, optimizer, early stopping, the data's shape."""

from __future__ import annotations

import inspect
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from mlflow_dlviz.capture.fit_frame import FitCall
from mlflow_dlviz.capture.moment import first_array

_NOT_LOGGED = ("verbose",)
_MAIN = ("epochs", "batch_size", "optimizer_name", "optimizer_learning_rate")
# What tf.data may do behind ``batch()`` without changing the number of samples in a batch.
_KEEPING_BATCHES = ("Prefetch", "Repeat", "Take", "Skip", "Shuffle", "Cache", "Options", "Map", "ParallelMap")
_STOPPING = ("monitor", "patience", "min_delta", "baseline", "restore_best_weights")


def versions() -> str:
    """What a run is made with: "keras 3.15.1, tensorflow 2.21.0, mlflow 3.17.2, …, python 3.11.7"."""
    packages = ("keras", keras.backend.backend(), "mlflow", "mlflow_dlviz")
    found = {name: getattr(sys.modules.get(name), "__version__", "") for name in packages}
    found["python"] = platform.python_version()
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def fit_settings(call: FitCall) -> dict[str, Any]:
    """The arguments of ``fit``, besides the data, by name; an absent batch size is the 32 that Keras takes,
    or tf.data's own; of other data that bring their batches it is not known: None.
    """
    settings = {name: value for name, value in call.settings.items() if name not in _NOT_LOGGED}
    if settings.get("batch_size") is None:
        settings["batch_size"] = _batch_size(call.train[0])
    return settings


def optimizer_settings(model: Any) -> dict[str, Any]:
    """``optimizer_<setting>``: the optimizer's configuration."""
    config = dict(model.optimizer.get_config())
    # Keras numbers the optimizers of a process: "adam_2".
    config["name"] = re.sub(r"_\d+$", "", str(model.optimizer.name))
    return {f"optimizer_{name}": value for name, value in config.items()}


def notable(settings: Mapping[str, Any], model: Any) -> dict[str, str]:
    """Of settings as above, as text: the main ones, and those that are not Keras' defaults.

    MLflow's UI (3.12 and later) writes all parameters of a run above each of its pictures; two dozen defaults
    would leave no room for the picture.
    """
    usual = {name: value.default for name, value in inspect.signature(keras.Model.fit).parameters.items()}
    try:
        default_optimizer = type(model.optimizer)().get_config()
    except Exception:  # a constructor of the user's own may want arguments, or refuse to do without
        default_optimizer = {}
    usual.update({f"optimizer_{name}": value for name, value in default_optimizer.items()})
    return {
        name: as_text(value)
        for name, value in settings.items()
        if value is not None and (name in _MAIN or name not in usual or as_text(usual[name]) != as_text(value))
    }


def as_text(value: Any) -> str:
    """A setting as a parameter's text; floats without the digits that float32 adds to them."""
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, Mapping) and "class_name" in value:
        inner = ", ".join(f"{name}={as_text(each)}" for name, each in value.get("config", {}).items())
        return f"{value['class_name']}({inner})"
    return str(value)


def early_stopping(callbacks: Iterable[Any]) -> Any:
    """The EarlyStopping among the callbacks, None without one."""
    return next((found for found in callbacks if isinstance(found, keras.callbacks.EarlyStopping)), None)


def stopping_settings(stopping: Any) -> dict[str, Any]:
    """The settings of an EarlyStopping: ``early_stopping_<setting>``."""
    return {f"early_stopping_{name}": getattr(stopping, name) for name in _STOPPING if hasattr(stopping, name)}


def stopping_metrics(stopping: Any) -> dict[str, float]:
    """``stopped_epoch`` and, where weights were restored, ``restored_epoch``; empty if training ran through.

    Keras' EarlyStopping restores the best weights at the end of any training, stopped or not.
    """
    facts: dict[str, float] = {}
    if stopping.stopped_epoch:
        facts["stopped_epoch"] = float(stopping.stopped_epoch)
    if stopping.restore_best_weights and stopping.best_weights is not None:
        facts["restored_epoch"] = float(stopping.best_epoch)
    return facts


def model_summary(model: Any) -> str:
    """The text of ``model.summary()``."""
    lines: list[str] = []
    model.summary(print_fn=lambda line, *_, **__: lines.append(str(line)))
    return "\n".join(lines)


def learning_rate(model: Any) -> float | None:
    """The rate in force now, None for an optimizer without one."""
    rate = getattr(model.optimizer, "learning_rate", None)
    return None if rate is None else float(keras.ops.convert_to_numpy(rate))


def scalars(logs: Mapping[str, Any]) -> dict[str, float]:
    """Keras' logs as single numbers; of a vector-valued metric each entry, as ``<name>_<index>``."""
    found: dict[str, float] = {}
    for name, value in logs.items():
        try:
            values = np.asarray(value, dtype=np.float64)
        except Exception:  # a callback may put anything there
            continue
        if value is None:  # which NumPy takes for NaN
            continue
        if values.ndim == 0:
            found[str(name)] = float(values)
        else:
            found.update({f"{name}_{index}": float(entry) for index, entry in enumerate(values.ravel()[:100])})
    return found


def data_description(data: tuple[Any, Any]) -> dict[str, Any]:
    """Shapes and kinds of the data given to ``fit``, without reading any of it.

    Of data that bring their batches also ``batches`` and ``batch_size``, where these are known.
    """
    x, y = data
    parts = {"samples": samples(x), "features": _describe(x)}
    if y is not None:
        parts["targets"] = _describe(y)
    known = {"batches": batches(x), "batch_size": None if hasattr(first_array(x), "shape") else _batch_size(x)}
    return {**parts, **{name: value for name, value in known.items() if value is not None}}


def samples(x: Any) -> int | None:
    """How many samples there are, None if that can't be told without consuming the data."""
    shape = getattr(first_array(x), "shape", None)
    return int(shape[0]) if shape else None


def batches(x: Any) -> int | None:
    """How many batches tf.data or a PyDataset has; None where it is not known, or without end."""
    try:
        if hasattr(x, "cardinality"):
            counted = x.cardinality() if callable(x.cardinality) else x.cardinality
            return int(counted) if int(counted) >= 0 else None
        return int(x.num_batches) if isinstance(x, keras.utils.PyDataset) and x.num_batches else None
    except Exception:  # a length of the user's own
        return None


def _describe(x: Any) -> Any:
    if isinstance(x, Mapping):
        return {str(name): _describe(value) for name, value in x.items()}
    if isinstance(x, list | tuple):
        return [_describe(value) for value in x]
    if hasattr(x, "element_spec"):
        return {"type": type(x).__name__, "element_spec": str(x.element_spec)}
    described = {"type": type(x).__name__}
    if hasattr(x, "shape"):
        described["shape"] = str(tuple(x.shape))
    if hasattr(x, "dtype"):
        described["dtype"] = str(getattr(x.dtype, "name", x.dtype))
    return described


def _batch_size(x: Any) -> int | None:
    # For arrays Keras documents 32; generators don't tell theirs.
    if hasattr(first_array(x), "shape"):
        return 32
    return _batch_size_of(x) if hasattr(x, "element_spec") else None


def _batch_size_of(dataset: Any) -> int | None:
    """Of tf.data: what every batch is known to have, or else what the nearest ``batch()`` was told.

    The latter is a private attribute (seen in TensorFlow 2.21); without it the batch size is not known.
    """
    shape = getattr(first_array(dataset.element_spec), "shape", None)
    if shape is not None and shape.rank and shape[0] is not None:
        return int(shape[0])
    while type(dataset).__name__.strip("_").removesuffix("Dataset") in _KEEPING_BATCHES:
        dataset = getattr(dataset, "_input_dataset", None)
    told = getattr(dataset, "_batch_size", None)
    return None if told is None else int(told)
