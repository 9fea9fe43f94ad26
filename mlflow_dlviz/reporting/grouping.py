"""Which runs are repetitions of one another: the same params, whatever their seeds. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from mlflow_dlviz.reporting import align, redaction
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.options import Options

ABSENT = "—"
_EXPERIMENT = "experiment"
_LISTED = 20
_WITHOUT = 3


@dataclass(frozen=True)
class Group:
    """Runs that share the values of the keys. members: places in the report's order of runs, best first."""

    label: str
    values: tuple[str, ...]
    members: tuple[int, ...]


def group_keys(runs: Sequence[RunData], options: Options) -> tuple[str, ...]:
    """What tells groups apart: what was asked for, or of all params that vary those that do not go together.

    Asked for may be params, ``params.<name>``, ``tags.<name>`` and "experiment". Raises ValueError for what no run
    has.
    """
    params = [run.params for run in runs]
    if options.group_by is None:
        # Where nothing else tells runs apart, it is what a single one has and others have not.
        found = sorted({*varying(runs, options), *_had_by_some(runs, options)})
        return _told_once(runs, found or _wanted(align.differing(params), params, options))
    unknown = [key for key in options.group_by if all(value_of(run, key) is None for run in runs)]
    if unknown:
        known = sorted({name for run in runs for name in run.params})
        listed = ", ".join(known[:_LISTED]) + (" …" if len(known) > _LISTED else "")
        there = f"there are the params {listed}" if known else "the runs have no params"
        asked = ", ".join(map(repr, unknown))
        raise ValueError(f"group_by={asked}: no run has it; {there}, 'experiment' and tags as 'tags.<name>'")
    return options.group_by


def varying(runs: Sequence[RunData], options: Options) -> tuple[str, ...]:
    """Params with two values or more among the runs that have them, seeds and masked ones aside.

    What a single run has, as a run of another tool has much, says nothing of how the others differ.
    """
    known: dict[str, list[str]] = {}
    for run in runs:
        for name, value in run.params.items():
            known.setdefault(name, []).append(value)
    several = [name for name, values in sorted(known.items()) if len(set(map(align.canonical, values))) > 1]
    return _wanted(several, [run.params for run in runs], options)


def _had_by_some(runs: Sequence[RunData], options: Options) -> tuple[str, ...]:
    """Params that two runs or more have and others lack: without dropout is no repetition of with it."""
    counts = Counter(name for run in runs for name in run.params)
    names = [name for name, count in sorted(counts.items()) if 1 < count < len(runs)]
    return _wanted(names, [run.params for run in runs], options)


def _wanted(names: Sequence[str], params: Sequence[Mapping[str, str]], options: Options) -> tuple[str, ...]:
    """``names`` without seeds and masked ones: whose key was used is no difference between experiments."""
    masked = {name for of_run in params for name, value in of_run.items() if redaction.is_masked(value)}
    return tuple(name for name in names if name not in masked and not options.is_seed(name))


def _told_once(runs: Sequence[RunData], names: Sequence[str]) -> tuple[str, ...]:
    """``names`` in their order; of those that part the runs in the same way the shortest."""
    chosen: dict[Hashable, str] = {}
    for name in sorted(names, key=lambda name: (len(name), name)):
        numbers: dict[object, int] = {}
        values = (align.canonical(run.params.get(name)) for run in runs)
        chosen.setdefault(tuple(numbers.setdefault(value, len(numbers)) for value in values), name)
    return tuple(sorted(chosen.values()))


def value_of(run: RunData, key: str) -> str | None:
    """What ``run`` has for a key of groups: a param of this name before anything else."""
    if key in run.params:
        return run.params[key]
    kind, _, name = key.partition(".")
    if name and kind in ("params", "tags"):
        return {"params": run.params, "tags": run.tags}[kind].get(name)
    return run.experiment if key == _EXPERIMENT else None


def group(runs: Sequence[RunData], keys: Sequence[str], *, strangers: bool = False) -> tuple[Group, ...]:
    """Groups by the values of ``keys``, in the order of their first run; "1e-3" is "0.001".

    Without keys all runs are one group: they differ in nothing but perhaps their seeds. A label leaves out what
    the group's runs have not, and what all groups share. strangers: whether runs without any of the keys are each
    a group, as what they differ in is not known.
    """
    members: dict[tuple[tuple, str], list[int]] = {}
    for place, run in enumerate(runs):
        values = tuple(align.canonical(value_of(run, key)) for key in keys)
        strange = strangers and bool(keys) and set(values) == {None}
        members.setdefault((values, run.id if strange else ""), []).append(place)
    by_key = zip(*(values for values, _ in members), strict=True)
    apart = [len(members) < 2 or len(set(values)) > 1 for values in by_key]
    names = [name if told else "" for name, told in zip(_short_names(keys), apart, strict=True)]
    called = align.labels({run.id: run.name for run in runs})
    found = []
    for (_, stranger), places in members.items():
        told = [value_of(runs[places[0]], key) for key in keys]
        shown = tuple(ABSENT if value is None else value for value in told)
        label = _label(names, told)
        found.append(Group(f"{called[stranger]}, {label}" if stranger else label, shown, tuple(places)))
    return tuple(found)


def _label(names: Sequence[str], values: Sequence[str | None]) -> str:
    """names: "" for those that are not told."""
    told = [(name, value) for name, value in zip(names, values, strict=True) if name]
    known = ", ".join(f"{name}={value}" for name, value in told if value is not None)
    if known or not told:
        return known or "all runs"
    more = f" and {len(told) - _WITHOUT} more" if len(told) > _WITHOUT else ""
    return f"without {', '.join(name for name, _ in told[:_WITHOUT])}{more}"


def _short_names(keys: Sequence[str]) -> list[str]:
    """What stands after the last slash, where that is enough to tell the keys apart."""
    short = [key.rsplit("/", 1)[-1] or key for key in keys]
    counts = Counter(short)
    return [name if counts[name] == 1 else key for name, key in zip(short, keys, strict=True)]
