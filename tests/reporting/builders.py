"""Runs, bundles and analyses made by hand, and the page taken apart."""

from __future__ import annotations

import html.parser
import json
from dataclasses import replace
from typing import Any

import numpy as np

from mlflow_dlviz.reporting import page
from mlflow_dlviz.reporting.analysis import Analysis, analyse
from mlflow_dlviz.reporting.bundle import Bundle, Query, RunData
from mlflow_dlviz.reporting.options import Options
from mlflow_dlviz.store.histories import Series

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!-- <script>",
    "{{ 7 * 7 }} ${alert(1)}",
    "\u202eright to left\u2029 and \u2028 lines",
    "🦊 emoji",
    "first line\nsecond line",
    "x" * 500,
    "' onmouseover='alert(1)",
]


def series(*values: float) -> Series:
    """One value a step, from step 0."""
    steps = np.arange(len(values))
    return Series(steps, np.array(values, float), steps)


def run_data(number: int = 0, **told: Any) -> RunData:
    """A finished run called ``run-<number>`` with a ``loss`` and a ``val_loss``."""
    usual = {
        "id": f"{number:032x}",
        "name": f"run-{number}",
        "experiment": "vision",
        "status": "FINISHED",
        "seconds": 12.0,
        "histories": {"val_loss": series(0.5, 0.25, 0.3), "loss": series(1, 2, 3)},
    }
    return RunData(**usual | told)


def bundle(*runs: RunData, **told: Any) -> Bundle:
    return Bundle(**{"query": Query("http://host", ("vision",)), "runs": runs} | told)


def analysis_of(*runs: RunData, generated: float = 0.0, options: Options | None = None, **told: Any) -> Analysis:
    """told: further fields of the bundle, or else of the options."""
    asked = {name: value for name, value in told.items() if name in Options.__dataclass_fields__}
    rest = {name: value for name, value in told.items() if name not in asked}
    return analyse(bundle(*runs, **rest), replace(options or Options(), **asked), generated=generated)


class Elements(html.parser.HTMLParser):
    """All elements with their attributes, and all text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        if self.cdata_elem == "script" and tag == "script":
            self.scripts.append((attributes, data))
        elif self.cdata_elem is None:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """What is to be read, white space as one blank."""
        return " ".join("".join(self.texts).split())

    def data(self, element: str = "data") -> Any:
        """What stands in the script element of this id; None without it."""
        found = "".join(text for attributes, text in self.scripts if attributes.get("id") == element)
        return json.loads(found) if found else None


def parse(*runs: RunData, **told: Any) -> Elements:
    return Elements(page.render(analysis_of(*runs, **told)))
