"""Metrics as pure functions of confusion counts. No Keras: the array namespace ``xp`` is an argument.

Every formula takes the four one-vs-rest counts ``tp, tn, fp, fn``: () for one class, (K,) for K classes.
``xp`` is ``numpy`` or ``keras.ops``; everything is computed in float64, so counts are exact up to 2^53.
0/0 is 0 throughout, as scikit-learn's ``zero_division=0``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

Formula: TypeAlias = Callable[..., Any]
"""``formula(tp=…, tn=…, fp=…, fn=…)`` -> a number, or one for each class."""

COUNTS = ("tp", "tn", "fp", "fn")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def ratio(a: Any, b: Any, xp: Any) -> Any:
    """``a / b`` in float64, 0 where ``b`` is 0; the shape of ``b``."""
    # Wherever b is 0 here, so is a: dividing by 1 instead is 0, and nothing warns.
    a, b = xp.array(a, dtype="float64"), xp.array(b, dtype="float64")
    return a / xp.where(xp.equal(b, 0), xp.ones_like(b), b)


def _float64(counts: tuple[Any, ...], xp: Any) -> tuple[Any, ...]:
    return tuple(xp.array(count, dtype="float64") for count in counts)


def counts(confusion: Any, xp: Any = np) -> tuple[Any, Any, Any, Any]:
    """(tp, tn, fp, fn), each (K,) float64: samples (or weight) of each class against the rest.

    confusion: (K, K) samples by true class (rows) and predicted class (columns), as scikit-learn's.
    """
    confusion = xp.array(confusion, dtype="float64")
    tp = xp.diagonal(confusion)
    # Whole counts subtract exactly; weights may leave -1e-17, of which mcc would take the root.
    fp = xp.maximum(xp.sum(confusion, axis=0) - tp, 0)
    fn = xp.maximum(xp.sum(confusion, axis=1) - tp, 0)
    return tp, xp.maximum(xp.sum(confusion) - tp - fp - fn, 0), fp, fn


def precision(tp: Any, tn: Any, fp: Any, fn: Any, *, xp: Any = np) -> Any:
    """Positive predictive value, tp / (tp + fp), in [0, 1]; the shape of ``tp``."""
    return ratio(tp, tp + fp, xp)


def recall(tp: Any, tn: Any, fp: Any, fn: Any, *, xp: Any = np) -> Any:
    """True positive rate (sensitivity), tp / (tp + fn), in [0, 1]; the shape of ``tp``."""
    return ratio(tp, tp + fn, xp)


def specificity(tp: Any, tn: Any, fp: Any, fn: Any, *, xp: Any = np) -> Any:
    """True negative rate, tn / (tn + fp), in [0, 1]; the shape of ``tp``."""
    return ratio(tn, tn + fp, xp)


def f1(tp: Any, tn: Any, fp: Any, fn: Any, *, xp: Any = np) -> Any:
    """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn), in [0, 1]; the shape of ``tp``.

    van Rijsbergen 1979, Information Retrieval, ch. 7, with beta = 1.
    """
    return ratio(2 * tp, 2 * tp + fp + fn, xp)


def balanced_accuracy(tp: Any, tn: Any, fp: Any, fn: Any, *, xp: Any = np) -> Any:
    """Mean recall of the classes that occur in the truth, in [0, 1]; shape ().

    (K,) counts: one per class; () counts: the positive class of a binary problem.
    Brodersen et al. 2010 (doi:10.1109/ICPR.2010.764), eq. 3; more classes as scikit-learn.
    """
    tp, tn, fp, fn = _float64((tp, tn, fp, fn), xp)
    if len(tp.shape) == 0:
        tp, fn = xp.stack([tp, tn]), xp.stack([fn, fp])
    support = tp + fn
    occurs = xp.where(xp.equal(support, 0), xp.zeros_like(support), xp.ones_like(support))
    return ratio(xp.sum(ratio(tp, support, xp)), xp.sum(occurs), xp)


def mcc(tp: Any, tn: Any, fp: Any, fn: Any, *, xp: Any = np) -> Any:
    """Matthews correlation coefficient, in [-1, 1]; shape ().

    (K,) counts: one per class; () counts: the positive class of a binary problem.
    Gorodkin 2004 (doi:10.1016/j.compbiolchem.2004.09.006), eq. 8. His covariances are written here as sums of
    products of one-vs-rest counts; subtracting squares of the sample count would cancel digits.
    """
    tp, tn, fp, fn = _float64((tp, tn, fp, fn), xp)
    covariance = xp.sum(tp * tn - fp * fn)
    predicted = xp.sum((tp + fp) * (tn + fn))
    true = xp.sum((tp + fn) * (tn + fp))
    return ratio(covariance, xp.sqrt(predicted) * xp.sqrt(true), xp)


def iou(tp: Any, tn: Any, fp: Any, fn: Any, *, xp: Any = np) -> Any:
    """Intersection over union (Jaccard index), tp / (tp + fp + fn), in [0, 1]; the shape of ``tp``."""
    return ratio(tp, tp + fp + fn, xp)


RATIOS: dict[str, Formula] = {"precision": precision, "recall": recall, "specificity": specificity, "f1": f1}
_FORMULAS: dict[str, Formula] = {**RATIOS, "balanced_accuracy": balanced_accuracy, "mcc": mcc, "iou": iou}

OF_CLASSES = ("counts", *RATIOS, "balanced_accuracy", "mcc")
OF_POSITIONS = (*OF_CLASSES, "iou")
OF_LABELS = (*RATIOS, "subset_accuracy", "hamming_loss")
OF_VALUES = ("r2", "mae", "rmse")
"""What is computed by default of one class a sample, of a class at each position, of independent labels, and
of values; "counts" stands for tp, tn, fp and fn of a binary problem."""

BUILT_IN = (*OF_POSITIONS, "subset_accuracy", "hamming_loss", *OF_VALUES)
"""What ``metrics`` may name; each output takes of it what applies to it."""

_MEANS = [f"{name}_{mean}" for name in (*RATIOS, "iou") for mean in ("macro", "micro", "weighted")]
_TAKEN = {*BUILT_IN, *COUNTS, *_MEANS, "loss", "learning_rate"}


@dataclass(frozen=True)
class Formulas:
    """Which metrics are computed: names of the built-in ones, and the user's own formulas by name.

    names: None for all that are computed by default of the kind of output at hand.
    """

    names: tuple[str, ...] | None = None
    own: Mapping[str, Formula] = field(default_factory=dict)

    def among(self, applicable: Collection[str], default: Collection[str] | None = None) -> list[str]:
        """The names to compute of an output that so many apply to, in the usual order."""
        wanted = (applicable if default is None else default) if self.names is None else self.names
        return [name for name in BUILT_IN if name in wanted and name in applicable]

    def apart(self) -> list[Formulas]:
        """The built-in ones, then each of the user's own alone: so that one which fails takes no other along."""
        return [Formulas(self.names), *(Formulas((), {name: formula}) for name, formula in self.own.items())]


