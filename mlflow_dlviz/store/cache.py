"""What was read from a server before, kept on this machine.

One SQLite file that several processes may use at once. A cache can be lost at any time without harm: whatever
goes wrong with it means that there is none, and is never an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Run

from mlflow_dlviz.store.room import own_folder
from mlflow_dlviz.store.runs import absolute
from mlflow_dlviz.store.searching import last_points

FOLDER_VARIABLE = "MLFLOW_DLVIZ_CACHE"
LIMIT_BYTES = 2 * 2**30

Place = tuple[str, str]
"""A run's id and the name of what is kept of it."""

_FILE = "runs-1.sqlite"
_ENDED = ("FINISHED", "FAILED", "KILLED")
_SETTLED_MS = 60_000
# After the least recently used are gone, as much of the limit is left as this.
_KEPT = 0.8

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, store TEXT NOT NULL, run TEXT NOT NULL, used INTEGER NOT NULL, UNIQUE (store, run)
);
CREATE TABLE IF NOT EXISTS entries (
    run INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, token TEXT NOT NULL, content BLOB NOT NULL,
    UNIQUE (run, kind, name)
);
CREATE TEMP TABLE asked (run TEXT NOT NULL, name TEXT NOT NULL, token TEXT NOT NULL);
"""

Found = TypeVar("Found")


def default_folder() -> Path:
    """``MLFLOW_DLVIZ_CACHE``, or ``mlflow-dlviz`` where the user's caches lie."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlflow-dlviz"


def is_settled(run: Run, now: float | None = None) -> bool:
    """Whether ``run`` ended at least a minute ago, so that it is over unless somebody takes it up again.

    now: Unix seconds, by default the present.
    """
    end = run.info.end_time
    now_ms = 1000 * (time.time() if now is None else now)
    return run.info.status in _ENDED and bool(end) and end + _SETTLED_MS <= now_ms


def history_token(run: Run, point: tuple[int, int, float]) -> str:
    """What stays the same as long as the history of a metric does; point: the last one."""
    return f"{run.info.end_time} {point[0]} {point[1]} {point[2]!r}"


def run_token(run: Run) -> str:
    """What stays the same as long as nothing was logged to ``run``: late pictures come with a tag or a metric."""
    known = [run.info.status, run.info.end_time, sorted(run.data.tags.items()), sorted(last_points(run).items())]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


class Cache:
    """Of the runs of one store, bytes by kind and name, valid under the token they were kept with.

    For one thread. folder: by default :func:`default_folder`; limit: bytes on disk; refresh: take nothing out,
    but keep what comes; off: neither.
    """

    def __init__(
        self,
        tracking_uri: str,
        *,
        folder: Path | None = None,
        limit: int = LIMIT_BYTES,
        refresh: bool = False,
        off: bool = False,
    ) -> None:
        self._store = hashlib.sha256(absolute(tracking_uri).encode()).hexdigest()
        self._limit, self._refresh = limit, refresh
        self._used: set[str] = set()
        self._connection: sqlite3.Connection | None = None
        if not off:
            with suppress(sqlite3.Error, OSError, RuntimeError):
                self._connection = _opened((folder or default_folder()) / _FILE)

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def get(self, kind: str, tokens: Mapping[Place, str]) -> dict[Place, bytes]:
        """What is kept of ``tokens``' places under these tokens."""
        if self._refresh or not tokens:
            return {}
        asked = [(run, name, token) for (run, name), token in tokens.items()]
        nothing: dict[Place, bytes] = {}
        found = self._tried(partial(_looked_up, store=self._store, kind=kind, asked=asked), nothing)
        self._used.update(run for run, _ in found)
        return found

    def put(self, kind: str, contents: Mapping[Place, tuple[str, bytes]]) -> None:
        """Keep ``{place: (token, content)}``, instead of what was kept there before."""
        if not contents:
            return
        runs = dict.fromkeys(run for run, _ in contents)
        rows = [
            (kind, name, token, content, self._store, run) for (run, name), (token, content) in contents.items()
        ]

        def keep(to: sqlite3.Connection) -> None:
            to.executemany(_USED, [(self._store, run, int(time.time())) for run in runs])
            to.executemany(
                "INSERT OR REPLACE INTO entries (run, kind, name, token, content) "
                "SELECT id, ?, ?, ?, ? FROM runs WHERE store = ? AND run = ?",
                rows,
            )

        self._tried(keep, None)

    def close(self) -> None:
        """Let go of the file, no larger than the limit."""
        used = [(self._store, run, int(time.time())) for run in sorted(self._used)]
        self._tried(lambda to: to.executemany(_USED, used), None)
        self._tried(partial(_shrink, limit=self._limit), None)
        self._drop()

    def _tried(self, act: Callable[[sqlite3.Connection], Found], otherwise: Found) -> Found:
        """What ``act`` returns, in one transaction; after any failure there is no cache any more."""
        if self._connection is None:
            return otherwise
        try:
            with self._connection:
                return act(self._connection)
        except (sqlite3.Error, OSError):
            self._drop()
            return otherwise

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


_USED = (
    "INSERT INTO runs (store, run, used) VALUES (?, ?, ?) "
    "ON CONFLICT (store, run) DO UPDATE SET used = excluded.used"
)


def _looked_up(
    to: sqlite3.Connection, *, store: str, kind: str, asked: Sequence[tuple[str, str, str]]
) -> dict[Place, bytes]:
    to.executemany("INSERT INTO temp.asked VALUES (?, ?, ?)", asked)
    rows = to.execute(
        # "CROSS" keeps SQLite from starting at the large table.
        "SELECT asked.run, asked.name, entries.content FROM temp.asked "
        "CROSS JOIN runs ON runs.store = ? AND runs.run = asked.run "
        "CROSS JOIN entries ON entries.run = runs.id AND entries.kind = ? AND entries.name = asked.name "
        "WHERE entries.token = asked.token",
        (store, kind),
    ).fetchall()
    to.execute("DELETE FROM temp.asked")
    return {(run, name): content for run, name, content in rows}


def _shrink(to: sqlite3.Connection, *, limit: int) -> None:
    if _size(to) <= limit:
        return
    to.executemany("DELETE FROM entries WHERE run = ?", _oldest(to, _size(to) - int(_KEPT * limit)))
    to.execute("DELETE FROM runs WHERE id NOT IN (SELECT run FROM entries)")
    to.commit()
    to.execute("PRAGMA incremental_vacuum").fetchall()


def _oldest(to: sqlite3.Connection, size: int) -> list[tuple[int]]:
    """The runs that were used longest ago, as many as hold ``size`` bytes."""
    rows = to.execute(
        "SELECT runs.id, SUM(LENGTH(content)) FROM runs JOIN entries ON entries.run = runs.id "
        "GROUP BY runs.id ORDER BY used, runs.id"
    ).fetchall()
    chosen = []
    for run, held in rows:
        if size <= 0:
            break
        chosen.append((run,))
        size -= held
    return chosen


def _size(to: sqlite3.Connection) -> int:
    [page], [pages], [free] = (
        to.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count", "freelist_count")
    )
    return page * (pages - free)


def _opened(path: Path) -> sqlite3.Connection:
    own_folder(path.parent)
    try:
        return _connected(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:  # damaged: nothing in it is worth a repair
        path.unlink()
        return _connected(path)


def _connected(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=5)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
