"""What a report is made of: plain, frozen data, fetched once and then only read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflow_dlviz.store.histories import Series


@dataclass(frozen=True)
class Query:
    """What was asked for; ``server`` is fit to be shown to others."""

    server: str
    experiments: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    filter: str = ""
    limit: int = 1000


@dataclass(frozen=True)
class Frame:
    """One picture at one step: WebP bytes, or why there are none."""

    key: str
    step: int
    webp: bytes | None
    reason: str = ""


@dataclass(frozen=True)
class RunData:
    """One run. ``start`` in Unix milliseconds; ``seconds`` from start to end or, without an end, last metric."""

    id: str
    name: str
    experiment: str
    status: str
    start: int | None = None
    seconds: float | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    histories: Mapping[str, Series] = field(default_factory=dict)
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True)
class Excluded:
    """A run that was asked for or found, and is not in the report."""

    id: str
    name: str
    reason: str


@dataclass(frozen=True)
class Bundle:
    """All that one report shows.

    notes: what was left out or thinned out on purpose; problems: what could not be read.
    """

    query: Query
    runs: tuple[RunData, ...]
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