def _call(formula: Formula, values: tuple[Any, ...], xp: Any) -> Any:
    """What a formula makes of four counts of one shape, as float64; NaN, which is what 0/0 gives, is 0."""
    try:
        with np.errstate(all="ignore"):
            result = formula(**dict(zip(COUNTS, values, strict=True)))
    except ZeroDivisionError:
        result = 0.0
    if result is None:  # which NumPy would take for NaN
        raise TypeError("it returned None")
    result = xp.array(result, dtype="float64")
    return xp.where(xp.isnan(result), xp.zeros_like(result), result)


def call_per_class(name: str, formula: Formula, values: tuple[Any, ...], xp: Any) -> Any:
    """As ``_call``; a formula for plain numbers, such as one with ``max``, is called class by class."""
    try:
        return _call(formula, values, xp)
    except Exception as error:
        if xp is np and len(values[0].shape) == 1:
            return np.array([call_per_class(name, formula, one, np) for one in zip(*values, strict=True)])
        raise ValueError(
            f"metrics: the formula {name!r} failed on counts of shape {tuple(values[0].shape)} "
            f"({type(error).__name__}: {error}); in a compiled step it can use operators and keras.ops only"
        ) from error


def spread(name: str, values: Any, support: Any, xp: Any) -> dict[str, Any]:
    """One number under ``name``, or one for each class under the names of their means.

    values: () or (K,); support: () or (K,) samples of each true class.
    """
    shape = tuple(xp.shape(values))
    if shape == ():
        return {name: values}
    if shape != tuple(xp.shape(support)):
        raise ValueError(
            f"metrics: the formula {name!r} returned shape {shape} for counts of shape "
            f"{tuple(xp.shape(support))}; expected a number, or one for each class"
        )
    weighted = ratio(xp.sum(values * support), xp.sum(support), xp)
    return {f"{name}_macro": xp.mean(values), f"{name}_weighted": weighted}


