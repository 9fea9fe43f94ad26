"""A :class:`Bundle` as one HTML page. Pure: the same bundle and time give the same bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mlflow_dlviz import __version__
from mlflow_dlviz.reporting import align, charts, tables
from mlflow_dlviz.reporting.bundle import Bundle, Query, RunData

# Anything more would be too wide to read; the full names are in the tables.
_TITLE_LENGTH = 120


def render(bundle: Bundle, *, generated: float, goal: str | None = None) -> str:
    """The page of ``bundle``; ``generated``: Unix seconds; ``goal``: the metric to rank by (default: chosen)."""
    goal = goal or align.choose_goal([list(run.histories) for run in bundle.runs])
    runs = _ranked(bundle.runs, goal)
    curves = [charts.run_curves(run) for run in runs]
    labels = align.labels({run.id: run.name for run in runs})
    pictures, images = _pictures(runs)
    panels = charts.panels(runs, curves)
    page_data = {"runs": [_run_json(run, labels) for run in runs], "panels": panels, "pictures": pictures}
    return (
        _environment()
        .get_template("template.html")
        .render(
            title=_title(bundle),
            kind=_kind(bundle),
            single=len(runs) == 1,
            runs=page_data["runs"],
            best=_best(runs, curves, labels, goal),
            goal=goal,
            facts=[
                *_facts(bundle),
                ("Report", f"{tables.moment(int(generated * 1000))}, mlflow-dlviz {__version__}"),
            ],
            notes=bundle.notes,
            problems=bundle.problems,
            excluded=bundle.excluded,
            sections=_sections(len(runs), runs, pictures),
            summary=tables.summary(runs, curves, goal),
            params=tables.params(runs),
            has_curves=bool(panels),
            has_pictures=bool(pictures["strips"]),
            data=as_script_data(page_data),
            images=as_script_data(images),
            version=__version__,
            **_assets(),
        )
    )


def as_script_data(value: Any) -> Markup:
    """JSON that cannot end its own script element, whatever the strings in it hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for unsafe in "<>&\u2028\u2029":
        text = text.replace(unsafe, f"\\u{ord(unsafe):04x}")
    return Markup(text)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("mlflow_dlviz.reporting", "."), autoescape=True, undefined=StrictUndefined
    )


@cache
def _assets() -> dict[str, Markup]:
    from bokeh.resources import Resources

    parts = Resources(mode="inline", components=["bokeh", "bokeh-api"], minified=True).js_raw
    ours = "\n".join(map(_read, ("report.js", "curves.js", "pictures.js")))
    return {
        "css": Markup(_read("report.css")),
        "bokeh": Markup("\n".join(parts)),
        "script": Markup(f"(() => {{\n{ours}\n}})();"),
    }


def _read(name: str) -> str:
    return resources.files("mlflow_dlviz.reporting").joinpath(name).read_text(encoding="utf-8")


def _ranked(runs: Sequence[RunData], goal: str | None) -> list[RunData]:
    # Best first, runs without the goal last, the newest first among equals.
    def place(run: RunData) -> tuple:
        found = tables.goal_best(charts.run_curves(run), goal)
        value = 0.0 if found is None else found.value
        smaller = align.minimised(goal or "")
        return found is None, value if smaller else -value, -(run.start or 0), run.id

    return sorted(runs, key=place)


def _best(
    runs: Sequence[RunData],
    curves: Sequence[tables.Curves],
    labels: Mapping[str, str],
    goal: str | None,
) -> dict[str, Any] | None:
    found = tables.goal_best(curves[0], goal)
    if found is None:
        return None
    return {
        "label": labels[runs[0].id],
        "status": runs[0].status,
        "goal": goal,
        "value": tables.number(found.value).text,
        "step": found.step,
        "axis": charts.axis_name(runs[:1]),
        "smaller": align.minimised(goal or ""),
    }


