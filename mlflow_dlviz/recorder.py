"""One ``fit`` from its first to its last moment: what is counted, captured and logged of it.

Knows Keras' models but not its callbacks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlflow_dlviz.capture import facts
from mlflow_dlviz.capture.fit_frame import FitCall
from mlflow_dlviz.capture.moment import Moment, NotShown, Probe
from mlflow_dlviz.capture.passes import Passes, find_layers, spread
from mlflow_dlviz.capture.probe import name_classes, take_probe
from mlflow_dlviz.frames import Frames
from mlflow_dlviz.options import Options
from mlflow_dlviz.runlog import OpenLog
from mlflow_dlviz.scoring import Scoring
from mlflow_dlviz.visual import Visual

LAYERS = 16
"""More layers than these are not shown: the first, the last and an even choice between are."""


class Recorder:
    """Records one ``fit`` of one model: what is counted, captured and written into Keras' logs."""

    def __init__(self, model: Any, options: Options, log: OpenLog, epochs: int) -> None:
        self._model = model
        self._options = options
        self._log = log
        self._epochs = epochs
        self._frames = Frames(options.visuals, log.run)
        self._scoring = Scoring(model, options, log)
        self._probe: Probe | None = None
        self._passes: Passes | None = None
        self._samples: int | None = None
        self._validates = False
        self._first: int | None = None
        self._epoch_began = 0.0
        self._last: tuple[int, Mapping[str, float]] | None = None

    def begin(self, call: FitCall | None) -> None:
        """Before the first epoch: take the probe, begin to count, log what is known already."""
        with self._log.guarded("counting"):
            self._scoring.attach()
        with self._log.guarded("the probe"):
            try:
                self._probe = self._take_probe(call)
            except NotShown as reason:
                self._log.left_out(
                    "pictures of a sample of the data", str(reason), say=bool(self._options.visuals)
                )
        if call is not None:
            # With steps_per_epoch an epoch is not a pass over the data.
            self._validates = call.validation is not None
            self._samples = None if call.settings.get("steps_per_epoch") else facts.samples(call.train[0])

    def epoch_begins(self) -> None:
        """Count the epoch from zero."""
        self._epoch_began = time.perf_counter()
        self._scoring.reset("training")

    def test_begins(self) -> None:
        """Count the validation set from zero."""
        self._scoring.reset("validation")

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
        self._log.epoch_took(seconds, self._samples)
        self._last = (epoch, facts.scalars(logs))
        if self._first is None:
            self._first = epoch
        due = self._frames.due(epoch - self._first, self._epochs - self._first)
        if due:
            with self._log.guarded("capturing", epoch):
                self._frames.take(due, self._moment(epoch, due))

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

    def example(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """A few samples of the input and what the model makes of them; None for more than one array."""
        if self._probe is None or not isinstance(self._probe.x, np.ndarray):
            return None, None
        example = self._probe.x[:4]
        with self._log.guarded("the model's signature"):
            return example, self._compiled_passes().predict(example)
        return None, None

    def _take_probe(self, call: FitCall | None) -> Probe:
        if call is None:
            raise NotShown("the data given to fit can't be read from this training loop")
        return take_probe(call, self._scoring.head, self._options.probe, self._rng(0))

    def _write_learning_rate(self, logs: dict[str, Any]) -> None:
        rate = facts.learning_rate(self._model)
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
            if "activations" in needs and self._probe is not None:
                with self._log.guarded("reading the layers", epoch):
                    values["activations"] = passes.activations(self._probe.x)
        return Moment(
            model=self._model,
            epoch=self._log.step(epoch),
            logs=self._last[1] if self._last else {},
            probe=self._probe,
            head=self._scoring.head,
            rng=self._rng(epoch),
            validates=self._validates,
            class_names=self._class_names(),
            values=values,
        )

    def _compiled_passes(self) -> Passes:
        if self._passes is None:
            layers = find_layers(self._model)
            if len(layers) > LAYERS:
                why = f"the model has {len(layers)} layers to show, {LAYERS} of them are"
                self._log.left_out("some layers", why, say=False)
            self._passes = Passes(self._model, spread(layers, LAYERS))
        return self._passes

    def _class_names(self) -> tuple[str, ...]:
        classes = self._scoring.classes
        if not classes and self._probe is not None and self._probe.labels is not None:
            classes = max(2, int(self._probe.labels.max(initial=0)) + 1)
        try:
            return name_classes(classes, self._options.class_names)
        except NotShown as reason:
            self._log.left_out("class_names", str(reason))
            return name_classes(classes, None)
