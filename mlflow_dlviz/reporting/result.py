"""A finished report: to be saved, logged, shown in a notebook, or taken apart for other tools."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.bundle import Bundle
from mlflow_dlviz.reporting.exports.files import write_text
from mlflow_dlviz.store import reports
from mlflow_dlviz.words import count

NEW = "new"


@dataclass(frozen=True, repr=False)
class Report:
    """A finished page and what it shows.

    tracking_uri: where its runs were read; experiment: that in which :meth:`log` makes a run; read: how much was
    asked of the server, such as ``{"metrics": 12, "pictures": 30}``: what was not came from the cache.
    """

    html: str
    analysis: Analysis
    tracking_uri: str
    experiment: str
    read: Mapping[str, int] = field(default_factory=dict)

    @property
    def bundle(self) -> Bundle:
        """The runs as fetched."""
        return self.analysis.bundle

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read; empty when the report is complete."""
        return self.bundle.problems

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to ``path``, all of it or nothing; returns the path."""
        return write_text(path, self.html)

    def log(self, run: str = NEW, *, name: str = "report.html", quiet: bool = False) -> str:
        """Log the page to MLflow, to the run with the id ``run`` or to a new one, and print the link to it.

        A new run is made in the experiment asked for first, and tagged ``dlviz.report``: later reports leave it
        out. name: of the file; where the run has a ``report.html`` of its own, that becomes ``comparison.html``.
        Returns the id of the run. Raises ValueError if there is no such run, and what MLflow raises when the
        file can't be sent.
        """
        content = self.html.encode("utf-8", "replace")
        if run == NEW:
            logged = reports.log_to_new_run(self.tracking_uri, self.experiment, content, name)
        else:
            logged = reports.log_to_run(self.tracking_uri, run, content, name)
        if not quiet:
            print(f"logged to {logged.link}")
        return logged.run_id

    def to_csv(self, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write ``runs.csv``, ``metrics.csv`` and ``groups.csv`` to ``folder``, every digit kept; their paths."""
        from mlflow_dlviz.reporting.exports.csv_tables import write_csv

        return write_csv(self.analysis, folder)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """The verdict and the tables as Markdown; given a ``path``, written there too."""
        from mlflow_dlviz.reporting.exports.markdown import markdown

        text = markdown(self.analysis)
        if path is not None:
            write_text(path, text)
        return text

    def to_png(self, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write a picture of each main metric, and one of the groups where there are any; their paths."""
        from mlflow_dlviz.reporting.exports.pictures import write_pictures

        return write_pictures(self.analysis, folder)

    def __repr__(self) -> str:
        runs = count(len(self.analysis.runs), "run")
        return f"<Report of {runs}, {len(self.html) / 1e6:.1f} MB; save(path) writes it>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts" title="mlflow-dlviz report" '
            'style="width:100%;height:760px;border:0"></iframe>'
        )
