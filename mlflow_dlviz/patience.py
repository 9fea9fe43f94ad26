"""Waiting no longer than one is willing to."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def within(seconds: float, function: Callable[[], T]) -> T:
    """What ``function`` returns, or raises, if it takes no longer than so many seconds.

    Raises TimeoutError else; it then goes on alone, on a daemon thread that nobody waits for: Python can't
    end a thread, and MLflow takes no time-out of one call.
    """
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.extend((True, function()))
        except BaseException as error:  # whatever it is, it belongs to who asked
            outcome.extend((False, error))

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(call,), name="mlflow-dlviz_within", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"not done within {seconds:g} s")
    if outcome[0]:
        return outcome[1]
    raise outcome[1]
