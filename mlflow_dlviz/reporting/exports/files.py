"""Files that are there as a whole or not at all, and names for them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST = 80


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to that becomes ``path`` once all is written; folders are made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write ``text`` as UTF-8; halves of characters, which no file can hold, become question marks."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "replace"))
    return Path(path)


def file_names(titles: list[str], suffix: str) -> list[str]:
    """A file name for each title, no two alike on a file system that ignores case."""
    taken: set[str] = set()
    found = []
    for title in titles:
        stem = _UNSAFE.sub("_", title).strip("._")[:_LONGEST] or "_"
        name, number = f"{stem}{suffix}", 2
        while name.lower() in taken:
            name, number = f"{stem}-{number}{suffix}", number + 1
        taken.add(name.lower())
        found.append(name)
    return found
