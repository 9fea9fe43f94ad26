"""Sending what waits in the spools: after a server was gone, after a training without one, after a crash."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow_dlviz import reporting
from mlflow_dlviz.ledger import Ledger
from mlflow_dlviz.store.alive import is_alive
from mlflow_dlviz.store.batch import End
from mlflow_dlviz.store.deliver import Delivered, Gone, Unavailable, close_run, deliver, send_page, takes
from mlflow_dlviz.store.room import default_root, used_bytes
from mlflow_dlviz.store.runs import RunRef
from mlflow_dlviz.store.spool import Plan, Spool, find_spools

AGE_DAYS = 30
"""Older spools are said to be old, and ``prune`` takes them for forgotten."""

_KILLED = "the process ended without closing the run; all that it had logged until then was sent later"

Progress = Callable[[int, int], None]
"""Called with (done, total) items."""


@dataclass(frozen=True)
class Waiting:
    """What one spool holds. state: "training", "waiting", "refused" (the server would not have the rest) or "gone"
    (its run is deleted); size: bytes; age: seconds since it began.
    """

    folder: Path
    run: str
    tracking_uri: str
    state: str
    items: int
    refused: int
    size: int
    age: float


@dataclass(frozen=True)
class Synced:
    """What came of one spool. items: sent; trouble: why not all of it is, "" if it is; run_id: None while no
    server knows the run; unreachable: whether the trouble is that the server can't take anything now.
    """

    run: str
    run_id: str | None
    tracking_uri: str
    items: int
    trouble: str = ""
    unreachable: bool = False


def waiting(root: Path | None = None) -> list[Waiting]:
    """What waits in each spool below ``root`` (default: the user's own), oldest first."""
    return [_describe(spool) for spool in find_spools(root or default_root())]


def sync(
    root: str | os.PathLike[str] | None = None,
    *,
    tracking_uri: str | None = None,
    progress: Progress | None = None,
) -> list[Synced]:
    """Send all that waits below ``root``; at any time, twice, and from several processes at once.

    root: default the user's own, see ``MLFLOW_DLVIZ_SPOOL``; tracking_uri: to this server, instead of the one
    that each run was logged to: runs that no server knows yet, and those that this one knows, too.  Runs whose
    process has died are ended.
    """
    spools = find_spools(Path(root) if root is not None else default_root())
    total, done = sum(len(spool.waiting()) + len(spool.refused()) for spool in spools), 0

    def sent(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, max(done, total))

    return [_sync_one(spool, tracking_uri, sent) for spool in spools]


def forgotten(root: Path | None = None, days: float = AGE_DAYS) -> list[Waiting]:
    """What :func:`prune` would delete."""
    old = days * 86400
    return [found for found in waiting(root) if found.state in ("refused", "gone") or _is_old(found, old)]


def prune(found: Iterable[Waiting]) -> int:
    """Delete these spools, unless one is just being sent; returns how many bytes that freed."""
    freed = 0
    for each in found:
        spool = Spool(each.folder, Plan(each.folder.name, each.tracking_uri, None))
        if not spool.try_lock():
            continue
        size = used_bytes(each.folder)
        spool.remove()
        spool.unlock()
        freed += size
    return freed


def _is_old(found: Waiting, seconds: float) -> bool:
    return found.state == "waiting" and found.age > seconds


def _sync_one(spool: Spool, tracking_uri: str | None, sent: Callable[[int], None]) -> Synced:
    if not spool.try_lock():
        return _result(spool, 0, "another process is sending it")
    try:
        return _send_all(spool, tracking_uri, sent)
    finally:
        spool.unlock()


def _send_all(spool: Spool, tracking_uri: str | None, sent: Callable[[int], None]) -> Synced:
    if not spool.durable:
        return _result(spool, 0)  # sent by another process while we waited for its lock
    if tracking_uri is not None and takes(tracking_uri, spool.plan):
        spool.plan = replace(spool.plan, tracking_uri=tracking_uri)
    spool.retry_refused()
    count = 0

    def counted(items: int) -> None:
        nonlocal count
        count += items
        sent(items)

    try:
        outcome = deliver(spool, page=reporting.run_page, sent=counted)
        if spool.plan.gone:
            spool.change(gone="")
        _end(spool, outcome)
    except Unavailable as error:
        return replace(_result(spool, count, str(error)), unreachable=True)
    except Gone as error:
        spool.change(gone=str(error))
        return _result(spool, count, str(error))
    except Exception as error:  # of this run: the others are sent all the same
        # Without words it would read as if nothing was the matter.
        return _result(spool, count, str(error) or type(error).__name__)
    return _result(spool, count - _really(outcome), _refusals(outcome))


def _end(spool: Spool, outcome: Delivered) -> None:
    """Send the ledger of a run that nobody logs to any more, and end it if its process could not."""
    plan = spool.plan
    if not plan.closed and is_alive(spool.folder.parent, spool.plan.process):
        return
    ref = RunRef(plan.tracking_uri, plan.run_id, plan.spool_id)
    end = None
    if not plan.closed:
        # A run of the user's own may be in use elsewhere: whether it has ended is not ours to say.
        end = End("FAILED", int(time.time() * 1000)) if plan.owned else None
        send_page(ref, reporting.run_page, outcome)
    missing = outcome.refused if plan.closed else [*outcome.refused, ("the end of the fit", _KILLED)]
    close_run(ref, _ledger_with(spool, missing), end=end)
    spool.remove_if_empty()


def _ledger_with(spool: Spool, missing: Sequence[tuple[str, str]]) -> str:
    """The ledger that was kept, with what went missing since."""
    try:
        document = json.loads(spool.ledger() or "")
    except ValueError:  # none, or cut short where the power failed
        document = json.loads(Ledger().to_json())
    known = {(entry["what"], entry["why"]) for entry in document["entries"]}
    for what, why in missing:
        kind = "left_out" if what.startswith("parameter ") else "failed"
        if (what, why) not in known:
            document["entries"].append({"kind": kind, "what": what, "step": None, "why": why, "traceback": ""})
        if kind == "failed" and document["status"] == "ok":
            document["status"] = "partial"
    return json.dumps(document)


def _result(spool: Spool, items: int, trouble: str = "") -> Synced:
    plan = spool.plan
    return Synced(plan.name or plan.run_id or plan.spool_id, plan.run_id, plan.tracking_uri, items, trouble)


def _really(outcome: Delivered) -> int:
    return sum(not what.startswith(("parameter ", "the run's page")) for what, _ in outcome.refused)


def _refusals(outcome: Delivered) -> str:
    refused: Sequence[str] = [f"{what}: {why}" for what, why in outcome.refused]
    return "; ".join(refused[:3]) + (f"; and {len(refused) - 3} more" if len(refused) > 3 else "")


def _describe(spool: Spool) -> Waiting:
    plan, items, refused = spool.plan, len(spool.waiting()), len(spool.refused())
    if plan.gone:
        state = "gone"
    elif not plan.closed and is_alive(spool.folder.parent, spool.plan.process):
        state = "training"
    else:
        state = "refused" if refused and not items else "waiting"
    return Waiting(
        folder=spool.folder,
        run=plan.name or plan.run_id or plan.spool_id,
        tracking_uri=plan.tracking_uri,
        state=state,
        items=items,
        refused=refused,
        size=used_bytes(spool.folder),
        age=max(0.0, time.time() - plan.start / 1000),
    )
