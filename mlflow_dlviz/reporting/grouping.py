"""Which runs are repetitions of one another: the same params, whatever their seeds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlflow_dlviz.reporting import align
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.options import Options

ABSENT = "—"


@dataclass(frozen=True)
class Group:
    """Runs that share the values of the keys. members: places in the report's order of runs, best first."""

    label: str
    values: tuple[str, ...]
    members: tuple[int, ...]


def group_keys(runs: Sequence[RunData], options: Options) -> tuple[str, ...]:
    """The params that tell groups apart: those asked for, or all that differ, seeds aside."""
    if options.group_by is not None:
        return options.group_by
    differ = align.differing([run.params for run in runs])
    return tuple(name for name in differ if not options.is_seed(name))


def group(runs: Sequence[RunData], keys: Sequence[str]) -> tuple[Group, ...]:
    """Groups by the values of ``keys``, in the order of their first run; "1e-3" is "0.001".

    Without keys all runs are one group: they differ in nothing but perhaps their seeds.
    """
    members: dict[tuple, list[int]] = {}
    for place, run in enumerate(runs):
        members.setdefault(tuple(align.canonical(run.params.get(key)) for key in keys), []).append(place)
    found = []
    for places in members.values():
        values = tuple(runs[places[0]].params.get(key, ABSENT) for key in keys)
        label = ", ".join(f"{key.rsplit('/', 1)[-1]}={value}" for key, value in zip(keys, values, strict=True))
        found.append(Group(label or "all runs", values, tuple(places)))
    return tuple(found)
