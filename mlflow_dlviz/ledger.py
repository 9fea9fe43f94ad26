"""What could not be captured, drawn or sent in one run, and how much was. Nothing is lost silently."""

from __future__ import annotations

import json
import logging
import threading
import traceback as tracebacks
from collections import Counter
from dataclasses import asdict, dataclass

logger = logging.getLogger("mlflow_dlviz")

COUNTS = ("written", "late", "dropped", "failed")
"""Pictures written; of these, after ``fit`` had returned; dropped since the queue was full; failed."""

_TRACEBACK_LENGTH = 4000
_ENTRIES = 1000


@dataclass(frozen=True)
class Entry:
    """One thing that is not there. kind: "failed", or "left_out" for what does not apply to this fit."""

    kind: str
    what: str
    step: int | None
    why: str
    traceback: str = ""


class Ledger:
    """The ledger of one run; written to from the training thread and from the writer's."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.entries: list[Entry] = []
        self._broken = 0
        self._beyond = 0
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def failed(self, what: str, step: int | None, error: BaseException, cause: str | None = None) -> None:
        """Keep an error with its traceback; warn once per cause (by default ``what``) and kind of error."""
        why = _in_words(error)
        trace = "".join(tracebacks.format_exception(error))[-_TRACEBACK_LENGTH:]
        self._add(Entry("failed", what, step, why, trace))
        self._say(
            f"{cause or what}:{type(error).__name__}",
            f"{what} failed and is left out, training goes on: {why.splitlines()[0]}",
        )

    def left_out(self, what: str, why: str, *, say: bool = True) -> None:
        """Keep the reason why something does not apply; say it once."""
        with self._lock:
            if any(entry.what == what and entry.why == why for entry in self.entries):
                return
        self._add(Entry("left_out", what, None, why))
        if say:
            self._say(what, f"{what} is left out: {why}")

    def refused(self, what: str, why: str) -> None:
        """Keep that the server would not have something; say it once."""
        self._add(Entry("failed", what, None, why))
        self._say(f"refused:{why[:40]}", f"{what} was refused by the server and kept in the spool: {why}")

    def count(self, name: str, by: int = 1) -> None:
        """Add to one of :data:`COUNTS`."""
        with self._lock:
            self.counts[name] += by

    @property
    def status(self) -> str:
        """One of "ok", "partial" (something failed or was dropped) and "failed" (nothing was logged)."""
        broken = self.counts["dropped"] + self._broken
        if not broken:
            return "ok"
        return "partial" if self.counts["written"] or self.counts["epochs"] else "failed"

    def to_json(self, step: int = 0) -> str:
        """The ledger as ``dlviz/ledger.json`` has it. step: the run's last."""
        with self._lock:
            entries = [asdict(entry) for entry in self.entries]
            counts = {name: self.counts[name] for name in COUNTS}
            beyond = self._beyond
        document = {"schema": 1, "status": self.status, "step": step, "counts": counts, "entries": entries}
        if beyond:
            document["entries_not_listed"] = beyond
        return json.dumps(document, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Ledger:
        """The ledger that an earlier process wrote. Raises what a damaged file makes it."""
        document, made = json.loads(text), cls()
        made.counts.update({name: int(document["counts"][name]) for name in COUNTS if name in document["counts"]})
        made.entries = [Entry(**entry) for entry in document["entries"]]
        made._broken = sum(entry.kind == "failed" for entry in made.entries)
        made._beyond = int(document.get("entries_not_listed", 0))
        return made

    def _add(self, entry: Entry) -> None:
        with self._lock:
            self._broken += entry.kind == "failed"
            if len(self.entries) < _ENTRIES:
                self.entries.append(entry)
            else:
                # What fails at each of a million epochs must not fill the memory.
                self._beyond += 1

    def _say(self, cause: str, sentence: str) -> None:
        with self._lock:
            if cause in self._said:
                return
            self._said.add(cause)
        # Names may have lone surrogates, which a log file in UTF-8 can't take.
        logger.warning("mlflow_dlviz: %s", sentence.encode("utf-8", "backslashreplace").decode())


def _in_words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # of an exception of the user's, even its text may fail
        return f"{type(error).__name__}, whose text can't be had"