def _title(bundle: Bundle) -> str:
    if len(bundle.runs) == 1:
        return _cut(bundle.runs[0].name or bundle.runs[0].id)
    names = list(dict.fromkeys(run.experiment for run in bundle.runs))
    return _cut(", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""))


def _cut(text: str) -> str:
    return text if len(text) <= _TITLE_LENGTH else text[: _TITLE_LENGTH - 1] + "…"


def _kind(bundle: Bundle) -> str:
    if len(bundle.runs) == 1:
        return f"Run in {_cut(bundle.runs[0].experiment)}"
    several = len({run.experiment for run in bundle.runs}) > 1
    return f"{len(bundle.runs)} runs of {'these experiments' if several else 'this experiment'}"


def _facts(bundle: Bundle) -> list[tuple[str, str]]:
    if len(bundle.runs) == 1:
        run = bundle.runs[0]
        facts = [("Run id", run.id), ("Started", tables.moment(run.start)), ("Server", bundle.query.server)]
    else:
        found = len(bundle.runs) + len(bundle.excluded)
        facts = [("Runs", f"{found} found, {len(bundle.runs)} used, {len(bundle.excluded)} left out")]
        facts += _query_facts(bundle.query)
    return [*facts, *_logged_by(bundle.runs)]


def _query_facts(query: Query) -> list[tuple[str, str]]:
    facts = [("Server", query.server)]
    if query.experiments or not query.run_ids:
        facts.append(("Asked for", ", ".join(query.experiments) or "all experiments"))
    if query.run_ids:
        shown = ", ".join(run_id[:8] for run_id in query.run_ids[:6])
        facts.append(("Runs asked for", shown + (" …" if len(query.run_ids) > 6 else "")))
    if query.filter:
        facts.append(("Filter", query.filter))
    return facts


def _logged_by(runs: Sequence[RunData]) -> list[tuple[str, str]]:
    users = sorted({run.tags["mlflow.user"] for run in runs if run.tags.get("mlflow.user")})
    return [("Logged by", _cut(", ".join(users)))] if users else []


def _sections(count: int, runs: Sequence[RunData], pictures: Mapping[str, Any]) -> list[tuple[str, str]]:
    sections = [("summary", "Summary")]
    if count > 1 or runs[0].params:
        sections.append(("params", "Parameters"))
    sections.append(("curves", "Curves"))
    if pictures["strips"]:
        sections.append(("pictures", "Pictures"))
    return sections


def _run_json(run: RunData, labels: Mapping[str, str]) -> dict[str, str]:
    return {"id": run.id, "label": labels[run.id], "experiment": run.experiment, "status": run.status}


def _pictures(runs: Sequence[RunData]) -> tuple[dict[str, Any], list[str]]:
    """What the slider needs, and each different picture once, as data URIs that the frames point to."""
    keys = sorted({frame.key for run in runs for frame in run.frames})
    steps = sorted({frame.step for run in runs for frame in run.frames})
    numbers: dict[bytes, int] = {}
    strips = []
    for place, run in enumerate(runs):
        by_key: dict[str, list] = {key: [] for key in keys}
        for frame in sorted(run.frames, key=lambda frame: (frame.key, frame.step)):
            shown = frame.reason if frame.webp is None else numbers.setdefault(frame.webp, len(numbers))
            by_key[frame.key].append([frame.step, shown])
        if run.frames:
            strips.append({"run": place, "frames": list(by_key.values())})
    axis = charts.axis_name([run for run in runs if run.frames])
    sources = ["data:image/webp;base64," + base64.b64encode(webp).decode("ascii") for webp in numbers]
    return {"keys": keys, "steps": steps, "strips": strips, "axis": axis}, sources


def generated_now(environment: Mapping[str, str], now: float) -> float:
    """``SOURCE_DATE_EPOCH`` where it is set, so that two builds of the same data are the same bytes."""
    stamp = environment.get("SOURCE_DATE_EPOCH", "")
    return float(stamp) if stamp.isdigit() else now
