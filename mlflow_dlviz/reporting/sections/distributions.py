"""Distributions: how the predicted probabilities of the runs spread, and how far they can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_dlviz.reporting import bands, encode
from mlflow_dlviz.reporting.analysis import Analysis, axis_name
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.distributions import (
    Course,
    calibration_error,
    course,
    join,
    joinable,
    joined_bins,
    mean_scores,
    quantiles,
)
from mlflow_dlviz.reporting.pictures import thin
from mlflow_dlviz.reporting.section import Section

MAX_VALUES = 400_000
"""Numbers in one page: about 2 MB."""

_VISUAL = "probabilities"
_NEEDED = "needs runs logged with mlflow_dlviz whose network predicts classes or labels"

# (classes, epochs) at most, tried in this order until the numbers fit; then the best runs that do.
_PLANS = ((12, 10_000), (12, 20), (6, 20), (6, 10), (3, 10), (0, 20), (0, 10), (0, 5), (0, 2))


@dataclass(frozen=True)
class Leaf:
    """One output of the runs that have it, best first.

    courses: by the run's place; bins: shown; names: classes or labels to choose from; notes: what is left out.
    """

    name: str
    courses: Mapping[int, Course]
    bins: int
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def values(self, classes: int, epochs: int) -> int:
        """How many numbers of each it takes to show so many classes and epochs at most."""
        frames = sum(min(epochs, len(each.epochs)) for each in self.courses.values())
        return frames * (1 + min(classes, len(self.names))) * (3 * self.bins + 3)


def build(analysis: Analysis) -> Section:
    """Histograms, reliability, calibration error and quartiles of each output that predicts classes."""
    found = leaves(analysis.runs)
    if not found:
        return Section("distributions", "Distributions", reason=_NEEDED)
    shown, classes, epochs = fit(found, MAX_VALUES)
    axis = axis_name([analysis.runs[place] for leaf in shown for place in leaf.courses])
    counted = {place for members in bands.counted(analysis) for place in members}
    data = {
        "axis": axis,
        "groups": [group.label for group in analysis.groups],
        "counted": [place in counted for place in range(len(analysis.runs))],
        "leaves": [_leaf_json(leaf, classes, epochs) for leaf in shown],
    }
    stored = sorted({each.bins for leaf in shown for each in leaf.courses.values()})
    values = {
        "axis": axis,
        "bins": " or ".join(str(bins) for bins in sorted({leaf.bins for leaf in shown})),
        "stored": " or ".join(map(str, stored)),
        "within": f"{0.5 / stored[0]:.2g}",
    }
    return Section("distributions", "Distributions", values, data)


def leaves(runs: Sequence[RunData]) -> list[Leaf]:
    """The outputs that most runs have first, the validation set before the training set."""
    by_name: dict[str, dict[int, Course]] = {}
    for place, run in enumerate(runs):
        for name, frames in run.numbers.get(_VISUAL, {}).items():
            if (found := course(frames)) is not None:
                by_name.setdefault(name, {})[place] = found
    order = sorted(by_name, key=lambda name: (-len(by_name[name]), not name.startswith("validation"), name))
    return [_leaf(name, by_name[name]) for name in order]


def fit(found: Sequence[Leaf], most: int) -> tuple[list[Leaf], int, int]:
    """The leaves, and how many classes and epochs of each, so that there are at most ``most`` numbers.

    First some classes and epochs go, evenly, then all single classes, then more epochs, then runs, the best ones
    staying.
    """
    for classes, epochs in _PLANS:
        if sum(leaf.values(classes, epochs) for leaf in found) <= most:
            return list(found), classes, epochs
    each = most // len(found)
    return [_best_runs(leaf, each // (leaf.values(0, 2) // len(leaf.courses) + 1), 2) for leaf in found], 0, 2


def _best_runs(leaf: Leaf, count: int, epochs: int) -> Leaf:
    kept = dict(list(leaf.courses.items())[: max(1, count)])
    if len(kept) == len(leaf.courses):
        return leaf
    note = f"The best {len(kept)} of {len(leaf.courses)} runs that have these numbers, to keep the page small."
    return Leaf(leaf.name, kept, leaf.bins, leaf.names, (*leaf.notes, note))


def _leaf(name: str, courses: Mapping[int, Course]) -> Leaf:
    sizes = [each.bins for each in courses.values()]
    together = joinable(sizes)
    kept = {place: each for (place, each), fits in zip(courses.items(), together, strict=True) if fits}
    notes = []
    if len(kept) < len(courses):
        lost = len(courses) - len(kept)
        notes.append(f"{lost} of {len(courses)} runs counted in bins that cannot be joined with the others'.")
    if unusable := sum(each.unusable for each in kept.values()):
        notes.append(f"{unusable} stored histograms are of other classes than their run's last, or damaged.")
    bins = joined_bins([each.bins for each in kept.values()])
    return Leaf(name, kept, bins, _frequent(kept.values()), tuple(notes))


def _frequent(courses: Iterable[Course]) -> tuple[str, ...]:
    """Names of all classes, those with most samples at the runs' last epochs first."""
    sizes: Counter[str] = Counter()
    for each in courses:
        own = each.counts[-1][:, 1].sum(-1).tolist()
        for name, size in zip(each.names, own, strict=True):
            sizes[name] += size
    return tuple(sorted(sizes, key=lambda name: -sizes[name]))


