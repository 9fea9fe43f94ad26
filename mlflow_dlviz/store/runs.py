"""Which run is logged to. Resolved once, in the user's thread; everything later carries a :class:`RunRef`."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import mlflow
from mlflow.entities import Run

_STOCK = ("keras", "tensorflow")
_JUST_NOW_MS = 10_000


@dataclass(frozen=True)
class RunRef:
    """A run, independent of the thread and of the fluent state it was found in.

    tracking_uri: of the server or store that has the run. run_id: None while only a spool knows it.
    spool_id: stands for the run until it exists there.
    """

    tracking_uri: str
    run_id: str | None
    spool_id: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)

    @property
    def known_id(self) -> str:
        """The run's id on its server. Raises RuntimeError while it is not known there."""
        if self.run_id is None:
            raise RuntimeError(f"run {self.spool_id} does not exist on {self.tracking_uri} yet")
        return self.run_id


@dataclass(frozen=True)
class Opened:
    """The run of one ``fit``. owned: we made it, so we end it. params, tags: what it had when it was opened."""

    ref: RunRef
    owned: bool
    experiment_id: str
    params: Mapping[str, str]
    tags: Mapping[str, str]


def open_run(tags: Mapping[str, str]) -> Opened:
    """The active run of this thread, or else a new one (inside ``mlflow run``, the one that it made)."""
    active = mlflow.active_run()
    if active is not None:
        return _opened(active, owned=False)
    abandoned = _abandoned_run()
    if abandoned is not None:
        return _opened(mlflow.start_run(run_id=abandoned), owned=True)
    with _random_untouched():
        return _opened(mlflow.start_run(tags=dict(tags)), owned=True)


def end_run(opened: Opened, status: str) -> None:
    """End the run if it is ours, with FINISHED, FAILED or KILLED."""
    if not opened.owned:
        return
    active = mlflow.active_run()
    if active is not None and active.info.run_id == opened.ref.run_id:
        mlflow.end_run(status)
    else:
        client(opened.ref).set_terminated(opened.ref.known_id, status)


def client(ref: RunRef) -> mlflow.MlflowClient:
    """A client for the run's own server, whatever the fluent state says by now."""
    return mlflow.MlflowClient(tracking_uri=ref.tracking_uri)


def _abandoned_run() -> str | None:
    """The run that stock autologging made for this very ``fit`` and ended as FAILED before it began.

    Where a stock patch fails, MLflow ends its managed run and trains on without it.  Taking that run over
    keeps one ``fit`` in one run.
    """
    with suppress(Exception):
        run = mlflow.last_active_run()
        if (
            run is not None
            and run.info.status == "FAILED"
            and run.data.tags.get("mlflow.autologging") in _STOCK
            and not run.data.metrics
            and time.time() * 1000 - run.info.end_time < _JUST_NOW_MS
        ):
            return run.info.run_id
    return None


def _opened(run: Run, *, owned: bool) -> Opened:
    ref = RunRef(tracking_uri=mlflow.get_tracking_uri(), run_id=run.info.run_id)
    return Opened(ref, owned, run.info.experiment_id, dict(run.data.params), dict(run.data.tags))


@contextmanager
def _random_untouched() -> Iterator[None]:
    # MLflow draws a run's name from Python's global generator, which Keras' PyDataset shuffles with:
    # opening a run must not change the weights that a seeded script arrives at.
    state = random.getstate()
    random.seed()
    try:
        yield
    finally:
        random.setstate(state)
