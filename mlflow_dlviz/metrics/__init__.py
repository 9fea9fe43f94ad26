"""Metrics counted exactly: formulas over counts, and the tallies that Keras updates as it trains.

``formulas`` needs NumPy alone; the tallies are imported on first use, as they bring Keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlflow_dlviz.metrics.formulas import Formulas, resolve, summarise

if TYPE_CHECKING:
    from mlflow_dlviz.metrics.classification import ClassificationTally, fits
    from mlflow_dlviz.metrics.multilabel import MultiLabelTally
    from mlflow_dlviz.metrics.regression import RegressionTally

_MODULES = {
    "ClassificationTally": "classification",
    "MultiLabelTally": "multilabel",
    "RegressionTally": "regression",
    "fits": "classification",
}

__all__ = [
    "ClassificationTally",
    "Formulas",
    "MultiLabelTally",
    "RegressionTally",
    "fits",
    "resolve",
    "summarise",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