def summarise(
    confusion: Any, formulas: Formulas | None = None, xp: Any = np, *, positions: bool = False
) -> dict[str, Any]:
    """Every metric of a confusion count by name, each a float64 scalar.

    confusion: (K, K), rows true, columns predicted. With K = 2, class 1 is the positive one: ``tp``, ``tn``,
    ``fp``, ``fn``, ``precision``, … With K > 2 a metric of one class becomes ``<name>_macro``, its mean over
    all K classes, and ``<name>_weighted``, its mean weighted by the samples of each true class.
    ``balanced_accuracy`` and ``mcc`` are one number for any K. ``iou`` is there by default where ``positions``
    were counted, such as pixels, and else where it is asked for by name.

    A user's formula is called once, with () counts for K = 2 and (K,) counts for K > 2, all float64, and
    treated alike: a number is taken as it is, (K,) numbers are averaged. NaN, which is what 0/0 gives, and a
    ZeroDivisionError become 0; x/0 stays infinite. A formula that fails on NumPy arrays is called class by
    class. Values are floats for NumPy, tensors for ``keras.ops``.
    """
    formulas = formulas or Formulas()
    values = counts(confusion, xp)
    if values[0].shape[0] == 2:
        values = tuple(count[1] for count in values)
    support = values[0] + values[3]
    result: dict[str, Any] = {}
    names = formulas.among(OF_POSITIONS, OF_POSITIONS if positions else OF_CLASSES)
    if "counts" in names and len(support.shape) == 0:
        result.update(zip(COUNTS, values, strict=True))
    for name in names:
        if name in _FORMULAS:
            result.update(spread(name, _FORMULAS[name](*values, xp=xp), support, xp))
    for name, formula in formulas.own.items():
        result.update(spread(name, call_per_class(name, formula, values, xp), support, xp))
    return {name: float(value) for name, value in result.items()} if xp is np else result


def _known(name: Any, value: Any) -> str:
    if name in BUILT_IN:
        return name
    close = difflib.get_close_matches(str(name), BUILT_IN, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"metrics={value!r}: {name!r} is not one of {', '.join(BUILT_IN)}.{hint}")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"metrics: {name!r} cannot name a formula; expected letters, digits and _")
    if name in _TAKEN or name.startswith("val_"):
        raise ValueError(f"metrics: the formula name {name!r} is taken by a built-in metric or by Keras")


def _try(name: str, formula: Formula) -> None:
    """Raise now what would otherwise be raised in the first epoch."""
    one = tuple(np.float64(count) for count in (3, 4, 2, 1))
    several = tuple(np.array([count, count + 1, count + 2]) for count in one)
    errors = []
    # A formula may be meant for a binary problem, or for many classes, alone: one that works is enough.
    for values in (one, several):
        try:
            spread(name, _call(formula, values, np), values[0] + values[3], np)
            return
        except Exception as error:
            errors.append(error)
    raise ValueError(
        f"metrics: the formula {name!r} failed on a trial with tp=3, tn=4, fp=2, fn=1 "
        f"({type(errors[0]).__name__}: {errors[0]}); "
        "expected a function of the keywords tp, tn, fp and fn that returns a number"
    ) from errors[0]


def _check_formula(name: Any, formula: Any) -> None:
    _check_name(name)
    if not callable(formula):
        raise TypeError(f"metrics: the formula {name!r} is {formula!r}; expected a function of tp, tn, fp, fn")
    _try(name, formula)


def resolve(metrics: Any = None) -> Formulas:
    """The option ``metrics``, checked.

    metrics: None, the built-in set; names of built-in metrics, only these; a mapping of names to formulas,
    the built-in set and these. A formula takes the keywords ``tp``, ``tn``, ``fp`` and ``fn``.
    """
    if metrics is None:
        return Formulas()
    if isinstance(metrics, Formulas):
        return metrics
    if isinstance(metrics, Mapping):
        for name, formula in metrics.items():
            _check_formula(name, formula)
        return Formulas(own=dict(metrics))
    if isinstance(metrics, str) or not isinstance(metrics, Collection):
        raise TypeError(f"metrics={metrics!r}: expected None, names of metrics, or a mapping name: formula")
    chosen = {_known(name, metrics) for name in metrics}
    return Formulas(names=tuple(name for name in BUILT_IN if name in chosen))
