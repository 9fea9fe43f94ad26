"""Waiting for what happens somewhere else: in a browser, a server, another process."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(true: Callable[[], object], what: str = "what was waited for", seconds: float = 90) -> None:
    """Return once it is true; raises TimeoutError if that takes too long."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
