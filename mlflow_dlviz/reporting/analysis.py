"""What all sections need to know of the runs, worked out once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from mlflow_dlviz.reporting import align, grouping, redaction
from mlflow_dlviz.reporting.align import Best, Curve
from mlflow_dlviz.reporting.bundle import Bundle, RunData
from mlflow_dlviz.reporting.grouping import Group
from mlflow_dlviz.reporting.options import Options, there_are
from mlflow_dlviz.store.names import is_recorded

Curves = Mapping[tuple[str, str], Curve]
"""Of one run, by (base, half): ``("loss", "val")``."""


# Compared by identity, so that what follows from it can be kept beside it.
@dataclass(frozen=True, eq=False)
class Analysis:
    """The runs of a report, best first, and what follows from the options.

    bundle: as fetched, but for the secrets; runs: its runs, best first; labels: no two alike; curves: of each
    run; goal: the metric to rank by, None without any metric; baseline: the place of the run that others are
    compared with, None for none; keys, groups: see :mod:`grouping`; generated: Unix seconds.
    """

    bundle: Bundle
    options: Options
    runs: tuple[RunData, ...]
    labels: tuple[str, ...]
    curves: tuple[Curves, ...]
    goal: str | None
    baseline: int | None
    keys: tuple[str, ...]
    groups: tuple[Group, ...]
    generated: float

    @property
    def single(self) -> bool:
        """Whether there is nothing to compare."""
        return len(self.runs) == 1

    @property
    def axis(self) -> str:
        """What the steps of the runs are."""
        return axis_name(self.runs)

    def smaller(self, metric: str) -> bool:
        """Whether smaller values of ``metric`` are better, as the user said or else by its name."""
        said = self.options.direction(metric)
        return align.minimised(metric) if said is None else said

    def counts(self, place: int) -> bool:
        """Whether the run at ``place`` goes into the figures of its group."""
        return self.runs[place].status in self.options.statuses

    def best(self, place: int, metric: str | None = None) -> Best | None:
        """The best value of ``metric`` (default: the goal) in the run at ``place``; None without a finite one."""
        metric = metric or self.goal
        curve = self.curves[place].get(align.split_half(metric)) if metric else None
        return align.best(curve, smaller=self.smaller(metric)) if curve and metric else None

    def group_of(self, place: int) -> int:
        """Which of ``groups`` the run at ``place`` is in."""
        return self._group_by_place[place]

    @cached_property
    def _group_by_place(self) -> dict[int, int]:
        return {place: number for number, group in enumerate(self.groups) for place in group.members}


Found = TypeVar("Found")


def once(work_out: Callable[[Analysis], Found]) -> Callable[[Analysis], Found]:
    """``work_out`` that is called once for an analysis, as several sections ask for it; kept as long as that."""
    kept: WeakKeyDictionary[Analysis, Found] = WeakKeyDictionary()

    @wraps(work_out)
    def asked(analysis: Analysis) -> Found:
        if analysis not in kept:
            kept[analysis] = work_out(analysis)
        return kept[analysis]

    return asked


def analyse(bundle: Bundle, options: Options, *, generated: float) -> Analysis:
    """Mask, rank, label and group the runs of ``bundle``.

    Raises ValueError if no run is, or has, what was asked for.
    """
    goal = _goal(bundle.runs, options)
    baseline = _baseline_id(bundle.runs, options)
    bundle = redaction.mask(bundle, options.redact)
    curves = {run.id: run_curves(run, options.goal) for run in bundle.runs}
    runs = _ranked(bundle.runs, curves, goal, options)
    by_id = align.labels({run.id: run.name for run in runs})
    keys = grouping.group_keys(runs, options)
    strangers = options.group_by is None and bool(grouping.varying(runs, options))
    return Analysis(
        bundle=bundle,
        options=replace(options, baseline=_baseline_shown(runs, options, baseline)),
        runs=runs,
        labels=tuple(by_id[run.id] for run in runs),
        curves=tuple(curves[run.id] for run in runs),
        goal=goal,
        baseline=_baseline(runs, options, baseline),
        keys=keys,
        groups=grouping.group(runs, keys, strangers=strangers),
        generated=generated,
    )


def run_curves(run: RunData, goal: str | None = None) -> dict[tuple[str, str], Curve]:
    """``{(base, half): Curve}`` of what ``run`` logged; goal: asked for by its name."""
    paired = align.pair_halves(run.histories, goal)
    return {place: align.clean(run.histories[metric]) for place, metric in paired.items()}


def axis_name(runs: Sequence[RunData]) -> str:
    """What the steps of ``runs`` are: only our own runs are known to count in epochs."""
    return "epoch" if all(is_recorded(run.tags) for run in runs) else "step"


def _goal(runs: Sequence[RunData], options: Options) -> str | None:
    known = sorted({metric for run in runs for metric in run.histories})
    if options.goal is not None and options.goal not in known:
        raise ValueError(f"goal={options.goal!r}: no run has it; {there_are(options.goal, known, 'metrics')}")
    if options.goal is not None:
        return options.goal
    wanted = [[metric for metric in run.histories if options.wants(metric)] for run in runs]
    return align.choose_goal(wanted)


def _ranked(
    runs: Sequence[RunData], curves: Mapping[str, Curves], goal: str | None, options: Options
) -> tuple[RunData, ...]:
    # Best first, runs without the goal last, the newest first among equals.
    if goal is None:
        return tuple(sorted(runs, key=lambda run: (-(run.start or 0), run.id)))
    said = options.direction(goal)
    smaller = align.minimised(goal) if said is None else said
    where = align.split_half(goal)

    def place(run: RunData) -> tuple:
        curve = curves[run.id].get(where)
        found = align.best(curve, smaller=smaller) if curve else None
        value = 0.0 if found is None else found.value
        return found is None, value if smaller else -value, -(run.start or 0), run.id

    return tuple(sorted(runs, key=place))


def _baseline_id(runs: Sequence[RunData], options: Options) -> str | None:
    """The id of the run that is asked for by id or name; None where it is another, or none."""
    wanted = options.baseline
    if wanted in ("", "best"):
        return None
    found = [run.id for run in runs if wanted in (run.id, run.name) or _is_start(wanted, run.id)]
    if len(found) != 1:
        how_many = "several runs are" if found else "no run is"
        raise ValueError(f"baseline={wanted!r}: {how_many} called so; expected a run's id or name, or 'best'")
    return found[0]


def _baseline(runs: Sequence[RunData], options: Options, run_id: str | None) -> int | None:
    if run_id is None:
        return 0 if options.baseline == "best" and runs else None
    return next(place for place, run in enumerate(runs) if run.id == run_id)


def _baseline_shown(runs: Sequence[RunData], options: Options, run_id: str | None) -> str:
    # Its name may hold a secret, and is then not what the run is called here.
    called = {text for run in runs if run.id == run_id for text in (run.name, run.id)}
    by_start = run_id is not None and _is_start(options.baseline, run_id)
    return options.baseline if run_id is None or by_start or options.baseline in called else run_id


def _is_start(wanted: str, run_id: str) -> bool:
    return len(wanted) >= 6 and run_id.startswith(wanted)
