"""One ``fit`` from its first to its last moment: what is counted, captured and logged of it.

Knows Keras' models but not its callbacks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from mlflow_dlviz.capture import facts, stateless
from mlflow_dlviz.capture.fit_frame import FitCall
from mlflow_dlviz.capture.layers import find_layers, spread
from mlflow_dlviz.capture.moment import Moment, NotShown, Probe
from mlflow_dlviz.capture.probe import name_classes, take_probe
from mlflow_dlviz.capture.sampling import Sampling
from mlflow_dlviz.frames import Frames
from mlflow_dlviz.options import Options
from mlflow_dlviz.runlog import OpenLog
from mlflow_dlviz.scoring import Scoring
from mlflow_dlviz.visual import Visual

if TYPE_CHECKING:
    from mlflow_dlviz.capture.passes import Passes

LAYERS = 16
"""More layers than these are not shown: the first, the last and an even choice between are."""


# Classes without a name given for them that have their number as one.
_NAMES = 4096


@dataclass(frozen=True)
class Loop:
    """A training loop of the user's own. data: (x, y) to take the probe of, None for none; loss: as for
    ``compile``, None where the model is compiled with it; initial_epoch: the first that will be logged.
    """

    data: tuple[Any, Any] | None
    loss: Any = None
    initial_epoch: int = 0


class Recorder:
    """Records one ``fit`` of one model: what is counted, captured and written into Keras' logs."""

    def __init__(self, model: Any, options: Options, log: OpenLog, epochs: int, loop: Loop | None = None) -> None:
        self._model = model
        self._options = options
        self._log = log
        self._epochs = epochs
        self._on_tensorflow = keras.backend.backend() == "tensorflow"
        self._frames = Frames(self._possible(options.visuals), log.run, log.frozen)
        self._loop = loop
        self._scoring = Scoring(_compiled_with(model, loop), options, log)
        self._sampling = Sampling(model, self._scoring.head, options.probe, self._rng(0))
        self._passes: Passes | None = None
        self._validates = False
        self._first: int | None = None
        self._epoch_began = 0.0
        self._last: tuple[int, Mapping[str, float]] | None = None

    def begin(self, call: FitCall | None) -> None:
        """Before the first epoch: take the probe, begin to count, log what is known already."""
        if self._loop is not None:
            with self._log.guarded("the probe"):
                self._sampling.probe = self._given(self._loop)
            self._epoch_began = time.perf_counter()
            return
        # Before the tallies, which have Keras compile its steps with all that listens in them.
        self._sample("begin", call)
        if self._on_tensorflow:
            with self._log.guarded("counting"):
                self._scoring.attach(call)
        self._validates = call is not None and call.validation is not None

    def epoch_begins(self) -> None:
        """Count the epoch from zero."""
        self._epoch_began = time.perf_counter()
        self._scoring.reset("training")
        self._sample("opens", "training")

    def test_begins(self) -> None:
        """Count the validation set from zero."""
        self._scoring.reset("validation")
        self._sample("opens", "validation")

    def test_ends(self) -> None:
        """Keep the counts of the validation set."""
        self._scoring.keep("validation")

    def epoch_ends(self, epoch: int, logs: dict[str, Any]) -> None:
        """Write the tallies' metrics into ``logs``, which every callback after ours sees, and capture."""
        seconds = time.perf_counter() - self._epoch_began
        with self._log.guarded("the metrics of the whole set", epoch):
            self._scoring.keep("training")
            self._write_learning_rate(logs)
            self._scoring.write(logs)
        self._sample("closes")
        self._log.epoch_took(seconds, self._sampling.samples)
        self._last = (epoch, facts.scalars(logs))
        if self._first is None:
            self._first = epoch
        due = self._frames.due(epoch - self._first, self._epochs - self._first)
        if due:
            with self._log.guarded("capturing", epoch):
                self._frames.take(due, self._moment(epoch, due), seconds)
        # Where there is no ``epoch_begins``, the next epoch begins here.
        self._epoch_began = time.perf_counter()

    def count(self, subset: str, y: Any, y_pred: Any, sample_weight: Any) -> None:
        """Count a batch of a training loop of the user's own."""
        if self._on_tensorflow:
            batch = (y, y_pred) if sample_weight is None else (y, y_pred, sample_weight)
            self._scoring.count(subset, *keras.tree.map_structure(keras.ops.convert_to_tensor, batch))

    def collect(self) -> None:
        """Keep what was counted since the last time, to be called before ``epoch_ends`` in such a loop."""
        self._scoring.collect()

    def training_ends(self) -> None:
        """Capture the last epoch where it was not known to be the last, and stop counting.

        To be called before EarlyStopping puts the best weights back.
        """
        if self._last is not None:
            epoch = self._last[0]
            behind = self._frames.behind(self._log.step(epoch))
            with self._log.guarded("capturing", epoch):
                self._frames.take(behind, self._moment(epoch, behind))
        with self._log.guarded("the evolutions"):
            self._frames.finish()
        self.detach()

    def detach(self) -> None:
        """Leave the model as it was; safe to call twice."""
        self._scoring.detach()
        with self._log.guarded("detaching"):
            self._sampling.detach()

    def example(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """A few samples of the input and what the model makes of them; None for several or for text."""
        probe = self._sampling.probe
        if probe is None or not isinstance(probe.x, np.ndarray) or probe.x.dtype.kind not in "biuf":
            return None, None
        example = probe.x[:4]
        with self._log.guarded("the model's signature"):
            if not self._on_tensorflow:
                return example, stateless.predict(self._model, example)
            return example, self._compiled_passes().predict(example)
        return None, None

    def _possible(self, visuals: Sequence[Visual]) -> list[Visual]:
        """The visuals that Keras' backend allows; that, and what the tallies would have brought, is said once."""
        if self._on_tensorflow:
            return list(visuals)
        missing = ["metrics of the whole set", *(visual.name for visual in visuals if visual.needs)]
        why = f"needs Keras on TensorFlow, and it runs on {keras.backend.backend()}"
        self._log.left_out(", ".join(missing), why)
        return [visual for visual in visuals if not visual.needs]

    def _given(self, loop: Loop) -> Probe | None:
        if loop.data is None:
            raise NotShown("no probe was given")
        given = FitCall(train=(None, None), validation=loop.data, settings={})
        return take_probe(given, self._scoring.head, self._options.probe, self._rng(0))

    def _sample(self, event: str, *args: Any) -> None:
        with self._log.guarded("the probe"):
            try:
                getattr(self._sampling, event)(*args)
            except NotShown as reason:
                said = bool(self._options.visuals)
                self._log.left_out("pictures of a sample of the data", str(reason), say=said)

    def _write_learning_rate(self, logs: dict[str, Any]) -> None:
        rate = facts.learning_rate(self._model) if hasattr(self._model, "optimizer") else None
        if rate is not None:
            logs.setdefault("learning_rate", rate)

    def _rng(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self._options.seed, epoch])

    def _moment(self, epoch: int, due: Sequence[Visual]) -> Moment:
        needs = {need for visual in due for need in visual.needs}
        values: dict[str, Any] = {}
        if "scores" in needs:
            values["scores"] = self._scoring.counts
        if needs & {"activations", "predict"}:
            passes = self._compiled_passes()
            values["predict"] = passes.predict
            if "activations" in needs and self._sampling.probe is not None:
                with self._log.guarded("reading the layers", epoch):
                    values["activations"] = passes.activations(self._sampling.probe.x)
        _protect(values, self._sampling.probe)
        return Moment(
            model=self._model,
            epoch=self._log.step(epoch),
            logs=dict(self._last[1]) if self._last else {},
            probe=self._sampling.probe,
            head=self._scoring.head,
            rng=self._rng(epoch),
            validates=self._validates,
            class_names=self._class_names(),
            values=values,
        )

    def _compiled_passes(self) -> Passes:
        from mlflow_dlviz.capture.passes import Passes  # brings TensorFlow

        if self._passes is None:
            layers = find_layers(self._model)
            if len(layers) > LAYERS:
                why = f"the model has {len(layers)} layers to show, {LAYERS} of them are"
                self._log.left_out("some layers", why, say=False)
            self._passes = Passes(self._model, spread(layers, LAYERS))
        return self._passes

    def _class_names(self) -> tuple[str, ...]:
        classes = self._scoring.classes
        probe = self._sampling.probe
        if not classes and probe is not None and probe.labels is not None:
            classes = max(2, int(probe.labels.max(initial=0)) + 1)
        try:
            if self._options.class_names is not None:
                return name_classes(classes, self._options.class_names)
        except NotShown as reason:
            self._log.left_out("class_names", str(reason))
        # A label may be any number, and a billion of names nobody reads.
        return name_classes(min(classes, _NAMES), None)


def _protect(values: Mapping[str, Any], probe: Probe | None) -> None:
    """Make read-only what one visual is given and the next one, too, and all of the later frames."""
    activations = [activation.values for activation in values.get("activations", {}).values()]
    shared = [activations, values.get("scores"), (probe.x, probe.y, probe.labels) if probe is not None else None]
    for array in keras.tree.flatten(shared):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False


class _Compiled:
    """A model as if it were compiled with a loss, for whoever only asks."""

    def __init__(self, model: Any, loss: Any) -> None:
        self.loss = loss
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _compiled_with(model: Any, loop: Loop | None) -> Any:
    return model if loop is None or loop.loss is None else _Compiled(model, loop.loss)
