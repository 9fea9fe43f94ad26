"""Plots: pure functions from arrays to a matplotlib ``Figure``, one module per visual, usable by hand.

``mlflow_dlviz.plots.boundary.draw(**arrays)`` draws what ``mlflow_dlviz.load`` brought back. No plot reads or
changes rcParams' colours, opens a pyplot window or keeps state, so any thread may draw.

Modules are imported on first use: importing this package does not import matplotlib.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mlflow_dlviz.plots import activations, boundary, curves, probabilities, residuals
    from mlflow_dlviz.plots._style import encode, encode_both, thumbnail

_MODULES = {
    "activations": "activations",
    "boundary": "boundary",
    "curves": "curves",
    "probabilities": "probabilities",
    "residuals": "residuals",
}
_HELPERS = ("encode", "encode_both", "thumbnail")

__all__ = [
    "activations",
    "boundary",
    "curves",
    "encode",
    "encode_both",
    "plot_for",
    "probabilities",
    "residuals",
    "thumbnail",
]


def plot_for(name: str) -> Callable[..., Figure]:
    """The ``draw`` function of the visual called ``name``.

    Raises ``KeyError`` naming the known visuals when there is none.
    """
    if name not in _MODULES:
        raise KeyError(f"no plot for a visual named {name!r}; known: {', '.join(_MODULES)}")
    return importlib.import_module(f"{__name__}.{_MODULES[name]}").draw


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{_MODULES[name]}")
    if name in _HELPERS:
        return getattr(importlib.import_module(f"{__name__}._style"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
