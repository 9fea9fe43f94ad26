"""What differs between the runs, and nothing else; of a run alone, all its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.cells import Cell, Table, text
from mlflow_dlviz.reporting.section import Section

MOST_COLUMNS = 40
"""Of one kind; the rest is named, not shown."""

_NAMED = 30
# Of MLflow's own tags these say something of how a run came about; the rest differs from run to run anyway.
_TOLD = {
    "mlflow.source.name": "source",
    "mlflow.source.type": "source type",
    "mlflow.user": "user",
    "dlviz.status": "recording",
}
_COMMIT = "mlflow.source.git.commit"
_GIT = {"mlflow.source.git.branch": "branch", "mlflow.source.git.repoURL": "repository"}
# Written by MLflow and by us, and told above where they say something.
_BOOKKEEPING = ("mlflow.", "dlviz.")


@dataclass(frozen=True)
class Part:
    """The columns of one kind: "Params", say. left_out: names of those beyond the limit."""

    title: str
    table: Table
    left_out: tuple[str, ...]


def build(analysis: Analysis) -> Section:
    """What differs, by kind."""
    if analysis.single:
        table = params(analysis)
        reason = "" if table.heads else "the run has no parameters"
        return Section("differences", "Parameters", {"table": table}, reason=reason)
    found = parts(analysis)
    told = {part.title: _more(part.left_out) for part in found}
    return Section("differences", "What differs", {"parts": found, "more": told, "kinds": KINDS})


KINDS = ("Params", "Tags", "Data sets", "Code", "Environment")
"""In the order of the page."""


def params(analysis: Analysis) -> Table:
    """The params that differ between runs; for a single run, all of them."""
    shown = [run.params for run in analysis.runs]
    names = sorted(shown[0]) if analysis.single else _names(shown)
    return _table(names, shown)


def parts(analysis: Analysis) -> list[Part]:
    """The kinds of things in which runs differ, each with those that do."""
    found = []
    for title, told in zip(KINDS, (_params, _user_tags, _datasets, _code, _environment), strict=True):
        values = [told(run) for run in analysis.runs]
        names = _names(values)
        if names:
            found.append(Part(title, _table(names[:MOST_COLUMNS], values), tuple(names[MOST_COLUMNS:])))
    return found


def _names(values: Sequence[Mapping[str, str]]) -> list[str]:
    """What differs, first what most runs have: one run of another tool may have more than there is room for."""
    return sorted(align.differing(values), key=lambda name: (-sum(name in each for each in values), name))


def _table(names: Iterable[str], values: Sequence[Mapping[str, str]]) -> Table:
    names = tuple(names)
    return Table(names, tuple(tuple(_cell(run.get(name)) for name in names) for run in values))


def _cell(value: str | None) -> Cell:
    return Cell("—", title="not set") if value is None else text(value)


def _params(run: RunData) -> Mapping[str, str]:
    return run.params


def _user_tags(run: RunData) -> Mapping[str, str]:
    return {name: value for name, value in run.tags.items() if not name.startswith(_BOOKKEEPING)}


def _datasets(run: RunData) -> Mapping[str, str]:
    found: dict[str, list[str]] = {}
    for data in run.datasets:
        digest = f" ({data.digest})" if data.digest else ""
        found.setdefault(data.context or "data set", []).append(f"{data.name}{digest}")
    return {context: ", ".join(sorted(names)) for context, names in found.items()}


def _code(run: RunData) -> Mapping[str, str]:
    commit = {"commit": run.tags[_COMMIT][:12]} if run.tags.get(_COMMIT) else {}
    return commit | {title: run.tags[name] for name, title in _GIT.items() if run.tags.get(name)}


def _environment(run: RunData) -> Mapping[str, str]:
    told = {title: run.tags[name] for name, title in _TOLD.items() if run.tags.get(name)}
    versions = (each.partition(" ") for each in run.tags.get("dlviz.versions", "").split(", ") if each)
    return {"experiment": run.experiment} | told | {f"{name} version": version for name, _, version in versions}


def _more(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
