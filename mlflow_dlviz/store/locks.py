"""Locks between processes that the system lets go of when their holder dies, however it dies."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path


class FileLock:
    """An exclusive lock on a file of its own; held by at most one FileLock of all processes.

    SQLite's locks are those of the system on each of them, and in the standard library; nothing is ever
    written into the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def acquire(self) -> bool:
        """Take it without waiting; False if another holds it. Raises OSError where there can be no such file."""
        if self._connection is not None:
            return False
        connection = None
        try:
            with contextlib.suppress(FileExistsError):
                # For its owner alone. One that is there is not opened: closing it again would let go of a lock.
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            if "locked" in str(error):
                return False
            raise OSError(f"{self._path}: {error}") from error
        self._connection = connection
        return True

    def release(self) -> None:
        """Let it go; safe to call twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
