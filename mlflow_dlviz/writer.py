"""Storing and drawing in the background: training never waits for a picture, and a number is never dropped.

Two threads: one sends to MLflow, in order, what is queued for a run as one batch; one draws, gives way to
training while a ``fit`` runs on few cores, and hands its files to the first.  A durable spool belongs between
the queue and :func:`mlflow_dlviz.store.put.put`.
"""

from __future__ import annotations

import atexit
import gc
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mlflow_dlviz.ledger import Ledger, logger
from mlflow_dlviz.store.put import Batch, merge, put
from mlflow_dlviz.store.runs import RunRef

PICTURES = 512
"""Pictures waiting at most; beyond this the newest is dropped, and can be drawn later from its numbers."""

EXIT_SECONDS = 60.0
"""How long the end of the process waits for what is still to be drawn and sent."""

# With training on as many cores as there are, a tenth of the time goes into drawing; else half of it.
_FEW_CORES = 4
_PAUSE_FEW, _PAUSE_MANY = 9.0, 1.0


@dataclass
class RunLog:
    """What the writer keeps of one run. training: whether a ``fit`` still logs to it."""

    ref: RunRef
    ledger: Ledger = field(default_factory=Ledger)
    training: bool = True


@dataclass(frozen=True)
class Picture:
    """A picture to draw. what: for the ledger; step: its epoch; files: what it becomes, drawn on the worker."""

    run: RunLog
    what: str
    step: int
    files: Callable[[], dict[str, bytes]]


@dataclass(frozen=True)
class Task:
    """Work behind the pictures queued before it and never dropped: a run's own page, its ledger."""

    run: RunLog
    what: str
    batch: Callable[[], Batch]


Sending: TypeAlias = Batch | Callable[[], Batch]
"""A batch, or the function that makes it on the writer's thread."""

Item: TypeAlias = tuple[RunLog, str, Sending]


class Writer:
    """The two queues and their threads; one for a process, started when first used."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._outbox: deque[Item] = deque()
        self._drawings: deque[Picture | Task] = deque()
        self._busy = {"send": False, "draw": False}
        self._training = 0
        self._awaited = 0
        self._stopped = False
        self._threads: list[threading.Thread] = []

    def send(self, run: RunLog, what: str, batch: Sending) -> None:
        """Queue numbers, parameters, tags or files; never dropped. what: for the ledger."""
        with self._changed:
            self._outbox.append((run, what, batch))
            self._start()
            self._changed.notify_all()

    def draw(self, picture: Picture) -> None:
        """Queue a picture; dropped, and counted, where too many wait."""
        with self._changed:
            if sum(isinstance(item, Picture) for item in self._drawings) >= PICTURES:
                picture.run.ledger.count("dropped")
                picture.run.ledger.left_out("some pictures", f"more than {PICTURES} waited to be drawn")
                return
            self._drawings.append(picture)
            self._start()
            self._changed.notify_all()

    def then(self, task: Task) -> None:
        """Queue a task behind the pictures."""
        with self._changed:
            self._drawings.append(task)
            self._start()
            self._changed.notify_all()

    def training_began(self) -> None:
        """A ``fit`` runs: drawing gives way."""
        with self._changed:
            self._training += 1

    def training_ended(self) -> None:
        """It returned: drawing may take what it needs."""
        with self._changed:
            self._training = max(0, self._training - 1)
            self._changed.notify_all()

    def waiting(self) -> int:
        """Batches and drawings not yet done."""
        with self._changed:
            return len(self._outbox) + len(self._drawings) + sum(self._busy.values())

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until nothing waits; True if so, False if ``timeout`` seconds did not suffice.

        Raises RuntimeError on the writer's own threads, which would wait for themselves.
        """
        if threading.current_thread() in self._threads:
            raise RuntimeError("flush() was called while drawing, which is what it waits for")
        with self._changed:
            self._awaited += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(self._idle, timeout)
            finally:
                self._awaited -= 1

    def stop(self, timeout: float = 5.0) -> None:
        """Give up what waits, and let the threads end: killed while drawing, they take the process down."""
        with self._changed:
            self._stopped = True
            self._outbox.clear()
            self._drawings.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout)

    def _idle(self) -> bool:
        return not (self._outbox or self._drawings or any(self._busy.values()))

    def _sent(self) -> bool:
        return not (self._outbox or self._busy["send"])

    def _start(self) -> None:
        if not self._threads:
            loops = (self._send_loop, self._draw_loop)
            threads = [
                threading.Thread(target=loop, name=f"mlflow-dlviz{loop.__name__}", daemon=True) for loop in loops
            ]
            for thread in threads:
                thread.start()
            self._threads = threads

    def _send_loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._outbox)
                if self._stopped:
                    return
                run = self._outbox[0][0]
                taken = [item for item in self._outbox if item[0] is run]
                self._outbox = deque(item for item in self._outbox if item[0] is not run)
                self._busy["send"] = True
            try:
                self._send(run, taken)
            finally:
                self._done("send")

    def _send(self, run: RunLog, taken: list[Item]) -> None:
        try:
            batches = [batch() if callable(batch) else batch for _, _, batch in taken]
            for refused in put(run.ref, merge(batches)):
                run.ledger.left_out(refused.split(" = ")[0], refused, say=False)
            run.ledger.count("batches", len(taken))
        except BaseException as error:  # a SystemExit, too, must not end this thread
            if len(taken) == 1:
                run.ledger.failed(f"sending {taken[0][1]}", None, error, cause="sending")
                return
            # One bad item must not take the others with it.
            for item in taken:
                self._send(run, [item])

    def _draw_loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._drawings)
                if self._stopped:
                    return
                item = self._drawings.popleft()
                self._busy["draw"] = True
            began = time.thread_time()
            try:
                self._work(item)
            finally:
                self._done("draw")
            self._give_way(time.thread_time() - began)

    def _work(self, item: Picture | Task) -> None:
        run = item.run
        try:
            if isinstance(item, Task):
                self._await_sent()
                self.send(run, item.what, item.batch())
                return
            with _tidied():
                files = item.files()
            self.send(run, item.what, Batch(files=files))
            run.ledger.count("written")
            if not run.training:
                run.ledger.count("late")
        except BaseException as error:  # a SystemExit, too, must not end this thread
            if isinstance(item, Picture):
                run.ledger.count("failed")
            # The first word of a picture's key is its visual, which fails for all its leaves alike.
            run.ledger.failed(item.what, getattr(item, "step", None), error, cause=item.what.split("/")[0])

    def _await_sent(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._sent())

    def _give_way(self, worked: float) -> None:
        """While a ``fit`` runs, rest in proportion to the time spent drawing, unless someone waits for it."""
        pause = worked * (_PAUSE_FEW if (os.cpu_count() or 1) <= _FEW_CORES else _PAUSE_MANY)
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._training or self._awaited, timeout=pause)

    def _done(self, which: str) -> None:
        with self._changed:
            self._busy[which] = False
            self._changed.notify_all()


