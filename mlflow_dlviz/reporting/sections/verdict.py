"""What the page says first: what was asked for, what was found, which run and which group are best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from mlflow_dlviz import __version__
from mlflow_dlviz.reporting import standings
from mlflow_dlviz.reporting.analysis import Analysis, axis_name
from mlflow_dlviz.reporting.bundle import Bundle, Excluded, Query, RunData
from mlflow_dlviz.reporting.cells import cut, duration_words, moment, number
from mlflow_dlviz.reporting.health import alarms
from mlflow_dlviz.reporting.health.kinds import SIGNS
from mlflow_dlviz.reporting.section import Section
from mlflow_dlviz.reporting.standings import Standing
from mlflow_dlviz.reporting.statistics import Improvement
from mlflow_dlviz.words import count

# Anything more would be too wide to read; the full names are in the tables.
_TITLE_LENGTH = 120
_NAMED = 12
# By the context of a data set. Validation and test data of one run may differ.
_EVALUATION = {name: "validation" for name in ("eval", "evaluation", "validation", "val")} | {
    name: "test" for name in ("test", "testing")
}


@dataclass(frozen=True)
class LeftOut:
    """Runs that are not in the report for one ``reason``; ``more`` beyond those ``named``."""

    reason: str
    count: int
    named: tuple[str, ...]
    more: int


def build(analysis: Analysis) -> Section:
    """The page's header."""
    bundle = analysis.bundle
    values = {
        "title": title(bundle),
        "kind": _kind(bundle),
        "best": _best(analysis),
        "group": _group(analysis),
        "health": _health(analysis),
        "facts": facts(analysis),
        "notes": [*bundle.notes, *_different_data(bundle.runs)],
        "problems": bundle.problems,
        "excluded": left_out(bundle.excluded),
        "excluded_count": len(bundle.excluded),
    }
    return Section("verdict", "Verdict", values, button=False)


def title(bundle: Bundle) -> str:
    """The run's name, or those of the experiments."""
    if len(bundle.runs) == 1:
        return cut(bundle.runs[0].name or bundle.runs[0].id, _TITLE_LENGTH)
    names = list(dict.fromkeys(run.experiment for run in bundle.runs))
    return cut(", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""), _TITLE_LENGTH)


def left_out(excluded: Sequence[Excluded]) -> list[LeftOut]:
    """By reason, the most frequent first."""
    by_reason: dict[str, list[str]] = {}
    for run in excluded:
        by_reason.setdefault(run.reason, []).append(f"{run.name} ({run.id[:8]})" if run.name else run.id)
    found = [
        LeftOut(reason, len(names), tuple(names[:_NAMED]), max(0, len(names) - _NAMED))
        for reason, names in by_reason.items()
    ]
    return sorted(found, key=lambda each: -each.count)


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
        "said": analysis.options.direction(analysis.goal) is not None,
    }


def _group(analysis: Analysis) -> dict[str, Any] | None:
    """The group with the best IQM among those of two runs or more; None where there is nothing to compare."""
    if len(analysis.groups) < 2 or analysis.goal is None:
        return None
    ranked = standings.standings(analysis)
    # A group of one run is that run, which the best run has told already.
    first = next((each for each in ranked if len(each.values) > 1), None)
    if first is None:
        return None
    return {
        "label": analysis.groups[first.group].label,
        "goal": analysis.goal,
        "iqm": number(first.iqm).text,
        "interval": _interval(first.interval),
        "counted": len(first.values),
        "total": first.total,
        "chance": _chance(analysis, first, ranked),
    }


def _chance(analysis: Analysis, first: Standing, ranked: Sequence[Standing]) -> dict[str, Any] | None:
    """How sure it is that the best group beats the baseline's, or without a baseline the next best one."""
    if analysis.baseline is None:
        other, what = next(iter(ranked[ranked.index(first) + 1 :]), None), "the next best"
        found = None if other is None else standings.improvement(analysis, first, other)
    else:
        number_of = analysis.group_of(analysis.baseline)
        other, what = next(each for each in ranked if each.group == number_of), "the baseline’s"
        found = first.improvement
    if other is not None and other.group == first.group:
        return {"own": True}
    if other is None or found is None:
        return None
    return {"own": False, "what": what, "label": analysis.groups[other.group].label, **_improvement(found)}


