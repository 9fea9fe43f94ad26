"""The probe during one ``fit``: taken at once from arrays, or while their batches pass from anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from mlflow_dlviz.capture.facts import samples
from mlflow_dlviz.capture.fit_frame import FitCall
from mlflow_dlviz.capture.heads import Head
from mlflow_dlviz.capture.moment import Probe
from mlflow_dlviz.capture.probe import find_source, is_stream, take_probe

if TYPE_CHECKING:
    from mlflow_dlviz.capture.tap import Tap


class Sampling:
    """Takes the probe of one ``fit``, once, and knows how many samples an epoch trains on.

    probe: None until it is there.
    """

    def __init__(self, model: Any, head: Head, size: int, rng: np.random.Generator) -> None:
        self.probe: Probe | None = None
        self._model, self._head, self._size, self._rng = model, head, size, rng
        self._tap: Tap | None = None
        self._known: int | None = None

    def begin(self, call: FitCall | None) -> None:
        """Before the first step. call: None where the data given to ``fit`` can't be read.

        Raises NotShown, with the reason, where there will be no probe.
        """
        subset, (x, _) = ("training", (None, None)) if call is None else find_source(call)
        trained = None if call is None else call.train[0]
        if call is not None and not is_stream(trained) and not call.settings.get("steps_per_epoch"):
            # With steps_per_epoch an epoch is not a pass over the data.
            self._known = samples(trained)
        if (is_stream(trained) or is_stream(x)) and keras.backend.backend() == "tensorflow":
            self._listen(subset if is_stream(x) else "")
        if call is not None and (self._tap is None or not self._tap.subset):
            self.probe = take_probe(call, self._head, self._size, self._rng)

    def opens(self, subset: str) -> None:
        """A pass over the training or the validation data begins."""
        if self._tap is not None:
            self._tap.open(subset, take=self.probe is None)

    def closes(self) -> None:
        """A pass is over; what passed of the data that the probe is taken of is the probe.

        Raises NotShown, with the reason, where nothing could be taken.
        """
        if self._tap is not None and self._tap.subset and self.probe is None:
            self._tap.close()
            self.probe = self._tap.take()

    def detach(self) -> None:
        """Leave the model as it was; safe to call twice."""
        if self._tap is not None:
            self._tap.detach()

    @property
    def samples(self) -> int | None:
        """How many samples the epoch trained on, None where that is not known."""
        return self._tap.samples if self._tap is not None and self._known is None else self._known

    def _listen(self, subset: str) -> None:
        from mlflow_dlviz.capture.tap import Tap  # brings TensorFlow

        seed = int(self._rng.integers(2**31))
        self._tap = Tap(self._model, subset, size=self._size, seed=seed, stratify=self._head.classifies)
        self._tap.attach()
