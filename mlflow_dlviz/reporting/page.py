"""An :class:`Analysis` as one HTML page. Pure: the same analysis gives the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mlflow_dlviz import __version__
from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.section import Section
from mlflow_dlviz.reporting.sections import (
    curves,
    differences,
    distributions,
    groups,
    health,
    pictures,
    provenance,
    sweep,
    table,
    verdict,
)

SECTIONS = (
    verdict,
    table,
    differences,
    curves,
    groups,
    sweep,
    pictures,
    distributions,
    health,
    provenance,
)
"""In the order of the page; each has a ``build(analysis) -> Section``."""

# What the macro "how" writes.
_HOW = re.compile(r'<p class="how"><span aria-hidden="true">ƒ</span> (.*?)</p>', re.DOTALL)
# Scripts and styles that those of the sections rest on, in order.
_SHARED = ("page", "tables", "numbers", "charts", "series", "curves_drawn", "curves_panel", "curves_hover")


def render(analysis: Analysis) -> str:
    """The page."""
    sections = [part.build(analysis) for part in SECTIONS]
    shown = [section for section in sections if not section.reason]
    runs = [_run_json(analysis, place) for place in range(len(analysis.runs))]
    # Filled as the sections are rendered; the last one, provenance, tells how all of them were computed.
    method: list[tuple[str, list[Markup]]] = []
    common = {"runs": runs, "single": analysis.single, "analysis": analysis, "method": method}
    bodies = []
    for section in shown:
        bodies.append((section, body := _body(section, common)))
        if said := [Markup(text) for text in _HOW.findall(body)]:
            method.append((section.title, said))
    return (
        _environment()
        .get_template("page.html")
        .render(
            sections=bodies,
            absent=[section for section in sections if section.reason],
            title=sections[0].values["title"],
            data=as_script_data({"runs": runs}),
            section_data={section.id: as_script_data(section.data) for section in shown if section.data},
            version=__version__,
            **common,
            **_assets(),
        )
    )


def as_script_data(value: Any) -> Markup:
    """JSON that cannot end its own script element, whatever the strings in it hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for unsafe in "<>&\u2028\u2029":
        if unsafe in text:
            text = text.replace(unsafe, f"\\u{ord(unsafe):04x}")
    return Markup(text)


def _body(section: Section, common: Mapping[str, Any]) -> Markup:
    template = _environment().get_template(f"{section.id}.html")
    return Markup(template.render(section=section, **common, **section.values))


def _run_json(analysis: Analysis, place: int) -> dict[str, Any]:
    run = analysis.runs[place]
    return {
        "id": run.id,
        "label": analysis.labels[place],
        "experiment": run.experiment,
        "status": run.status,
        "group": analysis.group_of(place),
    }


@cache
def _environment() -> Environment:
    loader = PackageLoader("mlflow_dlviz.reporting", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


@cache
def _assets() -> dict[str, Markup]:
    from bokeh.resources import Resources

    parts = Resources(mode="inline", components=["bokeh", "bokeh-api"], minified=True).js_raw
    names = [*_SHARED, *(part.__name__.rsplit(".", 1)[-1] for part in SECTIONS)]
    ours = "\n".join(_read("scripts", f"{name}.js") for name in names)
    return {
        "css": Markup("\n".join(_read("styles", f"{name}.css") for name in names)),
        "bokeh": Markup("\n".join(parts)),
        "script": Markup(f"(() => {{\n{ours}\n}})();"),
    }


def _read(folder: str, name: str) -> str:
    """The content of a file of ours, "" where a section needs none."""
    path = resources.files("mlflow_dlviz.reporting").joinpath(folder, name)
    return _lean(path.read_text(encoding="utf-8")) if path.is_file() else ""


def _lean(code: str) -> str:
    """``code`` without indentation and comment: less in every page. No text in it goes over several lines."""
    lines = (line.strip() for line in code.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def generated_now(environment: Mapping[str, str], now: float) -> float:
    """``SOURCE_DATE_EPOCH`` where it is set, so that two builds of the same data are the same bytes."""
    stamp = environment.get("SOURCE_DATE_EPOCH", "")
    return float(stamp) if stamp.isdigit() else now
