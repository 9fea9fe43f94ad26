"""What a report is made of: plain, frozen data, fetched once and then only read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mlflow_dlviz.store.histories import Series

Numbers = Mapping[str, Mapping[int, Mapping[str, np.ndarray]]]
"""``{leaf: {epoch: {name: array}}}``, leaves and epochs in order."""


@dataclass(frozen=True)
class Query:
    """What was asked for; ``server`` is fit to be shown to others.

    filters: in MLflow's syntax, a run matches one of them; statuses: empty for all; since: seconds before the
    search, None for ever.
    """

    server: str
    experiments: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    since: float | None = None
    order_by: tuple[str, ...] = ()
    limit: int = 1000


@dataclass(frozen=True)
class Frame:
    """One picture at one step: WebP bytes, or why there are none."""

    key: str
    step: int
    webp: bytes | None
    reason: str = ""


@dataclass(frozen=True)
class Dataset:
    """A data set that a run says it used. context: "training" or the like, "" if it does not say."""

    name: str
    digest: str
    context: str = ""


@dataclass(frozen=True)
class RunData:
    """One run. ``start`` in Unix milliseconds; ``seconds`` from start to end or, without an end, last metric.

    numbers: what lies behind the pictures of some visuals, ``{"probabilities": {leaf: {epoch: arrays}}}``.
    """

    id: str
    name: str
    experiment: str
    status: str
    start: int | None = None
    seconds: float | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()
    histories: Mapping[str, Series] = field(default_factory=dict)
    frames: tuple[Frame, ...] = ()
    numbers: Mapping[str, Numbers] = field(default_factory=dict)


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
