"""What a report would read, told from the list of runs alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlflow_dlviz.reporting.bundle import Excluded, Query
from mlflow_dlviz.reporting.fetching.finding import check_asked, find
from mlflow_dlviz.reporting.fetching.metrics import choose_metrics
from mlflow_dlviz.reporting.fetching.source import Reading
from mlflow_dlviz.reporting.options import Options
from mlflow_dlviz.store.images import has_images
from mlflow_dlviz.store.searching import experiment_names, last_points
from mlflow_dlviz.store.server import answering, connect, public_uri

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class Preview:
    """What would be read.

    runs: how many; experiments, by_status: how many of each; metrics: ``{name: runs that have it}``; points: of
    all histories, if steps are logged one by one; pictured: runs with pictures.
    """

    server: str
    runs: int
    experiments: Mapping[str, int] = field(default_factory=dict)
    by_status: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, int] = field(default_factory=dict)
    points: int = 0
    pictured: int = 0
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """All of it, for a person."""
        return list(_preview_lines(self))


def preview(query: Query, options: Options, reading: Reading) -> Preview:
    """What a report would read; no history, picture or number is. Raises as :func:`fetch` does."""
    client = connect(reading.tracking_uri)
    with answering(client.tracking_uri):
        runs, excluded, notes, problems = find(client, query, reading)
    check_asked(runs, options)
    chosen, _ = choose_metrics(runs, options)
    names = experiment_names(client, (run.info.experiment_id for run in runs))
    return Preview(
        server=public_uri(client.tracking_uri),
        runs=len(runs),
        experiments=_counted(names.get(run.info.experiment_id, run.info.experiment_id) for run in runs),
        by_status=_counted(run.info.status for run in runs),
        metrics=_counted(key for keys in chosen.values() for key in keys),
        points=sum(_points(run, chosen[run.info.run_id]) for run in runs),
        pictured=sum(has_images(run.data.tags) for run in runs),
        excluded=tuple(excluded),
        notes=(*notes, *problems),
    )


def _counted(names: Iterator[str]) -> dict[str, int]:
    """How often each occurs, the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _points(run: Run, keys: Sequence[str]) -> int:
    points = last_points(run)
    return sum(1 + max(0, points[key][0]) for key in keys)


def _preview_lines(told: Preview) -> Iterator[str]:
    yield f"server: {told.server}"
    yield f"runs: {told.runs} ({_list(told.by_status)})" if told.runs else "runs: 0"
    yield f"experiments: {_list(told.experiments)}" if told.experiments else "experiments: none"
    yield f"metrics, and runs that have them: {_list(told.metrics)}" if told.metrics else "metrics: none"
    yield f"points: about {told.points:,}".replace(",", " ")
    yield f"runs with pictures: {told.pictured}"
    yield from told.notes
    for run in told.excluded:
        yield f"left out: {run.name or run.id}: {run.reason}"


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