def _leaf_json(leaf: Leaf, classes: int, epochs: int) -> dict[str, Any]:
    several = len(leaf.names) > 1
    # The order of the classes is that of the best run.
    frequent = set(leaf.names[:classes]) if several else set()
    order = dict.fromkeys(name for each in leaf.courses.values() for name in each.names)
    chosen = [name for name in order if name in frequent]
    kind = "labels" if any(each.multilabel for each in leaf.courses.values()) else "classes"
    return {
        "name": leaf.name,
        "bins": leaf.bins,
        "kind": kind,
        "names": chosen,
        "notes": [*leaf.notes, *_thinned(leaf, len(chosen), epochs, kind)],
        "runs": [
            {"run": place, **_run_json(each, thin(each.epochs, epochs), chosen, leaf.bins)}
            for place, each in leaf.courses.items()
        ],
    }


def _thinned(leaf: Leaf, chosen: int, epochs: int, kind: str) -> list[str]:
    notes = []
    if 0 < chosen < len(leaf.names):
        notes.append(f"Of {len(leaf.names)} {kind} the {chosen} with most samples can be chosen.")
    elif not chosen and len(leaf.names) > 1:
        notes.append(f"Single {kind} are left out, to keep the page small.")
    if any(len(each.epochs) > epochs for each in leaf.courses.values()):
        notes.append(f"Epochs are thinned out evenly, to {epochs} of each run.")
    return notes


def _run_json(found: Course, epochs: Sequence[int], names: Sequence[str], bins: int) -> dict[str, Any]:
    """One run: of all classes together and then of each of ``names``, S · C · (…) numbers in that order.

    values: 3 · b: shares are left to the page, so counts of other samples and of own ones, and mean scores;
    spread: calibration error, lower quartile and median of the own samples' scores.
    """
    counts = found.stack(epochs)
    views = np.concatenate([counts.sum(1, keepdims=True), _classes(counts, found.names, names)], axis=1)
    values = np.stack([*np.moveaxis(join(views, bins), 2, 0), mean_scores(views.sum(2), bins)], axis=2)
    errors = calibration_error(views, bins)
    errors[:, 0] = calibration_error(counts, bins).mean(1)
    own = views[:, :, 1]
    spread = np.stack([errors, quantiles(own, 0.25), quantiles(own, 0.5)], axis=2)
    return {"epochs": list(epochs), "values": encode.floats(values), "spread": encode.floats(spread)}


def _classes(counts: np.ndarray, known: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """The counts of ``names``, (S, C, 2, B); NaN where the run does not know one."""
    absent = np.full((len(counts), *counts.shape[2:]), np.nan)
    columns = [counts[:, known.index(name)] if name in known else absent for name in names]
    return np.stack(columns, axis=1) if columns else counts[:, :0]
