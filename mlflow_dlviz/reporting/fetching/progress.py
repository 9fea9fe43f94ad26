"""Progress on stderr while a report is fetched."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow_dlviz.reporting.fetching.source import Progress

_PATIENCE = 10.0


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """A bar for each stage on a terminal; elsewhere a line per stage, and only once it has taken long."""
    shown = _Bars() if sys.stderr.isatty() else _Lines()
    try:
        yield shown.advance
    finally:
        shown.close()


class _Bars:
    def __init__(self) -> None:
        self._bar: Any = None
        self._what = ""

    def advance(self, what: str, done: int, total: int) -> None:
        import click

        if what != self._what:
            self.close()
            self._what = what
            self._bar = click.progressbar(length=total, label=f"{what:<18}", file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(done - self._bar.pos)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


class _Lines:
    def __init__(self) -> None:
        self._started = self._told = time.monotonic()

    def advance(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= _PATIENCE:
            self._told = now
            print(f"{what}: {done} of {total} after {now - self._started:.0f} s", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is open."""
