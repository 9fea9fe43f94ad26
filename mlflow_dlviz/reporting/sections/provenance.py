"""Provenance."""

from __future__ import annotations

from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.section import Section


def build(analysis: Analysis) -> Section:
    """Provenance of the runs."""
    return Section("provenance", "Provenance", reason="this version does not have it")