@contextmanager
def _tidied() -> Iterator[None]:
    """Collect what drawing leaves behind while it is young.

    A figure is a web of cycles. Those that Python's collector meets half-made grow old, and beside
    TensorFlow's million objects the old are next to never collected: 0.75 MB a picture stayed behind. Kept
    back for the 50 ms of a picture, and then run on the young alone, it frees them all in a millisecond.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect(0)


_WRITER = Writer()


def _renew() -> None:
    # The threads, and what is queued, stay with the parent of a fork.
    global _WRITER
    _WRITER = Writer()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def writer() -> Writer:
    """The process' writer."""
    return _WRITER


def flush(timeout: float | None = None) -> bool:
    """Wait until all numbers and pictures of this process are in MLflow.

    timeout: seconds; None waits as long as it takes.  Returns whether everything was done in time.  Raises
    ValueError for a negative timeout.
    """
    if timeout is not None and (not isinstance(timeout, int | float) or timeout < 0):
        raise ValueError(f"timeout={timeout!r}: expected seconds of at least 0, or None")
    return _WRITER.flush(timeout)


_GAVE_UP: list[bool] = []


def _at_exit() -> None:
    if not _WRITER.flush(EXIT_SECONDS):
        logger.warning(
            "mlflow_dlviz: %d items were not drawn or sent within %.0f s of the end of the script; "
            "call mlflow_dlviz.flush() at its end to wait for them",
            _WRITER.waiting(),
            EXIT_SECONDS,
        )
        _GAVE_UP.append(True)


def _at_last() -> None:
    # By now threads of the user's own have ended, too, and what they logged since is sent.
    _WRITER.flush(EXIT_SECONDS if not _GAVE_UP else 0.0)
    _WRITER.stop()


def call_at_exit(function: Callable[[], Any]) -> None:
    """Call ``function`` at the end of the process, before this writer drains."""
    # Uploading may use thread pools, and Python shuts those down before it calls atexit's functions.
    # threading._register_atexit (seen in Python 3.9 to 3.14) runs earlier; without it, atexit does most.
    try:
        threading._register_atexit(function)  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        atexit.register(function)


call_at_exit(_at_exit)
atexit.register(_at_last)
