"""Which run is logged to. Resolved once, in the user's thread; everything later carries a :class:`RunRef`."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import mlflow
from mlflow.entities import Run

from mlflow_dlviz.patience import within
from mlflow_dlviz.store import active
from mlflow_dlviz.store.server import ServerUnreachable, check_reachable
from mlflow_dlviz.store.spool import Plan, Spool, begin

SPOOL_TAG = "dlviz.spool"
"""On every run that we make: by it a run is found that was made, but whose id never reached us."""

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
    """The run of one ``fit``. owned: we made it, so we end it. params, tags, metrics: what it had when opened.

    spool: gives where it is logged to first; offline: why the server does not know of the run, "" if it does;
    waited: seconds that it took to answer.
    """

    ref: RunRef
    owned: bool
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    spool: Callable[[], Spool]
    offline: str = ""
    waited: float = 0.0


@dataclass(frozen=True)
class Limits:
    """root: the folder of the spools; deadline: seconds that a server may take of a ``fit``'s time; offline: not
    to ask it at all.
    """

    root: Path
    deadline: float = 10.0
    offline: bool = False


def open_run(tags: Mapping[str, str], limits: Limits, *, nested: bool = False) -> Opened:
    """The active run of this thread, or else a new one (inside ``mlflow run``, the one that it made).

    nested: make a child of the active run.  A server that does not answer in time does not matter: the run
    then begins in its spool, and is made when the spool is sent.
    """
    current = mlflow.active_run()
    if current is not None and not nested:
        return _opened(current, limits, owned=False)
    # As MLflow does: the first run of a process is that of ``mlflow run``, the next is not.
    given = None if nested else os.environ.pop("MLFLOW_RUN_ID", None)
    parent = current.info.run_id if current is not None else ""
    plan = Plan(
        spool_id=uuid.uuid4().hex,
        tracking_uri=absolute(mlflow.get_tracking_uri()),
        run_id=given,
        experiment=active.experiment_unasked() if current is None else current.info.experiment_id,
        parent=parent,
        owned=True,
    )
    name = active.random_name(f"dlviz-{plan.spool_id[:8]}")
    plan = replace(plan, name=name, tags=dict(tags))
    # On disk before the server hears of the run: a process killed in between leaves no orphan.
    spool = begin(limits.root, plan)
    return _made(spool, limits)


def _made(spool: Spool, limits: Limits) -> Opened:
    if limits.offline:
        return _unmade(spool, "asked for by offline=True")
    last = None if spool.plan.run_id or spool.plan.parent else active.last_run_id()
    began = time.monotonic()
    try:
        run = within(limits.deadline, lambda: _found_or_made(spool, last))
        # The server has just answered, so MLflow's own way to make the run the active one is short.
        run = mlflow.start_run(run_id=run.info.run_id, nested=bool(spool.plan.parent))
    except Exception as error:
        return _unmade(spool, f"{type(error).__name__}: {error}", time.monotonic() - began)
    ref = RunRef(spool.plan.tracking_uri, run.info.run_id, spool.plan.spool_id)
    return Opened(ref, True, *_facts(run), lambda: spool, waited=time.monotonic() - began)


def _unmade(spool: Spool, why: str, waited: float = 0.0) -> Opened:
    plan = spool.plan
    spool.change(tags=active.context_tags(plan.tags))
    ref = RunRef(plan.tracking_uri, plan.run_id, plan.spool_id)
    return Opened(ref, True, {}, dict(plan.tags), {}, lambda: spool, offline=why, waited=waited)


def leave(opened: Opened, status: str) -> None:
    """Make the run no longer this thread's active one, if it is ours. Its end itself goes through the spool."""
    if opened.owned and opened.ref.run_id is not None:
        active.leave_run(opened.ref.run_id, status)


def absolute(uri: str) -> str:
    """``uri`` of the same store wherever the process goes, and for ``mlflow-dlviz sync`` in another folder."""
    scheme, separator, path = uri.partition(":///")
    if scheme.startswith("sqlite") and separator and path and not path.startswith((":memory:", "file:")):
        return f"{scheme}:///{Path(path).absolute().as_posix()}"
    path = uri.removeprefix("file:")
    return uri.removesuffix(path) + Path(path).absolute().as_posix() if path.startswith(".") else uri


def client(ref: RunRef) -> mlflow.MlflowClient:
    """A client for the run's own server, whatever the fluent state says by now."""
    return mlflow.MlflowClient(tracking_uri=ref.tracking_uri)


def make_run(plan: Plan, experiment: str) -> Run:
    """The run that ``plan`` describes, made on its server."""
    tags = {**plan.tags, SPOOL_TAG: plan.spool_id}
    if plan.parent:
        tags["mlflow.parentRunId"] = plan.parent
    to = mlflow.MlflowClient(tracking_uri=plan.tracking_uri)
    return to.create_run(experiment, start_time=plan.start, tags=tags, run_name=plan.name)


def _found_or_made(spool: Spool, last: str | None) -> Run:
    """On a thread of its own, and perhaps too late: locked, so that nobody makes the run a second time."""
    if not spool.try_lock():
        raise ServerUnreachable("another process is sending this spool")
    try:
        run = _find_or_make(spool.plan, last)
        spool.change(run_id=run.info.run_id)
        return run
    finally:
        spool.unlock()


def _find_or_make(plan: Plan, last: str | None) -> Run:
    # Not on the user's thread: nothing here may draw from the global generator or look for the active run.
    check_reachable(plan.tracking_uri)
    to = mlflow.MlflowClient(tracking_uri=plan.tracking_uri)
    if plan.run_id:
        return to.get_run(plan.run_id)
    abandoned = _abandoned_run(to, last)
    if abandoned is not None:
        return abandoned
    experiment = plan.experiment if plan.parent else active.experiment_id()
    return make_run(replace(plan, tags=active.context_tags(plan.tags)), experiment)


def _abandoned_run(to: mlflow.MlflowClient, last: str | None) -> Run | None:
    """The run that stock autologging made for this very ``fit`` and ended as FAILED before it began.

    Where a stock patch fails, MLflow ends its managed run and trains on without it.  Taking that run over
    keeps one ``fit`` in one run.
    """
    if last is None:
        return None
    try:
        run = to.get_run(last)
    except mlflow.MlflowException:  # of another server, or deleted
        return None
    stock = run.info.status == "FAILED" and run.data.tags.get("mlflow.autologging") in _STOCK
    recent = time.time() * 1000 - (run.info.end_time or 0) < _JUST_NOW_MS
    return run if stock and recent and not run.data.metrics else None


def _opened(run: Run, limits: Limits, *, owned: bool) -> Opened:
    plan = Plan(uuid.uuid4().hex, absolute(mlflow.get_tracking_uri()), run.info.run_id, owned=owned)
    ref = RunRef(plan.tracking_uri, run.info.run_id, plan.spool_id)
    return Opened(ref, owned, *_facts(run), lambda: begin(limits.root, plan))


def _facts(run: Run) -> tuple[dict[str, str], dict[str, str], dict[str, float]]:
    return dict(run.data.params), dict(run.data.tags), dict(run.data.metrics)
