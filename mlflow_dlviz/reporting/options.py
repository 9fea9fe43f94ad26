"""What a report is asked for, checked at once and in words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from numbers import Integral
from typing import Any

SEED_KEYS = ("seed", "random_seed", "random_state", "rng_seed", "global_seed")
"""Params in which runs of one group may differ, whatever stands before the last dot or slash of their names."""

STATUSES = ("FINISHED", "RUNNING", "FAILED", "KILLED", "SCHEDULED")
AXES = ("epoch", "step", "time")

_LISTED = 20
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SINCE = re.compile(r"(\d+(?:\.\d+)?)([mhdw])")


@dataclass(frozen=True)
class Choice:
    """Metrics by a pattern with ``*`` and ``?``. smaller: whether smaller values are better, None: by name."""

    pattern: str
    smaller: bool | None = None


@dataclass(frozen=True)
class Options:
    """How a report shows its runs; see :func:`mlflow_dlviz.report`.

    group_by: names of params, () for no groups, None for those that vary, seeds aside. epochs: of the pictures,
    -1 for the last, () for all. statuses: of the runs that count in the figures of groups.
    """

    metrics: tuple[Choice, ...] = ()
    goal: str | None = None
    x: str = "epoch"
    baseline: str = ""
    group_by: tuple[str, ...] | None = None
    seed_keys: tuple[str, ...] = SEED_KEYS
    images: str = "*"
    epochs: tuple[int, ...] = ()
    smoothing: float = 0.0
    max_mb: float = 12.0
    redact: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ("FINISHED",)

    def wants(self, metric: str) -> bool:
        """Whether a panel or column of ``metric`` is asked for; all are unless some are named."""
        return not self.metrics or any(fnmatchcase(metric, choice.pattern) for choice in self.metrics)

    def direction(self, metric: str) -> bool | None:
        """Whether smaller values of ``metric`` are better, as far as the user has said so."""
        said = (choice.smaller for choice in self.metrics if fnmatchcase(metric, choice.pattern))
        return next((smaller for smaller in said if smaller is not None), None)

    def is_seed(self, param: str) -> bool:
        """Whether ``param`` is one in which runs of one group may differ."""
        return re.split(r"[./]", param)[-1].lower() in {key.lower() for key in self.seed_keys}


def check(
    *,
    metrics: Any,
    goal: Any,
    x: Any,
    baseline: Any,
    group_by: Any,
    seed_keys: Any,
    images: Any,
    epochs: Any,
    smoothing: Any,
    max_mb: Any,
    redact: Any,
    statuses: Any,
) -> Options:
    """The options as given, checked.

    Raises ValueError that names the argument, its value and what was expected.
    """
    counted = check_statuses(statuses) or ("FINISHED",)
    return Options(
        metrics=tuple(_choice(text) for text in texts("metrics", metrics)),
        goal=_optional("goal", goal, "the name of a metric"),
        x=_one_of("x", x, AXES),
        baseline=_optional("baseline", baseline, "a run's id or name, or 'best'") or "",
        group_by=_group_by(group_by),
        seed_keys=texts("seed_keys", seed_keys) or SEED_KEYS,
        images=_optional("images", images, "a pattern, such as 'activations/*'") or "*",
        epochs=_epochs(epochs),
        smoothing=_between("smoothing", smoothing, 0.0, 0.999),
        max_mb=_between("max_mb", max_mb, 2.0, 1000.0),
        redact=tuple(_regex(text) for text in texts("redact", redact)),
        statuses=counted,
    )


def check_metrics(options: Options, names: Iterable[str]) -> None:
    """Raises ValueError for a pattern of metrics that none of ``names``, those of all runs, matches."""
    known = sorted(set(names))
    for choice in options.metrics:
        if any(fnmatchcase(name, choice.pattern) for name in known):
            continue
        pattern, separator, way = choice.pattern.rpartition(":")
        if separator and any(fnmatchcase(name, pattern) for name in known):
            raise ValueError(
                f"metrics={choice.pattern!r}: expected ':min' or ':max' at the end, not {':' + way!r}"
            )
        raise ValueError(
            f"metrics={choice.pattern!r}: no run has such a curve; {there_are(choice.pattern, known, 'metrics')}"
        )


def there_are(wanted: str, known: Iterable[str], what: str) -> str:
    """In words what there is instead of ``wanted``, a name or pattern: the closest names, then the others."""
    names = sorted(set(known))
    near = difflib.get_close_matches(re.sub(r"[*?]", "", wanted), names, n=3, cutoff=0.5)
    listed = list(dict.fromkeys([*near, *names]))
    if not listed:
        return f"there are no {what}"
    return f"there are {', '.join(listed[:_LISTED])}" + (" …" if len(listed) > _LISTED else "")


def texts(argument: str, value: Any) -> tuple[str, ...]:
    """One or several non-empty texts. Raises ValueError for anything else."""
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, Iterable):
        raise ValueError(f"{argument}={value!r}: expected text, or several")
    found = tuple(found)
    for text in found:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{argument}={value!r}: expected text, not {text!r}")
    return found


def check_statuses(statuses: Any) -> tuple[str, ...]:
    """Run statuses, in capitals. Raises ValueError for one that MLflow does not have."""
    return tuple(_one_of("status", text.upper(), STATUSES) for text in texts("status", statuses))


def check_limit(limit: Any) -> int:
    """How many runs at most. Raises ValueError unless it is a whole number of at least 1."""
    if isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1:
        raise ValueError(f"limit={limit!r}: expected a whole number of at least 1")
    return int(limit)


def check_since(since: Any) -> float | None:
    """Seconds in "7d", "12h", "30m" or "2w"; None for None. Raises ValueError for other texts."""
    if since is None:
        return None
    match = _SINCE.fullmatch(since.strip().lower()) if isinstance(since, str) else None
    if match is None:
        raise ValueError(f"since={since!r}: expected an age such as '30m', '12h', '7d' or '2w'")
    return float(match[1]) * _UNITS[match[2]]


def _choice(text: str) -> Choice:
    pattern, separator, way = text.rpartition(":")
    if separator and way in ("min", "max"):
        return Choice(pattern, way == "min")
    return Choice(text)


def _optional(argument: str, value: Any, expected: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise ValueError(f"{argument}={value!r}: expected {expected}")
    return value


def _one_of(argument: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{argument}={value!r}: expected one of {', '.join(known)}")
    return value


def _group_by(value: Any) -> tuple[str, ...] | None:
    if value is None or value == "auto":
        return None
    if value == "none":
        return ()
    names = [name.strip() for text in texts("group_by", value) for name in text.split(",")]
    if not all(names):
        raise ValueError(f"group_by={value!r}: expected names of params, separated by commas, 'auto' or 'none'")
    return tuple(dict.fromkeys(names))


def _epochs(value: Any) -> tuple[int, ...]:
    if value is None or value == "":
        return ()
    parts = value.split(",") if isinstance(value, str) else value
    parts = parts if isinstance(parts, Iterable) else [parts]
    return tuple(dict.fromkeys(_epoch(value, part) for part in parts))


def _epoch(value: Any, part: Any) -> int:
    text = str(part).strip()
    if text == "last":
        return -1
    if not text.isdecimal():
        raise ValueError(f"epochs={value!r}: expected epochs such as '0,5,10,last', not {part!r}")
    return int(text)


def _between(argument: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{argument}={value!r}: expected a number from {low:g} to {high:g}")
    return float(value)


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"redact={text!r}: expected a regular expression: {error}") from error
    return text
