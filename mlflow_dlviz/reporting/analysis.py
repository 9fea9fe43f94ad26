"""What all sections need to know of the runs, worked out once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow_dlviz.reporting import align, grouping, redaction
from mlflow_dlviz.reporting.align import Best, Curve
from mlflow_dlviz.reporting.bundle import Bundle, RunData
from mlflow_dlviz.reporting.grouping import Group
from mlflow_dlviz.reporting.options import Options

Curves = Mapping[tuple[str, str], Curve]
"""Of one run, by (base, half): ``("loss", "val")``."""


@dataclass(frozen=True)
class Analysis:
    """The runs of a report, best first, and what follows from the options.

    bundle: as fetched, secrets and all, for its query and notes; runs: secrets masked; labels: no two alike;
    curves: of each run; goal: the metric to rank by, None without any metric; baseline: the place of the run that
    others are compared with, None for none; keys, groups: see :mod:`grouping`; generated: Unix seconds.
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
        return next(number for number, group in enumerate(self.groups) if place in group.members)


def analyse(bundle: Bundle, options: Options, *, generated: float) -> Analysis:
    """Rank, label and group the runs of ``bundle``. Raises ValueError if no run is, or has, what was asked for."""
    goal = _goal(bundle.runs, options)
    runs = redaction.mask(_ranked(bundle.runs, goal, options), options.redact)
    by_id = align.labels({run.id: run.name for run in runs})
    keys = grouping.group_keys(runs, options)
    return Analysis(
        bundle=bundle,
        options=options,
        runs=runs,
        labels=tuple(by_id[run.id] for run in runs),
        curves=tuple(run_curves(run) for run in runs),
        goal=goal,
        baseline=_baseline(runs, options),
        keys=keys,
        groups=grouping.group(runs, keys),
        generated=generated,
    )


def run_curves(run: RunData) -> dict[tuple[str, str], Curve]:
    """``{(base, half): Curve}`` of what ``run`` logged."""
    return {
        place: align.clean(run.histories[metric]) for place, metric in align.pair_halves(run.histories).items()
    }


def axis_name(runs: Sequence[RunData]) -> str:
    """What the steps of ``runs`` are: only our own runs are known to count in epochs."""
    return "epoch" if all("dlviz.status" in run.tags for run in runs) else "step"


def _goal(runs: Sequence[RunData], options: Options) -> str | None:
    known = sorted({metric for run in runs for metric in run.histories})
    if options.goal is not None and options.goal not in known:
        listed = ", ".join(known[:20]) or "no metrics"
        raise ValueError(f"goal={options.goal!r}: no run has it; there are {listed}")
    if options.goal is not None:
        return options.goal
    wanted = [[metric for metric in run.histories if options.wants(metric)] for run in runs]
    return align.choose_goal(wanted)


def _ranked(runs: Sequence[RunData], goal: str | None, options: Options) -> list[RunData]:
    # Best first, runs without the goal last, the newest first among equals.
    said = options.direction(goal) if goal else None
    smaller = align.minimised(goal or "") if said is None else said

    def place(run: RunData) -> tuple:
        series = run.histories.get(goal) if goal else None
        found = align.best(align.clean(series), smaller=smaller) if series else None
        value = 0.0 if found is None else found.value
        return found is None, value if smaller else -value, -(run.start or 0), run.id

    return sorted(runs, key=place)


def _baseline(runs: Sequence[RunData], options: Options) -> int | None:
    wanted = options.baseline
    if not wanted:
        return None
    if wanted == "best":
        return 0
    found = [place for place, run in enumerate(runs) if wanted in (run.id, run.name) or _is_start(wanted, run.id)]
    if len(found) != 1:
        how_many = "several runs are" if found else "no run is"
        raise ValueError(f"baseline={wanted!r}: {how_many} called so; expected a run's id or name, or 'best'")
    return found[0]


def _is_start(wanted: str, run_id: str) -> bool:
    return len(wanted) >= 6 and run_id.startswith(wanted)
