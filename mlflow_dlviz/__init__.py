"""Deep-learning visualisation inside MLflow.

``mlflow_dlviz.autolog()`` and nothing else: every Keras ``fit`` then logs exact metrics on the whole data
sets, pictures of what the network does, and the numbers behind them.

Names are imported on first use, so that the command line and the report never import TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mlflow_dlviz import catalogue, metrics, plots
    from mlflow_dlviz.autologging import autolog, paused
    from mlflow_dlviz.capture.moment import NotShown
    from mlflow_dlviz.custom_loops import recording
    from mlflow_dlviz.process import flush
    from mlflow_dlviz.reporting import report
    from mlflow_dlviz.store.load import load
    from mlflow_dlviz.syncing import sync
    from mlflow_dlviz.visual import AtEnd, Every, LogSpaced, Visual

_HOMES = {
    "autolog": "autologging",
    "paused": "autologging",
    "recording": "custom_loops",
    "flush": "process",
    "load": "store.load",
    "report": "reporting",
    "sync": "syncing",
    "NotShown": "capture.moment",
    "Visual": "visual",
    "Every": "visual",
    "LogSpaced": "visual",
    "AtEnd": "visual",
    "catalogue": "",
    "metrics": "",
    "plots": "",
}

__all__ = [
    "AtEnd",
    "Every",
    "LogSpaced",
    "NotShown",
    "Visual",
    "autolog",
    "catalogue",
    "flush",
    "load",
    "metrics",
    "paused",
    "plots",
    "recording",
    "report",
    "sync",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    if not home:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
