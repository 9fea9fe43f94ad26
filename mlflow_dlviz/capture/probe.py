"""A small fixed sample of the data, the same at every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlflow_dlviz.capture.fit_frame import FitCall
from mlflow_dlviz.capture.heads import Head
from mlflow_dlviz.capture.moment import NotShown, Probe, first_array, map_arrays

# Stratifying sorts the labels; beyond this many samples a random part of them represents the classes as well.
_STRATIFIED_FROM = 200_000


def take_probe(call: FitCall, head: Head, size: int, rng: np.random.Generator) -> Probe:
    """A probe of up to ``size`` samples, stratified by class, of the validation data if there are any.

    Raises NotShown, with the reason, for data that can't be sampled without consuming it.
    """
    subset, (x, y) = ("training", call.train) if call.validation is None else ("validation", call.validation)
    if not _is_arrays(x):
        raise NotShown(f"the {subset} data is a {type(first_array(x)).__name__}; only arrays can be sampled")
    total = len(first_array(x))
    if not total:
        raise NotShown(f"the {subset} data has no samples")
    labels = None if y is None or not head.classifies else class_labels(y)
    rows = _choose(labels, total, size, rng)
    targets = None if y is None or isinstance(y, dict | list | tuple) else _rows(y, rows)
    return Probe(
        x=map_arrays(lambda values: _rows(values, rows), x),
        y=targets,
        labels=None if labels is None else labels[rows],
        class_names=(),
        subset=subset,
    )


def class_labels(y: Any) -> np.ndarray | None:
    """Class indices (N,) of sparse (N,), (N, 1) or one-hot (N, K) targets; None for anything else."""
    values = np.asarray(y)
    if values.dtype.kind not in "biuf":
        return None
    if values.ndim == 2 and values.shape[1] > 1:
        return values.argmax(axis=1)
    if values.ndim not in (1, 2):
        return None
    return values.reshape(-1).astype(int)


def name_classes(classes: int, given: Sequence[str] | None) -> tuple[str, ...]:
    """K class names: the user's, or the indices.

    Raises NotShown if the user gave another number of names.
    """
    if given is None:
        return tuple(str(index) for index in range(classes))
    if len(given) != classes:
        raise NotShown(f"class_names has {len(given)} names, the model has {classes} classes")
    return tuple(given)


def _choose(labels: np.ndarray | None, total: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of the probe: as many of each class as there are, up to an equal share, in order of class."""
    shuffled = rng.permutation(total)
    if labels is None:
        return np.sort(shuffled[:size])
    shuffled = shuffled[:_STRATIFIED_FROM]
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    ordered = labels[order]
    starts = np.searchsorted(ordered, ordered)
    rank_in_class = np.arange(len(ordered)) - starts
    chosen = np.sort(np.lexsort((ordered, rank_in_class))[:size])
    return order[chosen]


def _is_arrays(x: Any) -> bool:
    leaf = first_array(x)
    return hasattr(leaf, "shape") and hasattr(leaf, "__len__") and hasattr(leaf, "dtype") or _is_frame(leaf)


def _is_frame(x: Any) -> bool:
    return hasattr(x, "iloc") and hasattr(x, "to_numpy")


def _rows(values: Any, rows: np.ndarray) -> np.ndarray:
    # A copy: what the user does to the data later must not change the probe.
    return (values.iloc[rows].to_numpy() if _is_frame(values) else np.asarray(values)[rows]).copy()
