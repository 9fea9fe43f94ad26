"""Masking of what looks like a secret, before anything is shown, compared or written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlflow_dlviz.reporting.bundle import RunData

MASK = "••••••"

_SECRET = re.compile(r"(token|secret|passw|pwd|credential|(api|access|private|secret)[_-]?key)", re.IGNORECASE)


def mask(runs: Sequence[RunData], patterns: Sequence[str] = ()) -> tuple[RunData, ...]:
    """``runs`` without the values of params and tags that are named like a secret, or match one of ``patterns``.

    Different secrets stay different: numbered in the order in which they come.
    """
    named = re.compile("|".join([_SECRET.pattern, *(f"(?:{pattern})" for pattern in patterns)]), re.IGNORECASE)
    numbers: dict[tuple[str, str], int] = {}

    def masked(values: Mapping[str, str]) -> dict[str, str]:
        return {
            name: _masked(name, value, numbers) if named.search(name) else value for name, value in values.items()
        }

    return tuple(replace(run, params=masked(run.params), tags=masked(run.tags)) for run in runs)


def _masked(name: str, value: str, numbers: dict[tuple[str, str], int]) -> str:
    others = sum(1 for key, _ in numbers if key == name)
    number = numbers.setdefault((name, value), others + 1)
    return MASK if number == 1 else f"{MASK} ({number})"
