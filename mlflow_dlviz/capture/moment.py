"""What a capture is given: the model at one due epoch, and the probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Probe:
    """A small fixed sample of the data given to ``fit``; N samples.

    x: array (N, ...), or a dict or list of such; y: the targets of the same samples, None if there are none;
    labels: (N,) int class indices where the targets are classes; subset: "validation" or "training", where it
    was taken from.
    """

    x: Any
    y: np.ndarray | None
    labels: np.ndarray | None
    subset: str

    def __len__(self) -> int:
        return len(first_array(self.x))


@dataclass(frozen=True)
class Moment:
    """One due epoch; valid only inside ``capture`` and ``freeze``.

    epoch: the step in MLflow; logs: what Keras reports of the epoch; probe: None where ``fit`` was given data
    that can't be sampled; values: what the ``needs`` of the due visuals asked for, "activations" as
    ``{layer path: Activation}``, "scores" as ``{"training" | "validation": arrays}``, "predict" as a function
    from inputs to predictions (N, units); head: what the model predicts; rng: seeded by ``seed`` and epoch;
    validates: whether ``fit`` has validation data, though perhaps not at this epoch; earlier: in ``freeze``, what
    it returned for earlier fits of the run, {} in the first.
    """

    model: Any
    epoch: int
    logs: Mapping[str, float]
    probe: Probe | None
    head: Any
    rng: np.random.Generator
    validates: bool = False
    class_names: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    earlier: Mapping[str, np.ndarray] = field(default_factory=dict)


class NotShown(Exception):
    """Raised by a capture that does not apply to this model or data; its text is the reason."""


def first_array(x: Any) -> Any:
    """The first leaf of an array or of a dict, list or tuple of arrays."""
    while isinstance(x, dict | list | tuple) and x:
        x = next(iter(x.values())) if isinstance(x, dict) else x[0]
    return x


def map_arrays(function: Any, x: Any) -> Any:
    """``function`` over each leaf of an array or of a dict, list or tuple of arrays."""
    if isinstance(x, dict):
        return {key: map_arrays(function, value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        mapped = [map_arrays(function, value) for value in x]
        # A named tuple takes its fields one by one.
        return type(x)(*mapped) if hasattr(x, "_fields") else type(x)(mapped)
    return function(x)
