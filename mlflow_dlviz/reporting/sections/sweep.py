"""Sweep."""

from __future__ import annotations

from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.section import Section


def build(analysis: Analysis) -> Section:
    """Sweep of the runs."""
    return Section("sweep", "Sweep", reason="this version does not have it")