def _improvement(found: Improvement) -> dict[str, Any]:
    bounds = None if found.low is None or found.high is None else f"{found.low:.2f} to {found.high:.2f}"
    compared = f"n = {found.n_a} and {found.n_b}{', paired by seed' if found.paired else ''}"
    few = standings.too_few(found)
    return {"probability": f"{found.probability:.2f}", "bounds": bounds, "compared": compared, "too_few": few}


def _interval(interval: Any) -> str:
    return "" if interval is None else f"{interval.low:.4g} to {interval.high:.4g}"


def _health(analysis: Analysis) -> list[dict[str, Any]]:
    """A line per kind of alarm, the worst first: how many runs, and what."""
    found = alarms.by_kind(alarms.alarms(analysis))
    return [
        {
            "title": kind.title,
            "severity": kind.severity,
            "sign": SIGNS[kind.severity],
            "runs": len({place for alarm in each for place in alarm.places}),
        }
        for kind, each in found
    ]


def facts(analysis: Analysis) -> list[tuple[str, str]]:
    """Terms and texts: what was asked for, and what the report is made from."""
    bundle = analysis.bundle
    made = f"{moment(int(analysis.generated * 1000))}, mlflow-dlviz {__version__}, MLflow {version('mlflow')}"
    report = ("Report", made)
    if analysis.single:
        run = bundle.runs[0]
        return [("Run id", run.id), ("Started", moment(run.start)), *_whence(bundle), report]
    found = len(bundle.runs) + len(bundle.excluded)
    counts = ("Runs", f"{found} found, {len(bundle.runs)} used, {len(bundle.excluded)} left out")
    baseline = [] if analysis.baseline is None else [("Baseline", analysis.labels[analysis.baseline])]
    return [counts, *query_facts(bundle.query), *baseline, *_whence(bundle), report]


def _different_data(runs: Sequence[RunData]) -> list[str]:
    """A sentence if the data sets that runs were evaluated on are known to differ."""
    digests: dict[str, set[tuple[str, ...]]] = {}
    for run in runs:
        of_run: dict[str, list[str]] = {}
        for data in run.datasets:
            if data.digest and (kind := _EVALUATION.get(data.context.lower())):
                of_run.setdefault(kind, []).append(data.digest)
        for kind, each in of_run.items():
            digests.setdefault(kind, set()).add(tuple(sorted(set(each))))
    kinds = max(map(len, digests.values()), default=0)
    words = f"Runs were evaluated on different data: {kinds} kinds; see What differs."
    return [words] if kinds > 1 else []


def _whence(bundle: Bundle) -> list[tuple[str, str]]:
    users = sorted({run.tags["mlflow.user"] for run in bundle.runs if run.tags.get("mlflow.user")})
    logged_by = [("Logged by", cut(", ".join(users), _TITLE_LENGTH))] if users else []
    return [("Server", bundle.query.server), *logged_by]


def _kind(bundle: Bundle) -> str:
    if len(bundle.runs) == 1:
        return f"Run in {cut(bundle.runs[0].experiment, _TITLE_LENGTH)}"
    several = len({run.experiment for run in bundle.runs}) > 1
    return f"{len(bundle.runs)} runs of {'these experiments' if several else 'this experiment'}"


def query_facts(query: Query) -> list[tuple[str, str]]:
    """``query`` in words; what was left as it is by default is not mentioned, but for the order."""
    found = []
    if query.experiments or not query.run_ids:
        found.append(("Experiments asked for", ", ".join(query.experiments) or "all"))
    if query.run_ids:
        shown = ", ".join(run_id[:8] for run_id in query.run_ids[:6])
        found.append(("Runs asked for", shown + (" …" if len(query.run_ids) > 6 else "")))
    if query.filters:
        found.append(("Filter", " or ".join(query.filters)))
    if query.statuses:
        found.append(("Status", " or ".join(query.statuses)))
    if query.since is not None:
        days = query.since / 86400
        words = f"{count(round(days), 'day')}" if days.is_integer() else duration_words(query.since)
        found.append(("Begun within", words))
    order = ", ".join(query.order_by) or "newest first"
    return [*found, ("Limit", f"{count(query.limit, 'run')}, {order}")]
