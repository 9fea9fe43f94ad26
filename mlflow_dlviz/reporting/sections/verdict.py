"""What the page says first: what was asked for, what was found, which run is best."""

from __future__ import annotations

from typing import Any

from mlflow_dlviz import __version__
from mlflow_dlviz.reporting.analysis import Analysis, axis_name
from mlflow_dlviz.reporting.bundle import Bundle, Query
from mlflow_dlviz.reporting.cells import moment, number
from mlflow_dlviz.reporting.section import Section

# Anything more would be too wide to read; the full names are in the tables.
_TITLE_LENGTH = 120


def build(analysis: Analysis) -> Section:
    """The page's header."""
    bundle = analysis.bundle
    report = ("Report", f"{moment(int(analysis.generated * 1000))}, mlflow-dlviz {__version__}")
    values = {
        "title": title(bundle),
        "kind": _kind(bundle),
        "best": _best(analysis),
        "facts": [*_facts(bundle), report],
        "notes": bundle.notes,
        "problems": bundle.problems,
        "excluded": bundle.excluded,
    }
    return Section("verdict", "Verdict", values, button=False)


def title(bundle: Bundle) -> str:
    """The run's name, or those of the experiments."""
    if len(bundle.runs) == 1:
        return _cut(bundle.runs[0].name or bundle.runs[0].id)
    names = list(dict.fromkeys(run.experiment for run in bundle.runs))
    return _cut(", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""))


def _best(analysis: Analysis) -> dict[str, Any] | None:
    found = analysis.best(0)
    if found is None or analysis.goal is None:
        return None
    return {
        "label": analysis.labels[0],
        "status": analysis.runs[0].status,
        "goal": analysis.goal,
        "value": number(found.value).text,
        "step": found.step,
        "axis": axis_name(analysis.runs[:1]),
        "smaller": analysis.smaller(analysis.goal),
    }


def _cut(text: str) -> str:
    return text if len(text) <= _TITLE_LENGTH else text[: _TITLE_LENGTH - 1] + "…"


def _kind(bundle: Bundle) -> str:
    if len(bundle.runs) == 1:
        return f"Run in {_cut(bundle.runs[0].experiment)}"
    several = len({run.experiment for run in bundle.runs}) > 1
    return f"{len(bundle.runs)} runs of {'these experiments' if several else 'this experiment'}"


def _facts(bundle: Bundle) -> list[tuple[str, str]]:
    users = sorted({run.tags["mlflow.user"] for run in bundle.runs if run.tags.get("mlflow.user")})
    logged_by = [("Logged by", _cut(", ".join(users)))] if users else []
    if len(bundle.runs) == 1:
        run = bundle.runs[0]
        return [("Run id", run.id), ("Started", moment(run.start)), ("Server", bundle.query.server), *logged_by]
    found = len(bundle.runs) + len(bundle.excluded)
    counts = ("Runs", f"{found} found, {len(bundle.runs)} used, {len(bundle.excluded)} left out")
    return [counts, *_query_facts(bundle.query), *logged_by]


def _query_facts(query: Query) -> list[tuple[str, str]]:
    facts = [("Server", query.server)]
    if query.experiments or not query.run_ids:
        facts.append(("Asked for", ", ".join(query.experiments) or "all experiments"))
    if query.run_ids:
        shown = ", ".join(run_id[:8] for run_id in query.run_ids[:6])
        facts.append(("Runs asked for", shown + (" …" if len(query.run_ids) > 6 else "")))
    if query.filters:
        facts.append(("Filter", " or ".join(query.filters)))
    return facts
