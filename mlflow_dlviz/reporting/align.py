"""Make runs comparable: clean series, best values, paired curves, labels, what differs. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

import numpy as np

from mlflow_dlviz.store.histories import Series

# fmt: off
_SMALLER_IS_BETTER = frozenset([
    "loss", "error", "err", "mse", "mae", "rmse", "mape", "msle", "rmsle", "nll", "perplexity",
    "ppl", "ece", "brier", "crossentropy", "entropy", "divergence", "kl", "distance", "hinge",
    "poisson", "logcosh", "fid", "wer", "cer", "fpr", "fnr", "mce", "seconds", "time", "latency",
    "cost", "regret", "bpd", "deviance", "misclassification", "fp", "fn", "false",
])
# fmt: on
# The order in which panels matter; what matches none of these is folded away.
_MAIN = ("loss", "accuracy", "acc", "mcc", "f1", "auc", "precision", "recall", "mae", "mse", "rmse")
_HALVES = re.compile(r"^(?P<half>validation|training|train|val|eval)[_/](?P<base>.+)$")
# Python's float() takes "2024_01" and "infinity" too.
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
# MLflow keeps 6,000 characters of a param.
_EXACT = Context(prec=6_500)
_SAME_IN_ANY_CASE = ("true", "false", "none", "nan", "inf", "-inf")
# Bookkeeping and figures of the whole run; neither is a curve.
_ASIDE = ("dlviz/", "system/", "best_")


@dataclass(frozen=True)
class Curve:
    """One metric of one run, a value per step, steps ascending.

    steps: (S,) int64; values: (S,) float64, may hold NaN and ±inf; repeated: how many points were replaced
    by a later one at the same step.
    """

    steps: np.ndarray
    values: np.ndarray
    repeated: int = 0


@dataclass(frozen=True)
class Best:
    """The best finite value of a curve and the step at which it was first reached."""

    value: float
    step: int


@dataclass(frozen=True)
class Panel:
    """Metrics that belong in one chart: ``base`` on the training and on the validation data."""

    base: str
    main: bool


def clean(series: Series) -> Curve:
    """``series`` by ascending step; of several values at one step the last written stays."""
    if (series.steps[1:] > series.steps[:-1]).all():
        return Curve(series.steps, series.values)
    order = np.lexsort((series.times, series.steps))
    steps, values = series.steps[order], series.values[order]
    last = np.append(steps[1:] != steps[:-1], True) if len(steps) else np.zeros(0, bool)
    return Curve(steps[last], values[last], repeated=int((~last).sum()))


def minimised(metric: str) -> bool:
    """Whether smaller values of ``metric`` are better, by its name."""
    words = set(re.split(r"[^a-z0-9]+", split_half(metric)[0].lower()))
    return bool(words & _SMALLER_IS_BETTER) or any(word.endswith(("loss", "error")) for word in words)


def best(curve: Curve, *, smaller: bool) -> Best | None:
    """The best finite value, or None when there is none."""
    finite = np.isfinite(curve.values)
    if not finite.any():
        return None
    ranked = np.where(finite, curve.values if smaller else -curve.values, np.inf)
    place = int(np.argmin(ranked))
    return Best(float(curve.values[place]), int(curve.steps[place]))


def last_value(curve: Curve) -> float | None:
    """The value at the last step, finite or not."""
    return float(curve.values[-1]) if len(curve.values) else None


def value_at(curve: Curve, step: int) -> float | None:
    """The value at exactly ``step``."""
    place = np.searchsorted(curve.steps, step)
    if place == len(curve.steps) or curve.steps[place] != step:
        return None
    return float(curve.values[place])


def split_half(metric: str) -> tuple[str, str]:
    """``("loss", "val")`` for "val_loss", "validation_loss", "eval/loss"; else the half is "train"."""
    match = _HALVES.match(metric)
    if match is None:
        return metric, "train"
    return match["base"], "train" if match["half"].startswith("train") else "val"


def pair_halves(metrics: Iterable[str], goal: str | None = None) -> dict[tuple[str, str], str]:
    """``{(base, half): metric}``; where a run logs one thing under two names, the shortest stands for it.

    Stock autologging logs "val_loss" and, on step 0 for every epoch, "validation_loss"; the shorter is right.
    Any other ``goal`` that is asked for stands for itself: "train_loss" beside "loss" may be another figure.
    """
    first = None if goal is None or goal.startswith("validation") else goal
    chosen: dict[tuple[str, str], str] = {}
    for metric in sorted(metrics, key=lambda name: (name != first, len(name), name)):
        chosen.setdefault(split_half(metric), metric)
    return chosen


def is_curve(metric: str) -> bool:
    """Whether ``metric`` is a series worth a panel: neither bookkeeping nor a figure of the whole run."""
    return not metric.startswith(_ASIDE)


def choose_panels(metrics: Iterable[str]) -> list[Panel]:
    """A panel per metric of any run; those that matter first, the rest alphabetical and not ``main``.

    Where no name is known to matter (another framework), the first six are main.
    """
    bases = sorted({split_half(metric)[0] for metric in metrics if is_curve(metric)}, key=_rank)
    known = [base for base in bases if _rank(base)[0] < len(_MAIN)]
    main = set(known or bases[:6])
    return [Panel(base, base in main) for base in bases]


def _rank(base: str) -> tuple[int, int, str]:
    words = re.split(r"[^a-z0-9]+", base.lower())
    if "/" in base:
        return len(_MAIN), 0, base
    for place, name in enumerate(_MAIN):
        if any(word == name or (name in ("f1", "loss") and word.startswith(name)) for word in words):
            return place, len(words), base
    return len(_MAIN), 0, base


def choose_goal(metrics_by_run: Sequence[Iterable[str]]) -> str | None:
    """The metric to rank runs by: the most important one that most runs have, on validation data if they do."""
    counts = Counter(metric for metrics in metrics_by_run for metric in set(metrics) if is_curve(metric))
    if not counts:
        return None
    most = max(counts.values())

    def preference(metric: str) -> tuple:
        base, half = split_half(metric)
        return counts[metric] * 2 < most, _rank(base)[0], half == "train", _rank(base)[1:], len(metric)

    return min(counts, key=preference)


def labels(names: Mapping[str, str]) -> dict[str, str]:
    """``{run_id: label}``, no two alike: the run's name, with ``#id8`` where several runs share it.

    Names that differ in white space only look alike. The whole id stands where eight characters are not enough.
    """
    shown = {run_id: name or run_id[:8] for run_id, name in names.items()}
    for longer in (8, None, None):
        counts = Counter(map(_look, shown.values()))
        shown = {
            run_id: f"{names[run_id] or run_id[:8]} #{run_id[:longer]}" if counts[_look(label)] > 1 else label
            for run_id, label in shown.items()
        }
    return shown


def _look(name: str) -> str:
    return " ".join(name.split())


def differing(params: Sequence[Mapping[str, str]]) -> list[str]:
    """Names of the params that are not the same in all runs; absent counts as a value, "1e-3" is "0.001"."""
    names = sorted({name for run in params for name in run})
    found = ((name, {run.get(name) for run in params}) for name in names)
    return [name for name, values in found if len(values) > 1 and len(set(map(canonical, values))) > 1]


def canonical(value: str | None) -> object:
    """What ``value`` is compared by: numbers as numbers, to the last digit, so that "1e-3" is "0.001"."""
    if value is None:
        return None
    text = value.strip()
    if _NUMBER.fullmatch(text):
        return Decimal(text).normalize(_EXACT) or Decimal(0)
    return text.lower() if text.lower() in _SAME_IN_ANY_CASE else text
