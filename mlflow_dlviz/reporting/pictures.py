"""Which pictures go into a page, and how small: thinning out and re-encoding. Pure."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Mapping, Sequence

WIDTH = 450
"""Pixels: text drawn for a 256-px thumbnail stays legible, and a tile on a phone is no wider."""

IMAGE_BUDGET = 40 * 2**20
"""Characters of base64 in one page. MLflow's artifact viewer refuses files over 50 MiB."""

_QUALITY = 80
# A picture of more needs half a gigabyte to read; one that is taller than this, at that width, is not to be read.
_MOST_PIXELS = 40_000_000
_TALLEST = 4 * WIDTH


class TooManyPixels(ValueError):
    """A picture that would take too much memory to read."""


def embedded_size(webp: bytes | None) -> int:
    """Characters of a picture in the page: base64 turns 3 bytes into 4."""
    return -(-len(webp or b"") // 3) * 4


def thin(steps: Sequence[int], most: int) -> list[int]:
    """At most ``most`` of ``steps``, evenly spread, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    if most <= 1:
        return list(steps[-1:]) if most == 1 else []
    return [steps[round(place * (len(steps) - 1) / (most - 1))] for place in range(most)]


def plan_frames(steps: Mapping[tuple[str, str], Sequence[int]], most: int) -> dict[tuple[str, str], list[int]]:
    """Of the steps of each (run, key), as many as keep the sum at or under ``most``: fewer each, alike for all.

    When not even one each fits, the first ``most`` of them have their last one.
    """
    lengths = [len(each) for each in steps.values()]
    caps = range(2, max(lengths, default=0) + 1)
    cap = 1 + bisect_right(caps, most, key=lambda cap: sum(min(length, cap) for length in lengths))
    chosen = {place: thin(each, cap) for place, each in steps.items()}
    if sum(map(len, chosen.values())) <= most:
        return chosen
    return {place: each for each_place, (place, each) in enumerate(chosen.items()) if each_place < most}


def within_budget(
    sizes: Mapping[tuple[str, str], Mapping[int, int]], budget: int
) -> dict[tuple[str, str], list[int]]:
    """The steps of each (run, key) to keep so that the sum of ``sizes`` in bytes stays within ``budget``."""
    total = sum(len(each) for each in sizes.values())
    most = total
    while True:
        kept = plan_frames({place: sorted(each) for place, each in sizes.items()}, most)
        used = sum(sizes[place][step] for place, each in kept.items() for step in each)
        if used <= budget or most == 0:
            return kept
        most = min(most - 1, int(most * budget / used))


def shrink(image: bytes) -> bytes:
    """``image`` (any format that Pillow reads) as WebP, at most ``WIDTH`` wide and four times as high.

    Raises TooManyPixels for one of more than 40 million, and what Pillow raises when it cannot be read.
    """
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        if opened.width * opened.height > _MOST_PIXELS:
            raise TooManyPixels(f"{opened.width} × {opened.height} pixels are too many")
        see_through = "A" in opened.getbands() or "transparency" in opened.info
        picture = opened.convert("RGBA" if see_through else "RGB")
    scale = min(WIDTH / picture.width, _TALLEST / picture.height)
    if scale < 1:
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    # method 2 of 6: half the time of the default for a few per cent more bytes.
    picture.save(out, "WEBP", quality=_QUALITY, method=2)
    return out.getvalue()
