"""A small fair sample of a stream of batches, kept in variables inside the graph that the stream passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

ROWS = 100_000
"""Rows of the stream that are looked at: what they cost is bounded, however long it is."""

# Of large rows, such as volumes, fewer are kept.
_BYTES = 256 * 2**20


class Slots:
    """Up to ``size`` rows of several tensors with a common first axis, as equal a number of each class as can be.

    Each row draws a priority from ``seed`` and its place in the stream; of each class the rows with the lowest
    stay, so they are a random sample of its rows (bottom-k sampling, Cohen & Kaplan 2007), and the same rows
    wherever the stream is the same.  Nothing of TensorFlow's or the model's random state is touched.

    specs: (B, ...) of each tensor.  Where the shape of a row is unknown all rows are taken of the first batch,
    as two batches need not agree; XLA can't compile that.
    """

    def __init__(self, specs: Sequence[tf.TensorSpec], size: int, seed: int) -> None:
        self._fixed = all(spec.shape[1:].is_fully_defined() for spec in specs)
        bytes_a_row = sum((spec.shape[1:].num_elements() or 0) * spec.dtype.size for spec in specs)
        self._size = max(1, min(size, _BYTES // max(1, bytes_a_row)))
        self._seed = tf.constant(seed, tf.int64)
        self._seen = tf.Variable(tf.zeros((), tf.int64), trainable=False)
        self._classes = tf.Variable(tf.zeros(self._size, tf.int64), trainable=False)
        self._priorities = tf.Variable(tf.fill([self._size], np.float32(np.inf)), trainable=False)
        self._values = [self._empty(spec) for spec in specs]

    def offer(self, values: Sequence[tf.Tensor], classes: tf.Tensor | None) -> None:
        """Take what is to stay of one batch. values: (B, ...) each; classes: (B,) int64, None without any."""
        rows = tf.shape(values[0])[0]
        priorities = tf.random.stateless_uniform([rows], tf.stack([self._seed, self._seen]), alg="philox")
        if classes is None:
            classes = tf.zeros([rows], tf.int64)
        every_class = tf.concat([self._classes, classes], 0)
        every_priority = tf.concat([self._priorities, priorities], 0)
        chosen = _fairest(every_class, every_priority)[: self._size]

        def keep() -> tf.Tensor:
            self._keep(values, chosen)
            self._classes.assign(tf.gather(every_class, chosen))
            self._priorities.assign(tf.gather(every_priority, chosen))
            return tf.constant(True)

        changed = tf.reduce_any(chosen >= self._size)
        wanted = changed if self._fixed else tf.logical_and(changed, tf.equal(self._seen, 0))
        tf.cond(wanted, keep, lambda: tf.constant(False))
        self._seen.assign_add(tf.cast(rows, tf.int64))

    @property
    def hungry(self) -> tf.Tensor:
        """Whether more rows are looked at."""
        return self._seen < ROWS

    def read(self) -> list[np.ndarray]:
        """What was kept of each tensor, (N, ...), in order of class."""
        priorities = self._priorities.numpy()
        order = np.lexsort((priorities, self._classes.numpy()))
        order = order[np.isfinite(priorities[order])]
        return [value.numpy()[order] for value in self._values]

    def _empty(self, spec: tf.TensorSpec) -> tf.Variable:
        row = [side or 0 for side in spec.shape[1:]]
        nothing = tf.fill([self._size, *row], "") if spec.dtype == tf.string else None
        if nothing is None:
            nothing = tf.zeros([self._size, *row], spec.dtype)
        return tf.Variable(nothing, trainable=False, shape=tf.TensorShape([self._size, *spec.shape[1:]]))

    def _keep(self, values: Sequence[tf.Tensor], chosen: tf.Tensor) -> None:
        for kept, value in zip(self._values, values, strict=True):
            if self._fixed:
                kept.assign(tf.gather(tf.concat([kept, value], 0), chosen))
            else:
                # Places that stay empty hold any row; their priority says that there is none.
                places = tf.clip_by_value(chosen - self._size, 0, tf.shape(value)[0] - 1)
                kept.assign(tf.gather(value, places))


def _fairest(classes: tf.Tensor, priorities: tf.Tensor) -> tf.Tensor:
    """Places of the rows: the first of each class, then the second of each, …; those of no priority last."""
    by_priority = tf.argsort(priorities, stable=True)
    order = tf.gather(by_priority, tf.argsort(tf.gather(classes, by_priority), stable=True))
    ordered = tf.gather(classes, order)
    place_in_class = tf.range(tf.size(order)) - tf.searchsorted(ordered, ordered)
    there = tf.math.is_finite(tf.gather(priorities, order))
    return tf.gather(order, tf.argsort(tf.where(there, place_in_class, tf.size(order)), stable=True))
