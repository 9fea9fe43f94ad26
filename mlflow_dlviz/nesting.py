"""What records in this thread, one within another: a ``fit`` in a callback of a ``fit``, or in a loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

PAUSED: ContextVar[bool] = ContextVar("dlviz_paused", default=False)
"""Whether everything that begins in this thread is to be left alone."""


class Closable(Protocol):
    """Something that records from its opening to its close."""

    @property
    def is_open(self) -> bool:
        """Whether there is something to close."""

    def close(self, status: str) -> None:
        """End with FINISHED, FAILED or KILLED; safe to call twice."""


# A list for each of the nested blocks of this thread, the innermost last.
_LEVELS: ContextVar[tuple[list[Closable], ...]] = ContextVar("dlviz_levels", default=())


@contextmanager
def closing() -> Iterator[None]:
    """Close what is added within, with the status that the block ends in."""
    level: list[Closable] = []
    token = _LEVELS.set((*_LEVELS.get(), level))
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        _LEVELS.reset(token)
        for each in level:
            each.close(status)


def add(closable: Closable) -> bool:
    """Have the innermost block close this; False if there is none in this thread."""
    levels = _LEVELS.get()
    if levels:
        levels[-1].append(closable)
    return bool(levels)


def is_within() -> bool:
    """Whether something that is open already goes on in this thread."""
    return any(each.is_open for level in _LEVELS.get() for each in level)
