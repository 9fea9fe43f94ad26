"""A small fixed sample of the data, the same at every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import tree

from mlflow_dlviz.capture.fit_frame import FitCall
from mlflow_dlviz.capture.heads import Head
from mlflow_dlviz.capture.moment import NotShown, Probe, first_array, map_arrays

# Stratifying sorts the labels; beyond this many samples a random part of them represents the classes as well.
_STRATIFIED_FROM = 200_000


def find_source(call: FitCall) -> tuple[str, tuple[Any, Any]]:
    """The subset, "validation" or "training", that the probe is taken of, and its data.

    The validation data, unless these are a stream that does not pass before the first frame is due.
    """
    if call.validation is not None and (call.validates_first or not is_stream(call.validation[0])):
        return "validation", call.validation
    return "training", call.train


def is_stream(x: Any) -> bool:
    """Whether ``x`` brings its own batches (tf.data, generators, PyDataset), so that none can be looked at."""
    return not hasattr(first_array(x), "shape")


def take_probe(call: FitCall, head: Head, size: int, rng: np.random.Generator) -> Probe:
    """A probe of up to ``size`` samples of arrays, stratified by class.

    Raises NotShown, with the reason, for data that can't be sampled so.
    """
    subset, (x, y) = find_source(call)
    if is_stream(x):
        raise NotShown(f"the {subset} data is a {type(first_array(x)).__name__}; only arrays can be sampled")
    if not_dense := {type(value).__name__ for value in tree.flatten(x) if not hasattr(value, "__array__")}:
        raise NotShown(f"the {subset} data has a {min(not_dense)}; only dense arrays can be sampled")
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
        subset=subset,
    )


def class_labels(y: Any) -> np.ndarray | None:
    """Class indices (N,) of sparse (N,), (N, 1) or one-hot (N, K) targets; None for anything else."""
    values = np.asarray(y)
    if values.dtype.kind not in "biuf":
        return None
    if values.ndim == 2 and values.shape[1] > 1:
        # Smoothed one-hot targets still sum to one; a class at each position, or labels, need not.
        return values.argmax(axis=1) if np.allclose(values.sum(axis=1), 1, atol=1e-3) else None
    if values.ndim not in (1, 2):
        return None
    values = values.reshape(-1)
    # What is no whole number that a class could have, such as NaN, is no class either.
    return np.where(np.isfinite(values) & (np.abs(values) < 2**31), values, -1).astype(int)


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


def _is_frame(x: Any) -> bool:
    return hasattr(x, "iloc") and hasattr(x, "to_numpy")


def _rows(values: Any, rows: np.ndarray) -> np.ndarray:
    # A copy: what the user does to the data later must not change the probe.
    if not _is_frame(values):
        return np.asarray(values)[rows].copy()
    taken = values.iloc[rows].to_numpy().copy()
    return taken[:, None] if taken.ndim == 1 else taken  # as Keras takes a Series
