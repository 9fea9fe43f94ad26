"""The user's names as text that is safe to draw: one line, short, no mathematics, no missing glyphs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib import font_manager

# Text of the user's in other scripts is drawn when one of these is installed.
_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "Arial Unicode MS",
)


@lru_cache(maxsize=1)
def fonts() -> tuple[list[str], frozenset[int]]:
    """The font families to use, and every code point that one of them can draw."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in _FALLBACKS if name in installed)]
    # Of one name there may be thin and bold files with fewer characters; this finds the one that is drawn with.
    files = map(font_manager.findfont, families)
    return families, frozenset().union(*(font_manager.get_font(file).get_charmap() for file in files))


def _cell(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns, with an ellipsis for its middle: both ends tell names apart."""
    if sum(map(_cell, text)) <= width:
        return text
    head, tail, room = "", "", width - 1
    for i in range(len(text)):
        forward = i % 2 == 0
        character = text[i // 2] if forward else text[-1 - i // 2]
        room -= _cell(character)
        if room < 0:
            break
        head, tail = (head + character, tail) if forward else (head, character + tail)
    return f"{head}…{tail}"


def _visible(character: str, drawable: frozenset[int]) -> str:
    category = unicodedata.category(character)
    if category in ("Cf", "Mn") and ord(character) not in drawable or category == "Cf":
        return ""  # joiners and variation selectors of emoji
    if category.startswith(("Z", "Cc")):
        return " "
    return character if ord(character) in drawable else "□"


def text(value: Any, width: int = 40) -> str:
    """``value`` (anything, a 0-d array as well) as one line of at most ``width`` columns, safe to draw.

    Line breaks and control characters become spaces, what no font can draw becomes a box (matplotlib would
    warn), and ``$`` is escaped (matplotlib would read mathematics).
    """
    _, drawable = fonts()
    # Far more than is shown, so that a name of a million characters costs nothing.
    raw = str(value)
    raw = raw if len(raw) <= 2000 else raw[:1000] + raw[-1000:]
    line = re.sub(" +", " ", "".join(_visible(character, drawable) for character in raw)).strip()
    return _cut(line, width).replace("$", r"\$")


def texts(values: Iterable[Any], width: int = 16) -> list[str]:
    """:func:`text` of each."""
    return [text(value, width) for value in values]


def number(value: float, digits: int = 3) -> str:
    """So many digits, in few columns ("2.5e−4" rather than 0.00025), with a true minus sign."""
    if value and not 0.01 <= abs(value) < 10**5:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        plain = f"{mantissa}e{int(exponent)}" if exponent else mantissa
    else:
        plain = f"{value:.{max(digits, len(str(int(abs(value)))))}g}"
    return plain.replace("-", "−")


def percent(share: float) -> str:
    """A share in per cent, never rounded to "0 %" or "100 %" when it is neither."""
    if not np.isfinite(share):
        return "? %"
    if 0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"
