"""Pictures: a row per run, a column per visual, one epoch slider for all."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from mlflow_dlviz.reporting.analysis import Analysis, axis_name
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.pictures import WIDTH
from mlflow_dlviz.reporting.section import Section


def build(analysis: Analysis) -> Section:
    """All pictures, each different one stored once."""
    if not any(run.frames for run in analysis.runs):
        narrowed = analysis.options.images != "*" or analysis.options.epochs
        asked = " of the keys and epochs asked for" if narrowed else ""
        return Section("pictures", "Pictures", reason=f"no pictures{asked} were logged")
    found = strips(analysis.runs)
    return Section("pictures", "Pictures", {"width": WIDTH, "axis": found["axis"], "steps": found["steps"]}, found)


def strips(runs: Sequence[RunData]) -> dict[str, Any]:
    """What the slider needs, and each different picture once, base64 of WebP that the frames point to.

    strips: of each run with pictures, by key the frames in order, [step, number of the image] or, where there
    is none, [step, the reason].
    """
    keys = sorted({frame.key for run in runs for frame in run.frames})
    steps = sorted({frame.step for run in runs for frame in run.frames})
    numbers: dict[bytes, int] = {}
    found = []
    for place, run in enumerate(runs):
        by_key: dict[str, list] = {key: [] for key in keys}
        for frame in sorted(run.frames, key=lambda frame: (frame.key, frame.step)):
            shown = frame.reason if frame.webp is None else numbers.setdefault(frame.webp, len(numbers))
            by_key[frame.key].append([frame.step, shown])
        if run.frames:
            found.append({"run": place, "frames": list(by_key.values())})
    axis = axis_name([run for run in runs if run.frames])
    images = [base64.b64encode(webp).decode("ascii") for webp in numbers]
    return {"keys": keys, "steps": steps, "strips": found, "axis": axis, "images": images}
