"""Storing and drawing in the background: training never waits for a picture, and a number is never dropped.

Three threads: one packs what would take too long on the training thread; one draws, and gives way to training
while a ``fit`` runs on few cores; both put what they made into the run's spool, and the third sends from there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TypeAlias

from mlflow_dlviz.drawing import Drawer, Picture, Task
from mlflow_dlviz.sending import Sender
from mlflow_dlviz.store.batch import Batch
from mlflow_dlviz.store.spool import Lost
from mlflow_dlviz.tracked import RunLog

Sending: TypeAlias = Batch | Callable[[], Batch]
"""A batch, or the function that makes it on the writer's thread."""

# Whether this thread is one of a writer's, or works for one.
_OURS: ContextVar[bool] = ContextVar("dlviz_writer", default=False)


class Writer:
    """The queues and their threads; one for a process, started when first used."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._packing: deque[tuple[RunLog, str, Callable[[], Batch]]] = deque()
        self._sender = Sender(self._changed, self._over, _make_page)
        self._drawer = Drawer(self._changed, self._spool, self._done)
        self._current: RunLog | None = None
        self._stopped = False
        self._threads: list[threading.Thread] = []

    def send(self, run: RunLog, what: str, batch: Sending) -> None:
        """Log numbers, parameters, tags or files; never dropped. what: for the ledger.

        A batch is in the run's spool when this returns; what a function makes gets there a little later.
        """
        if isinstance(batch, Batch):
            self._spool(run, what, batch)
            return
        with self._changed:
            self._packing.append((run, what, batch))
            self._start()
            self._changed.notify_all()

    def draw(self, picture: Picture) -> None:
        """Queue a picture; dropped, and counted, where too many wait."""
        with self._changed:
            self._drawer.add(picture)
            self._start()

    def then(self, task: Task) -> None:
        """Queue a task behind the pictures."""
        with self._changed:
            self._drawer.add(task)
            self._start()

    def training_began(self) -> None:
        """A ``fit`` runs: drawing gives way."""
        with self._changed:
            self._drawer.training += 1

    def training_ended(self) -> None:
        """It returned: drawing may take what it needs."""
        with self._changed:
            self._drawer.training = max(0, self._drawer.training - 1)
            self._changed.notify_all()

    def begin(self, run: RunLog) -> None:
        """A ``fit`` logs to ``run`` from now on, perhaps not the first: it is no longer closed."""
        with self._changed:
            run.training = True
            if run.spool.plan.closed:
                run.spool.change(closed=False)

    def begin_offline(self, run: RunLog, why: str) -> None:
        """The server could not be told of ``run``: unless that is by choice, it is asked again later."""
        if not run.held:
            self._sender.hang_up(run, why)

    def settle(self, run: RunLog, timeout: float) -> bool:
        """Wait until what was logged to ``run``, besides pictures, is sent; not for a server that is gone."""
        with self._changed:
            # That nothing more is logged to it may be news to the sender.
            self._changed.notify_all()
            deadline = time.monotonic() + timeout
            self._changed.wait_for(lambda: self._given_up(run) or not self._packs(run), timeout)
            # Pictures that are drawn from now on come behind this one, and are not waited for.
            last = run.spool.last()
            left = max(0.0, deadline - time.monotonic())
            self._changed.wait_for(lambda: self._given_up(run) or self._settled(run, last), left)
            return self._settled(run, last)

    def waiting(self) -> int:
        """Batches and drawings not yet done."""
        with self._changed:
            spooled = sum(len(run.spool.waiting()) for run in self._sender.runs())
            return len(self._packing) + (self._current is not None) + self._drawer.waiting() + spooled

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until nothing waits; True if so, False if ``timeout`` seconds did not suffice, or a server is gone.

        Raises RuntimeError on the writer's own threads, which would wait for themselves.
        """
        if _OURS.get():
            raise RuntimeError("flush() was called while drawing, which is what it waits for")
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._drawer.awaited += 1
            self._changed.notify_all()
            try:
                if not self._changed.wait_for(self._spooled, timeout):
                    return False
                # Perhaps a server that was gone is back: it is asked once more.
                asked = self._sender.asked()
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._changed.wait_for(lambda: self._idle() or self._sender.silent(asked), left)
                return self._idle()
            finally:
                self._drawer.awaited -= 1

    def give_up(self) -> list[RunLog]:
        """The runs of which something is not sent, laid down so that ``sync`` can end them."""
        with self._changed:
            dropped = self._drawer.drop()
        for run in dropped:
            run.ledger.count("dropped")
            run.ledger.left_out("some pictures", "the process ended before they were drawn", say=False)
        left = self._sender.runs()
        for run in left:
            run.keep_ledger()
            run.spool.close()
        return left

    def stop(self, timeout: float = 5.0) -> None:
        """Give up what waits, and let the threads end: killed while drawing, they take the process down."""
        with self._changed:
            self._stopped = True
            self._packing.clear()
            self._drawer.drop()
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _spooled(self) -> bool:
        return not (self._packing or self._current is not None or self._drawer.waiting())

    def _idle(self) -> bool:
        return self._spooled() and self._sender.through()

    def _settled(self, run: RunLog, last: int) -> bool:
        return not self._packs(run) and (run.gone or run.held or run.spool.is_sent(last))

    def _given_up(self, run: RunLog) -> bool:
        return self._stopped or self._sender.is_cut_off(run)

    def _packs(self, run: RunLog) -> bool:
        return self._current is run or any(item[0] is run for item in self._packing)

    def _over(self, run: RunLog) -> bool:
        """Whether nothing more comes of a run unless another ``fit`` logs to it."""
        return not (run.training or self._packs(run) or self._drawer.waiting(run))

    def _start(self) -> None:
        if not self._threads:
            work: Mapping[str, Callable[[], None]] = {
                "pack": self._pack_loop,
                "draw": lambda: self._drawer.loop(lambda: self._stopped),
                "send": lambda: self._sender.loop(lambda: self._stopped),
            }
            self._threads = [
                threading.Thread(target=_as_ours, args=(loop,), name=f"mlflow-dlviz_{name}", daemon=True)
                for name, loop in work.items()
            ]
            for thread in self._threads:
                thread.start()

    def _spool(self, run: RunLog, what: str, batch: Batch) -> None:
        try:
            run.spool.add(what, batch)
        except Lost as error:
            run.ledger.failed(what, None, error, cause="the spool")
        with self._changed:
            self._start()
            self._sender.add(run)

    def _pack_loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._packing)
                if self._stopped:
                    return
                run, what, make = self._packing.popleft()
                self._current = run
            try:
                self._spool(run, what, make())
            except BaseException as error:  # a SystemExit, too, must not end this thread
                run.ledger.failed(what, None, error)
            finally:
                with self._changed:
                    self._current = None
                    self._sender.add(run)

    def _done(self, run: RunLog) -> None:
        with self._changed:
            self._sender.add(run)


def _as_ours(loop: Callable[[], None]) -> None:
    _OURS.set(True)
    loop()


def _make_page(tracking_uri: str, run_id: str) -> Mapping[str, bytes]:
    from mlflow_dlviz import reporting

    return reporting.run_page(tracking_uri, run_id)
