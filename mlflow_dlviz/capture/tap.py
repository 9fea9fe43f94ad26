"""The probe of data that can't be sampled without consuming it: taken as the batches pass through Keras' steps.

Pulling a batch ourselves would take it away from training: with a stateful pipeline every later batch, and so
the weights, would be others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlflow_dlviz.capture.moment import NotShown, Probe
from mlflow_dlviz.capture.probe import class_labels
from mlflow_dlviz.capture.slots import Slots

_STEPS = {"training": "train_step", "validation": "test_step"}
_ABSENT = object()


class Tap:
    """Listens in the steps that the batches pass through, and counts the training samples.

    subset: which data the probe is taken of, "training" or "validation"; "" for none, where only counting is
    wanted; size: samples of the probe; seed: of their choice; stratify: whether the targets are classes.

    To be attached before, and detached after, whatever else wraps the steps or has Keras compile them.
    """

    def __init__(self, model: Any, subset: str, *, size: int, seed: int, stratify: bool) -> None:
        self.subset = subset
        self._model = model
        self._size, self._seed, self._stratify = size, seed, stratify
        self._reason = f"no batch of the {subset} data passed through the model's {_STEPS.get(subset)}"
        self._slots: Slots | None = None
        self._layout: Any = None
        self._specs: list[tf.TensorSpec] = []
        self._saved: dict[str, Any] = {}
        self._alone = model.distribute_strategy.num_replicas_in_sync == 1
        self._open = tf.Variable(False, trainable=False)
        self._rows = tf.Variable(np.int64(0), trainable=False)

    def attach(self) -> None:
        """Begin to listen. Keras compiles its steps anew, once."""
        model = self._model
        if not self._alone:
            self._reason = "under a strategy of several replicas only arrays can be sampled"
            return
        # Keras' own __setattr__ would look for layers and variables in what is set; these are functions.
        self._saved = {name: vars(model).get(name, _ABSENT) for name in _STEPS.values()}
        self._compiled = (model.train_function, model.test_function)
        self._made = None
        for subset, name in _STEPS.items():
            vars(model)[name] = self._listening(subset, getattr(model, name))
        model.train_function = model.test_function = None
        # Without ``force``, which a method of the user's own may not know.
        model.make_train_function()
        self._made = model.train_function

    def detach(self) -> None:
        """Leave the model as it was, its compiled functions too; safe to call twice."""
        model = self._model
        for name, value in self._saved.items():
            if value is _ABSENT:
                vars(model).pop(name, None)
            else:
                vars(model)[name] = value
        if self._saved:
            # Compiled anew by the user in the meantime, what was there before belongs to another optimizer.
            ours = self._made is not None and model.train_function is self._made
            model.train_function, model.test_function = self._compiled if ours else (None, None)
        self._saved = {}

    def open(self, subset: str, *, take: bool) -> None:
        """A pass over ``subset`` begins; only within one, and if ``take``, samples are taken."""
        if subset == "training":
            self._rows.assign(0)
        self._open.assign(take and subset == self.subset)

    def close(self) -> None:
        """The pass is over."""
        self._open.assign(False)

    @property
    def samples(self) -> int | None:
        """Training samples since that pass began, None where they can't be counted."""
        return int(self._rows.numpy()) or None

    def take(self) -> Probe:
        """The probe. Raises NotShown, with the reason, where there is none."""
        values = [] if self._slots is None else self._slots.read()
        if not values or not len(values[0]):
            raise NotShown(self._reason)
        found = iter(values)
        x, y = keras.tree.map_structure(lambda there: next(found) if there else None, self._layout)
        labels = None if y is None or not self._stratify else class_labels(y)
        return Probe(x=x, y=y if isinstance(y, np.ndarray) else None, labels=labels, subset=self.subset)

    def _listening(self, subset: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(data: Any, *args: Any, **kwargs: Any) -> Any:
            self._hear(subset, data)
            return original(data, *args, **kwargs)

        return step

    def _hear(self, subset: str, data: Any) -> None:
        # While Keras traces its step: whatever fails here must not fail there.
        try:
            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            if subset == "training":
                self._rows.assign_add(_rows(x))
            if subset == self.subset:
                self._offer(x, y)
        except NotShown as reason:
            self._reason = str(reason)
        except Exception as error:
            self._reason = f"{type(error).__name__}: {error}"

    def _offer(self, x: Any, y: Any) -> None:
        if tf.executing_eagerly() and not self._open:
            return
        if not all(map(_is_dense, keras.tree.flatten(y))):
            y = None  # the pictures are of the inputs
        values = [self._usable(value) for value in keras.tree.flatten((x, y)) if value is not None]
        slots = self._slots if self._slots is not None else self._begin((x, y), values)
        if len(values) != len(self._specs) or not all(map(_fits, values, self._specs)):
            # Keras traces its step again for batches of another kind; the probe stays of one.
            return
        classes = self._classes(y)
        sides = tf.stack([tf.shape(value)[0] for value in values])
        wanted = tf.stack([self._open.read_value(), slots.hungry, tf.reduce_all(tf.equal(sides, sides[0]))])
        tf.cond(tf.reduce_all(wanted), lambda: slots.offer(values, classes), lambda: None)

    def _begin(self, data: Any, values: list[tf.Tensor]) -> Slots:
        self._reason = f"the {self.subset} data has no samples, or not as many of each input as of the targets"
        if any(value is None for value in keras.tree.flatten(data[0])):
            raise NotShown(f"the {self.subset} data has an input that is None")
        self._layout = keras.tree.map_structure(lambda value: value is not None, data)
        self._specs = [tf.TensorSpec([None, *value.shape[1:]], value.dtype) for value in values]
        if self._model.jit_compile and not all(spec.shape[1:].is_fully_defined() for spec in self._specs):
            raise NotShown("the batches have rows of unknown shape, which can't be kept under jit_compile")
        # Variables must live outside the graph that is being traced.
        with tf.init_scope():
            self._slots = Slots(self._specs, self._size, self._seed)
        return self._slots

    def _usable(self, value: Any) -> tf.Tensor:
        if not _is_dense(value):
            raise NotShown(f"the {self.subset} data has {type(value).__name__}s; only dense rows can be kept")
        value = tf.convert_to_tensor(value)
        if not value.shape.rank:
            raise NotShown(f"the {self.subset} data has a part without samples: its shape is {value.shape}")
        return value

    def _classes(self, y: Any) -> tf.Tensor | None:
        """Class indices (B,) of sparse or one-hot targets, as ``class_labels`` reads them."""
        if (
            not self._stratify
            or not isinstance(y, tf.Tensor)
            or y.shape.rank not in (1, 2)
            or y.dtype == tf.string
        ):
            return None
        if y.shape.rank == 2 and y.shape[1] != 1:
            return tf.argmax(y, axis=1)
        return tf.cast(tf.reshape(y, [-1]), tf.int64)


def _is_dense(value: Any) -> bool:
    return not isinstance(value, tf.RaggedTensor | tf.SparseTensor)


def _fits(value: tf.Tensor, spec: tf.TensorSpec) -> bool:
    return spec.dtype == value.dtype and spec.shape.is_compatible_with(value.shape)


def _rows(x: Any) -> tf.Tensor:
    """How many samples a batch has: ragged and sparse ones know it, too."""
    first = keras.tree.flatten(x)[0]
    if isinstance(first, tf.SparseTensor):
        return first.dense_shape[0]
    return tf.cast(first.nrows() if isinstance(first, tf.RaggedTensor) else tf.shape(first)[0], tf.int64)
