"""The thread that empties the spools: one server may be gone for hours, and nobody else waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mlflow_dlviz.ledger import logger
from mlflow_dlviz.store.deliver import Delivered, Gone, MakePage, Unavailable, close_run, deliver
from mlflow_dlviz.store.server import public_uri
from mlflow_dlviz.tracked import RunLog

# Seconds until a server that did not answer is asked again: 1, 2, 4, … up to this.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_ANOTHER_SENDS = 0.2
# One run's backlog does not keep the others waiting longer than this.
_TURN = 2.0


@dataclass
class _Line:
    """The way to one server. failures: in a row; due: when to ask again, by the monotonic clock; asked: how often
    it was; failed: which of these times failed last; again: whether somebody waits for it to be asked once more.
    """

    failures: int = 0
    due: float = 0.0
    asked: int = 0
    failed: int = 0
    again: bool = False


class Sender:
    """Sends what lies in the spools of this process' runs, each server on a line of its own.

    changed: notified of everything that others may wait for; over: whether a run is through, but for sending;
    page: makes a run's own page.
    """

    def __init__(self, changed: threading.Condition, over: Callable[[RunLog], bool], page: MakePage) -> None:
        self._changed = changed
        self._over = over
        self._page = page
        self._runs: list[RunLog] = []
        self._lines: dict[str, _Line] = {}
        self._current: RunLog | None = None

    def add(self, run: RunLog) -> None:
        """Something of ``run`` is in its spool, or the run is through; to be called holding ``changed``."""
        run.touch()
        if run not in self._runs:
            self._runs.append(run)
        self._changed.notify_all()

    def hang_up(self, run: RunLog, why: str) -> None:
        """Take it that the server of ``run`` does not answer."""
        self._failed(run, why)

    def through(self) -> bool:
        """Whether all is sent, the ledgers too."""
        return self._current is None and not any(map(self._wants, self._runs))

    def is_cut_off(self, run: RunLog) -> bool:
        """Whether the server of ``run`` did not answer when it was asked last."""
        return bool(self._lines.get(run.ref.tracking_uri, _Line()).failures)

    def silent(self, asked: dict[str, int]) -> bool:
        """Whether nothing more can be sent for now: all servers that something waits for do not answer.

        asked: what :meth:`asked` said earlier; each of them has been asked since, in vain.
        """
        unsent = (run for run in self._runs if self._wants(run) and not run.gone and not run.held)
        lines = {run.ref.tracking_uri: self._lines.get(run.ref.tracking_uri, _Line()) for run in unsent}
        return bool(lines) and all(
            line.failures and line.failed > asked.get(uri, 0) for uri, line in lines.items()
        )

    def asked(self) -> dict[str, int]:
        """How often each server was asked, and to be asked again at once."""
        for line in self._lines.values():
            line.due, line.again = 0.0, True
        self._changed.notify_all()
        return {uri: line.asked for uri, line in self._lines.items()}

    def runs(self) -> list[RunLog]:
        """The runs of which something is still to be sent."""
        return [run for run in self._runs if run._open]

    def loop(self, stopped: Callable[[], bool]) -> None:
        """The thread's work, until ``stopped``."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: stopped() or self._next() is not None, self._pause())
                if stopped():
                    return
                run = self._current = self._next()
                if run is None:
                    continue
                run._dirty = False
                over = self._over(run)
                line = self._lines.setdefault(run.ref.tracking_uri, _Line())
                line.asked, line.again = line.asked + 1, False
            try:
                self._serve(run, over)
            finally:
                with self._changed:
                    self._current = None
                    self._changed.notify_all()

    def _next(self) -> RunLog | None:
        now = time.monotonic()
        due = (run for run in self._runs if self._wants(run) and self._due(run) <= now)
        return next(due, None)

    def _wants(self, run: RunLog) -> bool:
        # What is held or gone is not sent, but its ledger is laid beside it.
        through = run.spool.plan.closed if run.held or run.gone else False
        return run._open and (run._dirty or (self._over(run) and not through))

    def _due(self, run: RunLog) -> float:
        return max(run._not_before, self._lines.get(run.ref.tracking_uri, _Line()).due)

    def _pause(self) -> float | None:
        due = [self._due(run) for run in self._runs if self._wants(run)]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _serve(self, run: RunLog, over: bool) -> None:
        try:
            run.keep_ledger()
            self._close(run)
            if run.held or run.gone:
                return
            if not run.spool.try_lock():
                run._dirty, run._not_before = True, time.monotonic() + _ANOTHER_SENDS
                return
            try:
                self._deliver(run, over)
            finally:
                run.spool.unlock()
        except Unavailable as error:
            run._dirty = True
            self._failed(run, str(error))
        except Gone as error:
            run.gone = True
            why = f"{error}; what was logged since waits in {run.spool.folder} for `mlflow-dlviz sync`"
            run.ledger.left_out("what is sent to the server", why)
            run.keep_ledger()
        except BaseException as error:  # a SystemExit, too, must not end this thread
            run._dirty = True
            run.ledger.failed("sending", None, error)
            self._failed(run, f"{type(error).__name__}: {error}")
        with self._changed:
            # Whose turn it was goes to the end of the queue.
            self._runs.remove(run)
            if run._open:
                self._runs.append(run)

    def _close(self, run: RunLog) -> None:
        with self._changed:  # as of now: another ``fit`` may just have begun
            if self._over(run) and not run.spool.plan.closed:
                run.spool.close()

    def _deliver(self, run: RunLog, over: bool) -> None:
        self._note(run, deliver(run.spool, page=self._page, seconds=_TURN, sent=self._tell))
        self._answered(run.ref.tracking_uri)
        if run.spool.waiting():
            run._dirty = True
        elif over and not run._dirty:
            close_run(run.ref, run.ledger.to_json(run.step), path=run.ledger_path)
            with self._changed:
                run._open = run._dirty or not run.spool.remove_if_empty()

    def _tell(self, items: int) -> None:
        with self._changed:
            self._changed.notify_all()

    def _note(self, run: RunLog, outcome: Delivered) -> None:
        for what, why in outcome.refused:
            if what.startswith("parameter "):
                run.ledger.left_out(what, why, say=False)
            else:
                run.ledger.refused(what, why)
        if outcome.refused:
            # What stays behind for ``sync`` has its reason beside it.
            run.keep_ledger()

    def _answered(self, uri: str) -> None:
        line = self._lines.setdefault(uri, _Line())
        if line.failures:
            logger.info("mlflow_dlviz: %s answers again", public_uri(uri))
        line.failures, line.due = 0, 0.0

    def _failed(self, run: RunLog, why: str) -> None:
        uri = run.ref.tracking_uri
        if not self._lines.get(uri, _Line()).failures:
            where = f"waits in {run.spool.folder.parent}" if run.spool.durable else "waits in memory"
            logger.warning(
                "mlflow_dlviz: %s can't be reached, training goes on; what is logged %s and is sent when it "
                "answers, or by `mlflow-dlviz sync`: %s",
                public_uri(uri),
                where,
                why,
            )
        with self._changed:
            self._fail(uri)

    def _fail(self, uri: str) -> None:
        line = self._lines.setdefault(uri, _Line())
        line.failures += 1
        line.failed = line.asked
        pause = 0.0 if line.again else min(_FIRST_PAUSE * 2.0 ** (line.failures - 1), _LONGEST_PAUSE)
        line.due = time.monotonic() + pause
        self._changed.notify_all()
