"""What all tallies share: rows out of tensors of any rank, what each row counts, and sums over replicas."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

Shape: TypeAlias = tuple[int | None, ...]

VALUES_PER_SAMPLE = 4096
"""Histograms of outputs with positions take at most so many values of each sample; counts take all."""

# A state of more cells than this is added to in place; below, one dense addition is faster.
_DENSE_CELLS = 1 << 16


def shape_of(tensor: Any) -> Shape | None:
    """The static shape of a tensor, None where even its rank is not known."""
    # TensorFlow's shape of unknown rank can't be made a tuple.
    return None if getattr(tensor.shape, "rank", 0) is None else tuple(tensor.shape)


def units_of(y_pred: Shape) -> int | None:
    """How many output units predictions of this shape have: the last size, or 1 for (N,)."""
    return 1 if len(y_pred) == 1 else y_pred[-1]


def compatible(one: Shape, other: Shape) -> bool:
    """Whether two shapes are of the same rank and of the same size wherever both are known."""
    known = zip(one, other, strict=False)
    return len(one) == len(other) and all(a == b or a is None or b is None for a, b in known)


def rows_of(y_pred: Any) -> Any:
    """(N,) or (N, …, U) predictions as (M, U), float64 if they were, else float32: half is too coarse."""
    units = 1 if len(y_pred.shape) == 1 else y_pred.shape[-1]
    double = keras.backend.standardize_dtype(y_pred.dtype) == "float64"
    return ops.reshape(y_pred if double else ops.cast(y_pred, "float32"), (-1, units))


def every_nth(shape: Shape) -> int:
    """The step at which rows (M, U) of predictions of this shape are taken for a histogram.

    1 without positions; else such that no sample gives more than about VALUES_PER_SAMPLE values, and, having no
    divisor in common with the positions, at other positions in each sample. A size that is not known is
    taken for 256.
    """
    positions = math.prod(size or 256 for size in shape[1:-1])
    step = -(-positions * (shape[-1] or 1) // VALUES_PER_SAMPLE) if len(shape) > 2 else 1
    while step > 1 and math.gcd(step, positions) > 1:
        step += 1
    return step


def bins_for(classes: int, bins: int) -> int:
    """How many of ``bins`` are kept for so many classes: all up to 200 classes, then fewer, 20 at least."""
    return min(bins, max(20, 20_000 // classes))


def positions_of(y_pred: Any) -> tuple[Any, ...]:
    """The sizes of all axes of predictions but that of the units: (N, …)."""
    return tuple(ops.shape(y_pred)[: max(1, len(y_pred.shape) - 1)])


def _over_positions(values: Any, positions: tuple[Any, ...]) -> Any:
    """(N,), (N, 1) or (N, …) values of samples or positions, one for each position: (M,)."""
    shape = tuple(ops.shape(values))[: len(positions)]
    values = ops.reshape(values, (*shape, *[1] * (len(positions) - len(shape))))
    return ops.reshape(ops.broadcast_to(values, positions), (-1,))


def shown_rows(y_pred: Any, positions: tuple[Any, ...]) -> Any | None:
    """Whether each row (M,) of predictions is data, None if all are: what a Keras mask hides is padding."""
    mask = getattr(y_pred, "_keras_mask", None)
    if mask is None or len(mask.shape) > len(positions):
        return None
    return _over_positions(ops.cast(mask, "bool"), positions)


def add_at(state: Any, index: Any, weight: Any) -> None:
    """Add weights (M,) to the cells of a variable at flat indices (M,)."""
    cells = int(np.prod(state.shape))
    if cells > _DENSE_CELLS and keras.backend.backend() == "tensorflow":
        _scatter(state, index, weight)
        return
    batch = ops.segment_sum(weight, index, cells)
    state.assign_add(ops.cast(ops.reshape(batch, state.shape), state.dtype))


def _scatter(state: Any, index: Any, weight: Any) -> None:
    import tensorflow as tf

    # XLA has no UnravelIndex.
    places: list[Any] = []
    for size in reversed([int(size) for size in state.shape]):
        places.insert(0, index % size)
        index = index // size
    # Under a distribution strategy the variable's own method is refused; its handle is the replica's part.
    tf.raw_ops.ResourceScatterNdAdd(
        ref=state.handle, indices=tf.stack(places, axis=-1), updates=tf.cast(weight, state.dtype)
    )


def over_replicas(*sums: Any) -> list[Any]:
    """The sums of all replicas of a distribution strategy; as they are where there is one."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            return [context.all_reduce(tf.distribute.ReduceOp.SUM, value) for value in sums]
    return list(sums)


class Tally(keras.metrics.Metric):
    """Sums over a data set. Abstract: a final tally adds its sums when it is built, and counts a batch.

    weighted: whether ``sample_weight`` is counted instead of samples.

    Where predictions have positions, (N, …, U), each position counts as a sample. Positions that a Keras mask
    hides are padding: they count nowhere, not as skipped either. A weight of 0 counts as 0 if ``weighted``,
    and else as 1, as in Keras' own unweighted metrics.
    """

    def __init__(self, *, weighted: bool, name: str, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.weighted = weighted
        self.built = False

    def add_sum(self, name: str, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """A variable of zeros that is summed over replicas; of counts or, ``weighted``, of weights."""
        kind = dtype or ("float64" if self.weighted else "int64")
        return self.add_variable(shape=shape, initializer="zeros", dtype=kind, aggregation="sum", name=name)

    def weigh(
        self, valid: Any, sample_weight: Any, positions: tuple[Any, ...], shown: Any | None = None
    ) -> tuple[Any, Any]:
        """What each row counts (M,), and how many rows were skipped.

        valid: (M,) bool; a weight that is not finite makes its row invalid too. positions: the sizes whose
        product is M. shown: (M,) bool, rows to count at all, None for all.
        """
        weight = None
        if self.weighted and sample_weight is not None:
            weight = _over_positions(ops.cast(ops.convert_to_tensor(sample_weight), "float64"), positions)
            valid = ops.logical_and(valid, ops.isfinite(weight))
        counts, dropped = valid, ops.logical_not(valid)
        if shown is not None:
            counts, dropped = ops.logical_and(counts, shown), ops.logical_and(dropped, shown)
        skipped = ops.sum(ops.cast(dropped, "int64"))
        if weight is None:
            # float32 has kernels everywhere and is exact for the 2^24 rows that no batch reaches.
            return ops.cast(counts, "float64" if self.weighted else "float32"), skipped
        return ops.where(counts, weight, 0), skipped


def add_scores(histogram: Any, scores: Any, is_true: Any, weight: Any) -> None:
    """Count scores in a histogram (K, 2, B) on [0, 1].

    scores: (M, K); is_true: (M, K) int32, 1 where the row is of the class; weight: (M,). A NaN needs weight 0.
    In float64 the product with B is exact, hence so are the bins' edges; a score outside counts at the end.
    """
    classes, _, bins = histogram.shape
    scores = ops.where(ops.isnan(scores), 0, scores)
    scaled = ops.floor(ops.cast(scores, "float64") * bins)
    places = ops.cast(ops.clip(scaled, 0, bins - 1), "int32")
    cells = (2 * ops.arange(classes, dtype="int32") + is_true) * bins + places
    weight = ops.broadcast_to(ops.expand_dims(weight, -1), ops.shape(cells))
    add_at(histogram, ops.reshape(cells, (-1,)), ops.reshape(weight, (-1,)))
