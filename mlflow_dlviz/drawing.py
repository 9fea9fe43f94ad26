"""Drawing in the background: on a thread that gives way to training, and is left behind where it hangs."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow_dlviz.patience import within
from mlflow_dlviz.store.batch import Batch
from mlflow_dlviz.tracked import RunLog

PICTURES = 512
"""Pictures waiting at most; beyond this the newest is dropped, and can be drawn later from its numbers."""

DRAW_SECONDS = 120.0
"""What a picture may take. One that takes longer is left to itself, and its visual is drawn no more."""

# With training on as many cores as there are, a tenth of the time goes into drawing; else half of it.
_FEW_CORES = 4
_PAUSE_FEW, _PAUSE_MANY = 9.0, 1.0

# The first picture of an epoch comes while its end is going on, all of it Python, which waits up to 5 ms for the
# interpreter whenever another thread has it; a training step, mostly compiled, hardly does.
_EPOCH_END_SECONDS = 0.2


@dataclass(frozen=True)
class Picture:
    """A picture to draw. what: for the ledger, its visual first; step: its epoch; draw: makes what is stored."""

    run: RunLog
    what: str
    step: int
    draw: Callable[[], Batch]

    @property
    def visual(self) -> str:
        """Which visual it is of: what fails for one leaf mostly fails for all alike."""
        return self.what.split("/")[0]


@dataclass(frozen=True)
class Task:
    """Work behind the pictures queued before it and never dropped: a run's own page."""

    run: RunLog
    what: str
    batch: Batch


class Drawer:
    """The pictures that wait, and the thread that draws them.

    changed: notified when something was drawn; spool: takes what was; done: told of the run it was for.
    """

    def __init__(
        self,
        changed: threading.Condition,
        spool: Callable[[RunLog, str, Batch], None],
        done: Callable[[RunLog], None],
    ) -> None:
        self.training = 0
        self.awaited = 0
        self._changed = changed
        self._spool = spool
        self._done = done
        self._waiting: deque[Picture | Task] = deque()
        self._current: RunLog | None = None
        self._begin = 0.0
        self._hung: set[tuple[int, str]] = set()

    def add(self, item: Picture | Task) -> None:
        """Queue it; a picture is dropped, and counted, where too many wait. To be called holding ``changed``."""
        if isinstance(item, Picture) and (why := self._refusal(item)):
            item.run.ledger.count("dropped")
            item.run.ledger.left_out("some pictures", why)
            return
        if not self.waiting():
            self._begin = time.monotonic() + _EPOCH_END_SECONDS
        self._waiting.append(item)
        self._changed.notify_all()

    def waiting(self, run: RunLog | None = None) -> int:
        """How many (of one run) are not drawn yet."""
        if run is None:
            return len(self._waiting) + (self._current is not None)
        return sum(item.run is run for item in self._waiting) + (self._current is run)

    def drop(self) -> list[RunLog]:
        """Give up what waits; the run of each picture."""
        dropped = [item.run for item in self._waiting if isinstance(item, Picture)]
        self._waiting.clear()
        return dropped

    def loop(self, stopped: Callable[[], bool]) -> None:
        """The thread's work, until ``stopped``."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: stopped() or self._waiting)
                self._rest(self._begin - time.monotonic(), stopped)
                if stopped():
                    return
                if not self._waiting:  # dropped in the meantime
                    continue
                item = self._waiting.popleft()
                self._current = item.run
            worked = 0.0
            try:
                worked = self._work(item)
            finally:
                with self._changed:
                    self._current = None
                    self._done(item.run)
            self._give_way(worked, stopped)

    def _refusal(self, picture: Picture) -> str:
        if (id(picture.run), picture.visual) in self._hung:
            return f"drawing {picture.visual} took more than {DRAW_SECONDS:g} s once, and is not tried again"
        if sum(isinstance(item, Picture) for item in self._waiting) >= PICTURES:
            return f"more than {PICTURES} waited to be drawn"
        return ""

    def _work(self, item: Picture | Task) -> float:
        """Seconds of computing that it took."""
        run, worked = item.run, 0.0
        try:
            if isinstance(item, Task):
                self._spool(run, item.what, item.batch)
                return worked
            with _tidied():  # here, as a thread that hangs would never turn the collector on again
                batch, worked = within(DRAW_SECONDS, lambda: _timed(item.draw))
            self._spool(run, item.what, batch)
            run.ledger.count("written")
            if not run.training:
                run.ledger.count("late")
        except BaseException as error:  # a SystemExit, too, must not end this thread
            if isinstance(item, Picture):
                self._failed(item, error)
            else:
                run.ledger.failed(item.what, None, error)
        return worked

    def _failed(self, picture: Picture, error: BaseException) -> None:
        picture.run.ledger.count("failed")
        picture.run.ledger.failed(picture.what, picture.step, error, cause=picture.visual)
        if isinstance(error, TimeoutError):
            with self._changed:
                self._hung.add((id(picture.run), picture.visual))
                again = list(self._waiting)
                self._waiting.clear()
                for item in again:
                    self.add(item)

    def _give_way(self, worked: float, stopped: Callable[[], bool]) -> None:
        """While a ``fit`` runs, rest in proportion to the time spent drawing."""
        with self._changed:
            self._rest(worked * (_PAUSE_FEW if _cores() <= _FEW_CORES else _PAUSE_MANY), stopped)

    def _rest(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """Do nothing while a ``fit`` runs, unless someone waits for what is drawn; call it holding ``changed``."""
        self._changed.wait_for(lambda: stopped() or not self.training or self.awaited, timeout=seconds)


def _timed(draw: Callable[[], Batch]) -> tuple[Batch, float]:
    batch = draw()
    # On a thread of its own, whose time begins at nought.
    return batch, time.thread_time()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # on macOS and Windows
        return os.cpu_count() or 1


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
