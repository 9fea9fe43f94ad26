"""Where everything comes from: software, commits, data sets, seeds, and how to make the page again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from importlib import metadata
from platform import python_version

from mlflow_dlviz import __version__
from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.cells import Cell, Table, cut, moment, text
from mlflow_dlviz.reporting.command import command
from mlflow_dlviz.reporting.section import Section

# Values of one kind that are told with the runs they belong to counted; of more, only how many there are.
_VALUES = 6
_LONG = 60
# Characters of a commit, an ellipsis among them.
_COMMIT = 13
_PACKAGES = ("mlflow", "bokeh", "numpy")


def build(analysis: Analysis) -> Section:
    """What is the same in all runs, a row per run for the rest, the definitions, and the command."""
    columns = {title: [value(run) for run in analysis.runs] for title, value in _sources(analysis).items()}
    values = {
        "versions": versions(),
        "common": _common(columns),
        "table": _table(analysis, columns),
        "definitions": definitions(analysis),
        "command": command(analysis.bundle.query, analysis.options),
    }
    return Section("provenance", "Provenance", values)


def versions() -> list[tuple[str, str]]:
    """What this page was made with; what the runs were made with, they say themselves."""
    found = [(name, metadata.version(name)) for name in _PACKAGES]
    return [("mlflow-dlviz", __version__), *found, ("Python", python_version())]


def definitions(analysis: Analysis) -> list[tuple[str, str]]:
    """Terms that several sections share, and what they mean here."""
    axis = analysis.axis
    found = [
        ("Steps", _steps(axis)),
        ("Repeated steps", "Of several values logged at one step, as after a resumed run, the last one stands."),
        (
            "Best",
            f"The {_better(analysis)} finite value of a run; NaN and infinities never count, and are marked where "
            "they are. Runs are ranked by it, those without the goal come last, the newest first among equals.",
        ),
        ("Direction", _direction(analysis)),
        (
            "Training and validation",
            "A metric called val_x, validation_x or eval_x is x on validation data; x and train_x are on training "
            "data, as Keras logs it: averaged over the epoch while the weights change.",
        ),
    ]
    if not analysis.single:
        found += _group_definitions(analysis)
    masked = (
        "Masked",
        "What is shown as •••••• is named like a secret, or looks like one, and is not in this file.",
    )
    return [*found, masked]


def _steps(axis: str) -> str:
    if axis == "epoch":
        return "Runs recorded by mlflow-dlviz count epochs from 0."
    return "Steps as they were logged: not all runs were recorded by mlflow-dlviz, whose steps are epochs."


def _better(analysis: Analysis) -> str:
    return "lowest" if analysis.goal is not None and analysis.smaller(analysis.goal) else "highest"


def _direction(analysis: Analysis) -> str:
    if analysis.goal is None:
        return "No metric was logged to rank runs by."
    better = "less" if analysis.smaller(analysis.goal) else "more"
    if analysis.options.direction(analysis.goal) is not None:
        return f"Of {analysis.goal}, {better} is better, as was asked for."
    return (
        f"Of {analysis.goal}, {better} is better, by its name: losses, errors, distances and times are minimised, "
        "all else is maximised. --metric NAME:min or NAME:max says otherwise."
    )


def _group_definitions(analysis: Analysis) -> list[tuple[str, str]]:
    keys = ", ".join(analysis.keys)
    groups = f"Runs with the same {keys}" if keys else "All runs: they differ in no param but seeds"
    seeds = ", ".join(analysis.options.seed_keys)
    statuses = " or ".join(analysis.options.statuses)
    return [
        (
            "Groups",
            f"{groups}. Seeds are params called {seeds}, whatever stands before the last dot or slash.",
        ),
        (
            "Runs that count",
            f"In figures of groups, runs that are {statuses} and whose goal ended finite; the others are counted "
            "beside them.",
        ),
    ]


def _sources(analysis: Analysis) -> Mapping[str, Callable[[RunData], str]]:
    def tag(name: str) -> Callable[[RunData], str]:
        return lambda run: run.tags.get(name, "")

    return {
        "Experiment": lambda run: run.experiment,
        "Started": lambda run: moment(run.start) if run.start is not None else "",
        "Seeds": lambda run: _seeds(analysis, run),
        "Data sets": _datasets,
        "Source": tag("mlflow.source.name"),
        "Commit": tag("mlflow.source.git.commit"),
        "User": tag("mlflow.user"),
        "Trained with": tag("dlviz.versions"),
        "Recorded": tag("dlviz.status"),
    }


def _seeds(analysis: Analysis, run: RunData) -> str:
    return ", ".join(f"{name}={run.params[name]}" for name in sorted(run.params) if analysis.options.is_seed(name))


def _datasets(run: RunData) -> str:
    told = [f"{data.name} {data.digest}{f' ({data.context})' if data.context else ''}" for data in run.datasets]
    return ", ".join(told)


def _common(columns: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """What is told once: values that few enough runs differ in, with how many have each."""
    found = []
    for title, values in columns.items():
        counts = Counter(value for value in values if value)
        if len(counts) == 1 and len(values) == counts.total():
            found.append((title, next(iter(counts))))
        elif counts and title in ("Commit", "User", "Source", "Data sets"):
            length = _COMMIT if title == "Commit" else _LONG
            first = counts.most_common(_VALUES)
            told = [f"{cut(value, length)} ({number} of {len(values)} runs)" for value, number in first]
            more = [f"{len(counts) - _VALUES} more"] if len(counts) > _VALUES else []
            found.append((title, "; ".join(told + more)))
    return found


def _table(analysis: Analysis, columns: Mapping[str, list[str]]) -> Table | None:
    """A row per run with its id and what is not the same in all; None for a run alone."""
    if analysis.single:
        return None
    differ = [title for title, values in columns.items() if len(set(values)) > 1]
    rows = tuple(
        (Cell(run.id, run.id), *(text(columns[title][place] or None) for title in differ))
        for place, run in enumerate(analysis.runs)
    )
    return Table(("Run id", *differ), rows)
