"""The writer of this process: what is done at its end, and in its children."""

from __future__ import annotations

import atexit
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow_dlviz import syncing
from mlflow_dlviz.ledger import logger
from mlflow_dlviz.store import alive
from mlflow_dlviz.words import count
from mlflow_dlviz.writer import Writer

EXIT_SECONDS = 60.0
"""How long the end of the process waits for what is still to be drawn, and for servers that answer."""

_WRITER = Writer()
_GAVE_UP: list[bool] = []


def writer() -> Writer:
    """The process' writer."""
    return _WRITER


def flush(timeout: float | None = None) -> bool:
    """Wait until all numbers and pictures of this process are in MLflow.

    timeout: seconds; None waits as long as a server answers.  Returns whether everything is there: False if
    the time did not suffice or a server does not answer; what is missing then waits in the spool.  Raises
    ValueError for a negative timeout.
    """
    if timeout is not None and (not isinstance(timeout, int | float) or timeout < 0):
        raise ValueError(f"timeout={timeout!r}: expected seconds of at least 0, or None")
    return _WRITER.flush(timeout)


def call_at_exit(function: Callable[[], Any]) -> None:
    """Call ``function`` at the end of the process, before its writer drains."""
    # Uploading may use thread pools, and Python shuts those down before it calls atexit's functions.
    # threading._register_atexit (seen in Python 3.9 to 3.14) runs earlier; without it, atexit does most.
    try:
        threading._register_atexit(function)  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        atexit.register(function)


@functools.lru_cache(maxsize=8)
def mention_leftovers(root: Path) -> None:
    """Say, once for each root, what processes that have ended left there."""
    left = [found for found in syncing.waiting(root) if found.state != "training"]
    if left:
        oldest = max(found.age for found in left) / 86400
        prune = "; `mlflow-dlviz sync --prune` clears what is too old" if oldest > syncing.AGE_DAYS else ""
        logger.warning(
            "mlflow_dlviz: not sent: %s of earlier processes, kept in %s, the oldest for %.0f days; "
            "`mlflow-dlviz sync` sends what is left%s",
            count(len(left), "run"),
            root,
            oldest,
            prune,
        )


def _at_exit() -> None:
    if not _WRITER.flush(EXIT_SECONDS):
        _GAVE_UP.append(True)


def _at_last() -> None:
    # By now threads of the user's own have ended, too, and what they logged since is sent.
    _WRITER.flush(EXIT_SECONDS if not _GAVE_UP else 0.0)
    left = _WRITER.give_up()
    kept = [run for run in left if run.spool.durable]
    items = [item for run in left for item in run.spool.waiting()]
    lost = sum(item.path is None for item in items)
    waiting = len(items) - lost
    if kept:
        logger.warning(
            "mlflow_dlviz: not sent: %s of %s, kept in %s; `mlflow-dlviz sync` sends what is left",
            count(waiting, "item") if waiting else "the ledger",
            count(len(kept), "run"),
            kept[0].spool.folder.parent,
        )
    if lost:
        logger.warning("mlflow_dlviz: lost: %s that could neither be sent nor put on disk", count(lost, "item"))
    _WRITER.stop()
    alive.farewell()


def _renew() -> None:
    # The threads, the locks and what is queued stay with the parent of a fork.
    global _WRITER
    _WRITER = Writer()
    alive.forget_parent()


call_at_exit(_at_exit)
atexit.register(_at_last)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
