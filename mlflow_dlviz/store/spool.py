"""The durable spool: everything that is logged lies in a folder of its run until the server has it.

    <root>/<spool id>/plan.json      which run, on which server; made there when its id is still missing
    <root>/<spool id>/00000017.zip   a batch, see batch.py; they are sent in the order of their numbers
    <root>/<spool id>/ledger.json    what goes last
    <root>/alive/<process>.lock      held while that process lives

A file appears whole, under its final name, or not at all, so a process may be killed at any point.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mlflow_dlviz.store.alive import sign
from mlflow_dlviz.store.batch import Batch, read_batch, read_what, write_batch
from mlflow_dlviz.store.locks import FileLock
from mlflow_dlviz.store.room import Used, own_folder

MEMORY_BYTES = 256 * 2**20
"""What of a run may wait in memory where nothing can be put on disk."""

_USED = Used()
_REFUSED = ".refused"
_PLAN = "plan.json"


class Lost(Exception):
    """There is room for a batch neither on disk nor in memory; its text says why."""


@dataclass(frozen=True)
class Plan:
    """Which run a spool is for. run_id: None until the server has made the run.

    experiment: its id, or ``name:<name>``; tags, name, parent, start: what the run is made with; owned:
    whether we end it; process: who writes here; closed: whether that one is done; gone: why nothing more can be
    sent to the run, "" while it can.
    """

    spool_id: str
    tracking_uri: str
    run_id: str | None
    experiment: str = ""
    name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""
    start: int = 0
    owned: bool = False
    process: str = ""
    closed: bool = False
    gone: str = ""


@dataclass(frozen=True)
class Item:
    """A batch that waits. batch: None for one on disk, at path; name: of one in memory, for messages."""

    number: int
    name: str
    size: int
    path: Path | None = None
    batch: Batch | None = None

    @property
    def what(self) -> str:
        """What it is, in a few words."""
        return self.name if self.path is None else read_what(self.path)

    def read(self, scratch: Path) -> Batch:
        """The batch; models are unpacked below ``scratch``. Raises ValueError for a damaged file."""
        if self.batch is not None:
            return self.batch
        assert self.path is not None
        return read_batch(self.path, scratch)


class Spool:
    """The spool of one run, on disk as far as the disk takes it and in memory beyond.

    Safe to use from several threads; of several processes one writes, and whoever holds its lock sends.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self._file_lock = FileLock(folder / "send.lock")
        self._sending = threading.Lock()
        self._guard = threading.Lock()
        self._numbers: itertools.count[int] | None = None
        self._memory: list[Item] = []
        self.trouble = ""

    @property
    def durable(self) -> bool:
        """Whether its plan is on disk, so that another process could send it."""
        return (self.folder / _PLAN).exists()

    def try_lock(self) -> bool:
        """Take the right to send; False if another thread or process has it."""
        if not self._sending.acquire(blocking=False):
            return False
        try:
            taken = self._file_lock.acquire()
        except OSError:
            taken = True  # nothing is on disk that another process could send
        if not taken:
            self._sending.release()
        return taken

    def unlock(self) -> None:
        """Give it back."""
        self._file_lock.release()
        self._sending.release()

    def add(self, what: str, batch: Batch) -> None:
        """Append a batch. What the disk refuses waits in memory, and ``trouble`` says why.

        what: in a few words, for messages.  Raises Lost where there is no room in memory either.
        """
        with self._guard:
            try:
                self._write_again(batch, what)
            except (OSError, ValueError) as error:
                self.trouble = f"{type(error).__name__}: {error}"
                self._keep(what, batch)
                return
        _tidy(batch)

    def waiting(self) -> list[Item]:
        """What is to be sent, in order."""
        with self._guard:
            return sorted([*_items(self.folder), *self._memory], key=lambda item: item.number)

    def last(self) -> int:
        """The number of the newest that waits, 0 if nothing does."""
        return max((item.number for item in self.waiting()), default=0)

    def is_sent(self, last: int) -> bool:
        """Whether nothing waits up to that number."""
        return all(item.number > last for item in self.waiting())

    def done(self, item: Item) -> None:
        """The server has it."""
        with self._guard:
            if item.path is not None:
                item.path.unlink(missing_ok=True)
            else:
                self._memory = [other for other in self._memory if other.number != item.number]
        if item.batch is not None:
            _tidy(item.batch)

    def refuse(self, item: Item) -> None:
        """The server will not have it: keep it aside, for another try by ``sync``."""
        if item.path is None:
            self.done(item)
        else:
            item.path.rename(item.path.with_suffix(_REFUSED))

    def refused(self) -> list[Path]:
        """What the server would not have."""
        return sorted(self.folder.glob(f"*{_REFUSED}"))

    def retry_refused(self) -> None:
        """Put what was refused back in its place."""
        for path in self.refused():
            path.rename(path.with_suffix(".zip"))

    def change(self, **changes: Any) -> None:
        """Change the plan, on disk too where that is possible."""
        with self._guard:
            self.plan = replace(self.plan, **changes)
            self._save(_PLAN, json.dumps(asdict(self.plan)))

    def close(self) -> None:
        """Nobody writes here any more, which the plan then says; a folder that is gone stays so."""
        with self._guard:
            self.plan = replace(self.plan, closed=True)
            if self.durable:
                self._save(_PLAN, json.dumps(asdict(self.plan)))

    def keep_ledger(self, text: str) -> None:
        """Keep the ledger as it stands, to be sent last."""
        with self._guard:
            if self.durable:
                self._save("ledger.json", text)

    def ledger(self) -> str | None:
        """The ledger that was kept on disk, None without one."""
        try:
            return (self.folder / "ledger.json").read_text(encoding="utf-8")
        except OSError:
            return None

    def remove_if_empty(self) -> bool:
        """Delete the folder unless something in it waits, or was refused; False if that is so."""
        with self._guard:
            if _items(self.folder) or self._memory:
                return False
            if not self.refused():
                self._remove_unless_filled()
            return not _items(self.folder)

    def remove(self) -> None:
        """Delete the folder and all in it."""
        with self._guard:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_unless_filled(self) -> None:
        # Another process may just be putting something in: of a folder that is not empty nothing gets lost.
        for path in self.folder.glob("*"):
            if path.suffix not in (".zip", _REFUSED):
                path.unlink(missing_ok=True)
        for draft in self.folder.glob(".*"):
            draft.unlink(missing_ok=True)
        try:
            self.folder.rmdir()
            self._numbers = None
        except FileNotFoundError:
            self._numbers = None
        except OSError:
            self._save(_PLAN, json.dumps(asdict(self.plan)))

    def _save(self, name: str, text: str) -> None:
        try:
            _appear(self.folder, name, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            self.trouble = f"{type(error).__name__}: {error}"

    def _write_again(self, batch: Batch, what: str) -> None:
        try:
            self._write(batch, what)
        except FileNotFoundError:  # the process that sent all that was here has just removed the folder
            self._write(batch, what)

    def _write(self, batch: Batch, what: str) -> None:
        if not self.durable:
            # A batch without its plan would never find its run.
            _appear(self.folder, _PLAN, json.dumps(asdict(self.plan)).encode())
        _USED.take(self.folder.parent, batch.size)
        number = self._next()
        draft = self.folder / f".{number:08d}.{os.getpid()}"
        try:
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600), "w+b") as file:
                write_batch(batch, file, what)
            draft.rename(self.folder / f"{number:08d}.zip")
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def _keep(self, what: str, batch: Batch) -> None:
        held = sum(item.size for item in self._memory)
        if held + batch.size > MEMORY_BYTES:
            _tidy(batch)
            raise Lost(f"{MEMORY_BYTES >> 20} MB wait in memory, and on disk there is no room ({self.trouble})")
        self._memory.append(Item(self._next(), what, batch.size, batch=batch))

    def _next(self) -> int:
        if self._numbers is None:
            taken = [int(path.stem) for path in self.folder.glob("[0-9]*.*") if path.stem.isdecimal()]
            self._numbers = itertools.count(max(taken, default=0) + 1)
        return next(self._numbers)


