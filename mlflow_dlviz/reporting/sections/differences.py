"""What differs between the runs, and nothing else; of a run alone, all its parameters."""

from __future__ import annotations

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.cells import Table, text
from mlflow_dlviz.reporting.section import Section


def build(analysis: Analysis) -> Section:
    """The parameters that differ."""
    title = "Parameters" if analysis.single else "What differs"
    table = params(analysis)
    reason = "the run has no parameters" if analysis.single and not table.heads else ""
    return Section("differences", title, {"table": table}, reason=reason)


def params(analysis: Analysis) -> Table:
    """The params that differ between runs; for a single run, all of them."""
    shown = [run.params for run in analysis.runs]
    names = sorted(shown[0]) if analysis.single else align.differing(shown)
    return Table(tuple(names), tuple(tuple(text(run.get(name)) for name in names) for run in shown))
