"""The vocabulary of a visual: what is captured when, and how it is drawn. NumPy only."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mlflow_dlviz.capture.moment import Moment

Arrays: TypeAlias = Mapping[str, np.ndarray]
"""Named arrays of numbers, booleans or unicode, never of objects: the only currency between the parts."""

NEEDS = ("activations", "scores", "predict")
"""What a visual may ask of the shared pass (see :class:`Visual`)."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,23}")


def _check_callable(visual: str, field: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(f"Visual {visual!r}: {field}={value!r} is not callable")


def _check_positive(kind: str, argument: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{kind}({argument}={value!r}): expected a whole number of at least 1")


def _log_spaced(n: int, epochs: int) -> frozenset[int]:
    # Deduplicating rounds away some of the dense early epochs; widening until n distinct ones are left
    # keeps the promise of "at most n" and comes as close to it as whole epochs allow.
    if epochs <= n:
        return frozenset(range(epochs))
    for points in range(n, 8 * n):
        wider = np.unique(np.round(np.geomspace(1, epochs, points)).astype(int) - 1)
        if len(wider) > n:
            break
        due = wider
    return frozenset(due.tolist())


class Cadence(Protocol):
    """Says at which epochs a visual is due."""

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether ``epoch`` (0-based) of ``epochs`` planned ones is due."""


@dataclass(frozen=True)
class Every:
    """Every ``n``-th epoch, the first and the last."""

    n: int = 1

    def __post_init__(self) -> None:
        _check_positive("Every", "n", self.n)

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether ``epoch`` is due."""
        return epoch % self.n == 0 or epoch == epochs - 1


@dataclass(frozen=True)
class LogSpaced:
    """At most ``n`` epochs, dense at the start, where a network changes most; the first and the last always."""

    n: int = 20

    def __post_init__(self) -> None:
        _check_positive("LogSpaced", "n", self.n)

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether ``epoch`` is due."""
        return epoch == epochs - 1 or epoch in _log_spaced(self.n, epochs)


@dataclass(frozen=True)
class AtEnd:
    """The last epoch alone."""

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether ``epoch`` is due."""
        return epoch == epochs - 1


@dataclass(frozen=True)
class Visual:
    """One kind of picture: how its numbers are captured and how they are drawn.

    name: lower-case, the first half of every key that it logs (``"activations"``).
    capture: ``(moment, frozen) -> {leaf: arrays}``; on the training thread, so it reduces what it reads to
        what the picture needs; it reads the model, never writes to it.
    draw: ``draw(**arrays) -> Figure``; on another thread; pure, no pyplot.
    needs: any of "activations" (``moment.values["activations"]``: what the chosen layers returned on the
        probe), "scores" (the tallies of the whole train and validation sets) and "predict" (a function from
        inputs to predictions, stateless).
    freeze: ``(moment) -> arrays``, once, at the first frame: channels, limits, order. Stored, and given to
        every capture, so that frames compare.
    evolve: ``evolve(**arrays) -> Figure`` over the arrays of all frames, stacked by epoch on axis 0.
    cadence: the epochs that are due.
    metrics: names of 0-d arrays among those captured that are logged as ``<visual>.<name>/<leaf>`` too: in a
        section of their own in the UI, so not between the pictures.
    summary: one line for the catalogue.
    """

    name: str
    capture: Callable[[Moment, Arrays], Mapping[str, Arrays]]
    draw: Callable[..., Figure]
    needs: tuple[str, ...] = ()
    freeze: Callable[[Moment], Arrays] | None = None
    evolve: Callable[..., Figure] | None = None
    cadence: Cadence = LogSpaced(20)
    metrics: tuple[str, ...] = ()
    summary: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"Visual(name={self.name!r}): expected 1 to 24 of a-z, 0-9 and _, starting with a letter"
            )
        for field in ("capture", "draw"):
            _check_callable(self.name, field, getattr(self, field))
        for field in ("freeze", "evolve"):
            if getattr(self, field) is not None:
                _check_callable(self.name, field, getattr(self, field))
        if unknown := set(self.needs) - set(NEEDS):
            raise ValueError(f"Visual {self.name!r}: needs={self.needs!r} has {sorted(unknown)}, not of {NEEDS}")
        if isinstance(self.cadence, type) or not callable(getattr(self.cadence, "due", None)):
            raise TypeError(f"Visual {self.name!r}: cadence={self.cadence!r} has no due(epoch, epochs)")