def begin(root: Path, plan: Plan) -> Spool:
    """A new spool below ``root``; where nothing can be written, one in memory, with the reason in ``trouble``."""
    made = Spool(root / plan.spool_id, replace(plan, start=plan.start or int(time.time() * 1000)))
    made.change(process=sign(root))
    return made


def find_spools(root: Path) -> list[Spool]:
    """All spools below ``root`` that another process could send, oldest first; unreadable ones are left out."""
    found = []
    for path in root.glob(f"*/{_PLAN}"):
        try:
            found.append(Spool(path.parent, _plan(json.loads(path.read_text("utf-8")))))
        except (OSError, ValueError, TypeError, AttributeError):
            continue
    return sorted(found, key=lambda spool: spool.plan.start)


def _plan(document: Any) -> Plan:
    facts = {key: value for key, value in document.items() if key in Plan.__dataclass_fields__}
    plan = Plan(**facts)
    for name, default in asdict(Plan("", "", "")).items():
        value = getattr(plan, name)
        if not isinstance(value, type(default)) and (name, value) != ("run_id", None):
            raise TypeError(f"{name}={value!r}: expected {type(default).__name__}")
    return plan


def _items(folder: Path) -> list[Item]:
    found = []
    for path in folder.glob("[0-9]*.zip"):
        try:
            found.append(Item(int(path.stem), path.name, path.stat().st_size, path))
        except (OSError, ValueError):
            continue
    return found


def _appear(folder: Path, name: str, content: bytes) -> None:
    """Write a file that is there whole or not at all, for its owner alone."""
    own_folder(folder.parent)
    own_folder(folder)
    draft = folder / f".{name}.{os.getpid()}"
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            if name == _PLAN:
                # Without it all the rest is lost; it is written a few times only.
                file.flush()
                os.fsync(file.fileno())
        draft.replace(folder / name)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _tidy(batch: Batch) -> None:
    """Delete the models that ``batch`` was given: they are in the spool now, on the server, or lost."""
    for model in batch.models:
        shutil.rmtree(model.folder, ignore_errors=True)
