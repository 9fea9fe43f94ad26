"""Whether the process that writes into a spool still lives: it holds a lock for as long."""

from __future__ import annotations

import uuid
from pathlib import Path

from mlflow_dlviz.store.locks import FileLock
from mlflow_dlviz.store.room import own_folder


def is_alive(root: Path, process: str) -> bool:
    """Whether the process of that name, as :func:`sign` gave it for this root, still lives."""
    path = root / "alive" / f"{process}.lock"
    if not process or not path.exists():
        return False
    lock = FileLock(path)
    if not lock.acquire():
        return True
    path.unlink(missing_ok=True)
    lock.release()
    return False


class _Life:
    """What tells other processes that this one lives, one lock a root."""

    def __init__(self) -> None:
        self._held: dict[Path, tuple[str, FileLock]] = {}

    def of(self, root: Path) -> str:
        if root not in self._held:
            name = uuid.uuid4().hex
            try:
                own_folder(root)
                own_folder(root / "alive")
                lock = FileLock(root / "alive" / f"{name}.lock")
                lock.acquire()
            except OSError:
                return ""
            self._held[root] = name, lock
        return self._held[root][0]

    def end(self) -> None:
        for root, (name, lock) in self._held.items():
            lock.release()
            (root / "alive" / f"{name}.lock").unlink(missing_ok=True)
        self._held = {}


_LIFE = _Life()


def sign(root: Path) -> str:
    """The name under which this process is known to live, "" where no lock can be held."""
    return _LIFE.of(root)


def farewell() -> None:
    """At the end of the process: what tells others that it lives is taken away."""
    _LIFE.end()


_OF_PARENTS: list[_Life] = []


def forget_parent() -> None:
    """After a fork: the child's spools are its own, and the parent's locks not the child's to close."""
    global _LIFE
    _OF_PARENTS.append(_LIFE)
    _LIFE = _Life()
