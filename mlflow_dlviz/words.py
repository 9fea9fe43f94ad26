"""Words of what is said to people, wherever it is said."""

from __future__ import annotations


def count(number: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 run", "2 runs"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
