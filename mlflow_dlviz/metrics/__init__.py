"""Metrics counted exactly: formulas over confusion counts, and the tally that Keras updates as it trains.

``formulas`` needs NumPy alone; ``ClassificationTally`` is imported on first use, as it brings Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflow_dlviz.metrics.formulas import Formulas, resolve, summarise

if TYPE_CHECKING:
    from mlflow_dlviz.metrics.tallies import ClassificationTally, fits

_FROM_TALLIES = ("ClassificationTally", "fits")

__all__ = ["ClassificationTally", "Formulas", "fits", "resolve", "summarise"]


def __getattr__(name: str) -> Any:
    if name not in _FROM_TALLIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mlflow_dlviz.metrics import tallies

    return getattr(tallies, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
