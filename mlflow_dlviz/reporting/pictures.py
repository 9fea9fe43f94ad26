"""Which pictures go into a page, and how small: thinning out and re-encoding. Pure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

WIDTH = 450
"""Pixels: text drawn for a 256-px thumbnail stays legible, and a tile on a phone is no wider."""

IMAGE_BUDGET = 40 * 2**20
"""Characters of base64 in one page. MLflow's artifact viewer refuses files over 50 MiB."""

_QUALITY = 80


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
    cap = max((len(each) for each in steps.values()), default=0)
    while cap > 1 and sum(min(len(each), cap) for each in steps.values()) > most:
        cap -= 1
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
    """``image`` (any format that Pillow reads) as WebP, at most ``WIDTH`` wide; raises when it cannot be read."""
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        see_through = "A" in opened.getbands() or "transparency" in opened.info
        picture = opened.convert("RGBA" if see_through else "RGB")
    if picture.width > WIDTH:
        height = max(1, round(picture.height * WIDTH / picture.width))
        picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    # method 2 of 6: half the time of the default for a few per cent more bytes.
    picture.save(out, "WEBP", quality=_QUALITY, method=2)
    return out.getvalue()
