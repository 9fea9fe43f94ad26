"""Which runs are repetitions of one another: the same params, whatever their seeds. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.options import Options

ABSENT = "—"
_EXPERIMENT = "experiment"
_LISTED = 20


@dataclass(frozen=True)
class Group:
    """Runs that share the values of the keys. members: places in the report's order of runs, best first."""

    label: str
    values: tuple[str, ...]
    members: tuple[int, ...]


def group_keys(runs: Sequence[RunData], options: Options) -> tuple[str, ...]:
    """What tells groups apart: what was asked for, or all params that differ, seeds aside.

    Asked for may be params, ``params.<name>``, ``tags.<name>`` and "experiment". Raises ValueError for what no run
    has.
    """
    if options.group_by is None:
        differ = align.differing([run.params for run in runs])
        return tuple(name for name in differ if not options.is_seed(name))
    unknown = [key for key in options.group_by if all(value_of(run, key) is None for run in runs)]
    if unknown:
        known = sorted({name for run in runs for name in run.params})
        listed = ", ".join(known[:_LISTED]) + (" …" if len(known) > _LISTED else "")
        there = f"there are the params {listed}" if known else "the runs have no params"
        asked = ", ".join(map(repr, unknown))
        raise ValueError(f"group_by={asked}: no run has it; {there}, 'experiment' and tags as 'tags.<name>'")
    return options.group_by


def value_of(run: RunData, key: str) -> str | None:
    """What ``run`` has for a key of groups: a param of this name before anything else."""
    if key in run.params:
        return run.params[key]
    kind, _, name = key.partition(".")
    if name and kind in ("params", "tags"):
        return {"params": run.params, "tags": run.tags}[kind].get(name)
    return run.experiment if key == _EXPERIMENT else None


def group(runs: Sequence[RunData], keys: Sequence[str]) -> tuple[Group, ...]:
    """Groups by the values of ``keys``, in the order of their first run; "1e-3" is "0.001".

    Without keys all runs are one group: they differ in nothing but perhaps their seeds.
    """
    members: dict[tuple, list[int]] = {}
    for place, run in enumerate(runs):
        members.setdefault(tuple(align.canonical(value_of(run, key)) for key in keys), []).append(place)
    names = _short_names(keys)
    found = []
    for places in members.values():
        told = [value_of(runs[places[0]], key) for key in keys]
        values = tuple(ABSENT if value is None else value for value in told)
        label = ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
        found.append(Group(label or "all runs", values, tuple(places)))
    return tuple(found)


def _short_names(keys: Sequence[str]) -> list[str]:
    """What stands after the last slash, where that is enough to tell the keys apart."""
    short = [key.rsplit("/", 1)[-1] or key for key in keys]
    counts = Counter(short)
    return [name if counts[name] == 1 else key for name, key in zip(short, keys, strict=True)]
