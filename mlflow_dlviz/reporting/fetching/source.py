"""What the parts of a fetch share: where they read, and where they say what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from mlflow_dlviz.store import cache as caching
from mlflow_dlviz.store.artifacts import Place
from mlflow_dlviz.store.cache import Cache

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) on the calling thread."""

MAX_FRAMES = 2400
_NAMED = 3


@dataclass(frozen=True)
class Reading:
    """How runs are read. jobs: requests at a time; max_frames: pictures at most.

    cache: whether to keep what was read of runs that are over, and to use what was kept; refresh: to keep it only.
    """

    tracking_uri: str | None = None
    jobs: int = 4
    max_frames: int = MAX_FRAMES
    cache: bool = True
    refresh: bool = False


@dataclass(frozen=True)
class Source:
    """The runs of one report on their server.

    notes: what is left out on purpose; problems: what could not be read; both are added to.
    """

    client: MlflowClient
    runs: Sequence[Run]
    reading: Reading
    cache: Cache
    progress: Progress
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @cached_property
    def tokens(self) -> dict[str, str]:
        """``{run_id: token}`` of the runs that are over, so that what is read of them can be kept."""
        settled = (run for run in self.runs if caching.is_settled(run))
        return {run.info.run_id: caching.run_token(run) for run in settled}

    @cached_property
    def uris(self) -> dict[str, str]:
        """``{run_id: URI of its artifacts}``."""
        return {run.info.run_id: run.info.artifact_uri for run in self.runs if run.info.artifact_uri}

    def told(self, what: str) -> Callable[[int, int], None]:
        """A store's progress, under the name of a stage."""
        return lambda done, total: self.progress(what, done, total)

    def kept(self, kind: str, places: Sequence[Place], *, changing: bool) -> dict[Place, bytes]:
        """What is kept of ``places``; changing: whether its content may be another once the run has changed."""
        return self.cache.get(kind, self._asked(places, changing))

    def keep(self, kind: str, contents: Mapping[Place, bytes], *, changing: bool) -> None:
        """Keep ``contents`` of the runs that are over."""
        asked = self._asked(list(contents), changing)
        self.cache.put(kind, {place: (token, contents[place]) for place, token in asked.items()})

    def _asked(self, places: Sequence[Place], changing: bool) -> dict[Place, str]:
        tokens = self.tokens
        return {place: tokens[place[0]] if changing else "" for place in places if place[0] in tokens}

    def tell(self, reasons: Mapping[str, str], what: str) -> None:
        """One problem for all runs of which ``what`` could not be read; reasons: by run id."""
        if not reasons:
            return
        named = "; ".join(f"run {run_id}: {reason}" for run_id, reason in list(reasons.items())[:_NAMED])
        more = f"; and {len(reasons) - _NAMED} more runs" if len(reasons) > _NAMED else ""
        self.problems.append(f"{what} could not be read: {named}{more}"[:1000])
