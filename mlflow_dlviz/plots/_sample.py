"""The sample that caused the activations, drawn beside or above them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots._style import HEIGHT, MARGIN, TOP, Box

WIDE = 128
_LAST = HEIGHT - MARGIN


def beside(figure: Figure, area: Axes, sample) -> bool:
    """Draw the sample at the left; False when it is neither an image nor a table's row.

    Of an image with neither one channel nor the three colours the mean over the channels is drawn.
    """
    sample = np.asarray(sample)
    if sample.size == 0 or sample.dtype.kind not in "fiub" or not 1 <= sample.ndim <= 3:
        return False
    caption = "input"
    if sample.ndim == 1:
        _features(area, sample)
    elif sample.ndim == 3 and sample.shape[2] not in (1, 3):
        _picture(area, _unit(sample).mean(axis=2))
        caption = f"input, mean of {sample.shape[2]}"
    else:
        _picture(area, _unit(sample))
    style.write(figure, MARGIN, TOP - 2, caption, style.TICK, style.SOFT)
    return True


def _unit(sample: np.ndarray) -> np.ndarray:
    """Any range to [0, 1]; bytes keep their own scale."""
    if sample.dtype == np.uint8:
        return sample / 255
    sample = sample.astype(np.float64) / 2  # so that no range overflows
    finite = sample[np.isfinite(sample)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    return np.clip(np.nan_to_num((sample - low) / max(high - low, 1e-12)), 0, 1)


def _picture(area: Axes, sample: np.ndarray) -> None:
    """An image in [0, 1]: (H, W), (H, W, 1) or (H, W, 3)."""
    sample = sample[..., 0] if sample.ndim == 3 and sample.shape[2] == 1 else sample
    height, width = sample.shape[:2]
    room = _LAST - TOP - 26
    scale = min(WIDE / width, room / height)
    box = Box(MARGIN, TOP + 26, max(width * scale, 4), max(height * scale, 4))
    smooth = "nearest" if scale >= 1 else "antialiased"
    image = area.imshow(
        sample, cmap="gray", vmin=0, vmax=1, extent=box.extent, aspect="auto", interpolation=smooth
    )
    image.set_label("input")


def _features(area: Axes, sample: np.ndarray) -> None:
    """One bar per feature, downwards, to the right of the middle when positive."""
    sample = np.nan_to_num(sample.astype(np.float64), posinf=0, neginf=0)
    reach = np.abs(sample).max() or 1.0
    middle = MARGIN + WIDE / 2
    edges = np.linspace(TOP + 26, _LAST, len(sample) + 1)
    ends = middle + sample / reach * WIDE / 2
    area.stairs(
        ends,
        edges,
        baseline=middle,
        orientation="horizontal",
        fill=True,
        color=style.COLOURS[0],
        label="input",
    )
    area.plot([middle, middle], [TOP + 26, _LAST], color=style.INK, linewidth=1)


def above(figure: Figure, area: Axes, signal: np.ndarray, box: Box) -> None:
    """A one-dimensional input above its channels, over the same positions."""
    ends = box.top + box.height * (1 - _unit(signal))
    edges = np.linspace(box.left, box.left + box.width, len(signal) + 1)
    area.stairs(ends, edges, baseline=None, color=style.COLOURS[0], linewidth=1.5, label="input")
    style.write(figure, box.left - 12, box.top + box.height / 2, "input", style.TICK, style.SOFT, ha="right",
                va="center")  # fmt: skip
