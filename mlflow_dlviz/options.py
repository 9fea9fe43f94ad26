"""What a user can set, checked at once and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

from mlflow_dlviz import catalogue
from mlflow_dlviz.metrics.formulas import Formulas
from mlflow_dlviz.metrics.formulas import resolve as resolve_metrics
from mlflow_dlviz.store.room import default_root, limit_bytes
from mlflow_dlviz.store.runs import Limits
from mlflow_dlviz.visual import Every, Visual


@dataclass(frozen=True)
class Options:
    """The settings of one ``autolog``; see there."""

    visuals: tuple[Visual, ...]
    metrics: Formulas
    probe: int
    seed: int
    class_names: tuple[str, ...] | None
    monitor: str | None
    weighted: bool
    log_models: bool
    deadline: float
    offline: bool

    def limits(self) -> Limits:
        """Where runs are spooled, and how long a server may take to give us one."""
        return Limits(default_root(), self.deadline, self.offline)


def check(
    *,
    visuals: Any,
    cadence: Any,
    probe: Any,
    seed: Any,
    metrics: Any,
    class_names: Any,
    monitor: Any,
    weighted: Any,
    log_models: Any,
    deadline: Any,
    offline: Any,
) -> Options:
    """The options as given, checked.

    Raises TypeError or ValueError that names the argument, its value and what was expected.
    """
    check_flags(weighted=weighted, log_models=log_models, offline=offline)
    if monitor is not None and (not isinstance(monitor, str) or not monitor):
        raise TypeError(f"monitor={monitor!r}: expected the name of a logged metric, such as 'val_loss'")
    # Set wrongly, it would else be found out at the first batch, in a thread where nobody can be told.
    limit_bytes()
    return Options(
        visuals=_with_cadence(catalogue.resolve(visuals), cadence),
        metrics=resolve_metrics(metrics),
        probe=whole("probe", probe, 1, "samples"),
        seed=whole("seed", seed, 0, "a seed"),
        class_names=_names(class_names),
        monitor=monitor,
        weighted=weighted,
        log_models=log_models,
        deadline=_seconds("deadline", deadline),
        offline=offline,
    )


def check_flags(**flags: Any) -> None:
    """Raises TypeError that names the argument and its value unless all are True or False."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name}={value!r}: expected True or False")


def _with_cadence(visuals: Sequence[Visual], cadence: Any) -> tuple[Visual, ...]:
    if cadence is None:
        return tuple(visuals)
    if isinstance(cadence, Integral):
        cadence = Every(whole("cadence", cadence, 1, "epochs"))
    if isinstance(cadence, type) or not callable(getattr(cadence, "due", None)):
        raise TypeError(
            f"cadence={cadence!r}: expected a whole number of epochs, or Every(n), LogSpaced(n) or AtEnd()"
        )
    return tuple(replace(visual, cadence=cadence) for visual in visuals)


def whole(argument: str, value: Any, least: int, unit: str) -> int:
    """``value`` as an int. Raises ValueError that names the argument unless it is one of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{argument}={value!r}: expected a whole number of at least {least} ({unit})")
    return int(value)


def _seconds(argument: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{argument}={value!r}: expected a number of seconds of at least 0")
    return float(value)


def _names(class_names: Any) -> tuple[str, ...] | None:
    if class_names is None:
        return None
    if isinstance(class_names, str) or not hasattr(class_names, "__iter__"):
        raise TypeError(f"class_names={class_names!r}: expected one name for each class, in order of the index")
    names = tuple(str(name) for name in class_names)
    if len(names) < 2:
        raise ValueError(f"class_names={class_names!r}: expected at least 2 names")
    return names
