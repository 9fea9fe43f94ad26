"""Requests side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

Key = TypeVar("Key")
Found = TypeVar("Found")


def completed(jobs: int, calls: Mapping[Key, Callable[[], Found]]) -> Iterator[tuple[Key, Future[Found]]]:
    """Each of ``calls`` under its key as it is done, ``jobs`` at a time; who stops asking, stops the rest."""
    pool = ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="dlviz-read")
    try:
        pending = {pool.submit(call): key for key, call in calls.items()}
        for future in as_completed(pending):
            yield pending[future], future
    finally:
        # Nobody waits for what is under way: it may hang, and this may be a thread of the pool itself.
        pool.shutdown(wait=False, cancel_futures=True)
