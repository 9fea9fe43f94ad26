"""Reports: runs of any number of experiments compared in one HTML file that needs no network.

Reads MLflow through the store, knows neither Keras nor TensorFlow.
"""

from __future__ import annotations

from mlflow_dlviz.reporting.api import Incomplete, NothingMatched, check_run, preview, report, run_page
from mlflow_dlviz.reporting.fetching.preview import Preview
from mlflow_dlviz.reporting.result import Report
from mlflow_dlviz.store.searching import UnknownExperiment
from mlflow_dlviz.store.server import ServerUnreachable

__all__ = [
    "Incomplete",
    "NothingMatched",
    "Preview",
    "Report",
    "ServerUnreachable",
    "UnknownExperiment",
    "check_run",
    "preview",
    "report",
    "run_page",
]
