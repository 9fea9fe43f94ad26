"""What goes when a page is too large even with its curves shortened: the worst groups of runs. Pure."""

from __future__ import annotations

from dataclasses import replace

from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.bundle import Bundle, Excluded
from mlflow_dlviz.reporting.pictures import embedded_size

# How far a page may be off the limit, which its curves are laid out for by an estimate of the rest.
_SLACK = 1.05


def pictures_size(analysis: Analysis) -> int:
    """Bytes of a page that are pictures, each different one once."""
    found = {frame.webp for run in analysis.runs for frame in run.frames if frame.webp}
    return sum(map(embedded_size, found))


def smaller(bundle: Bundle, analysis: Analysis, size: int) -> Bundle | None:
    """``bundle`` with fewer runs, for a page of ``size`` bytes beside its pictures; None where that fits.

    Whole groups go, the worst first, so that no group's figures are of its better runs alone; never the best one
    nor the baseline's. Runs go where no groups were asked for. Where none can go, that is noted.
    """
    limit = analysis.options.max_mb * 1e6
    if size <= _SLACK * limit:
        return None
    kept = _kept(analysis, int(len(analysis.runs) * 0.95 * limit / size))
    gone = [run for run in analysis.runs if run.id not in kept]
    allowed = f"the {analysis.options.max_mb:g} MB of --max-mb"
    if not gone:
        note = f"The page takes more than {allowed}: no run could be left out."
        return None if note in bundle.notes else replace(bundle, notes=(*bundle.notes, note))
    by = f"worst by {analysis.goal}" if analysis.goal else "oldest"
    worst = f"the groups that are {by}" if analysis.options.group_by != () else f"the {by}"
    note = f"{len(gone)} runs, {worst}, are left out to keep the page within {allowed}."
    return replace(
        bundle,
        runs=tuple(run for run in bundle.runs if run.id in kept),
        excluded=(*bundle.excluded, *(Excluded(run.id, run.name, f"beyond {allowed}") for run in gone)),
        notes=(*bundle.notes, note),
    )


def _kept(analysis: Analysis, most: int) -> set[str]:
    """The ids of the runs of as many groups as have at most so many runs."""
    groups = [group.members for group in analysis.groups]
    if analysis.options.group_by == ():
        groups = [(place,) for place in range(len(analysis.runs))]
    needed = {number for number, members in enumerate(groups) if not number or analysis.baseline in members}
    order = sorted(range(len(groups)), key=lambda number: number not in needed)
    kept: set[str] = set()
    for number in order:
        members = {analysis.runs[place].id for place in groups[number]}
        if number not in needed and len(kept) + len(members) > most:
            break
        kept |= members
    return kept
