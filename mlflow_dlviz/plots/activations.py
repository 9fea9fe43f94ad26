"""Activations of one layer: a mosaic of feature maps, channels by position, or units by probe sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, FuncNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from mlflow_dlviz.plots import _sample
from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots._style import BOTTOM, HEIGHT, MARGIN, TOP, WIDTH, Box
from mlflow_dlviz.plots._text import number, percent, text

GAP = 2
_BAR = 16
_LAST = HEIGHT - MARGIN


def draw(
    *, values, axes, limit, low, channels, total, input, layer, kind, epoch, dead, clipped, labels=None,
    class_names=None,
) -> Figure:  # fmt: skip
    """Draw the activations of one layer at one epoch.

    values: what the layer returned on the probe, by ``axes``:
        "channel,row,column": (C, h, w) feature maps of one sample; "channel,position": (C, T) of one sample,
        T time steps; "sample,unit": (N, C) of N probe samples. Values that are not finite are drawn grey.
    axes: 0-d unicode, one of the three above.
    low, limit: 0-d, the colour limits, fixed over epochs. low is 0 (one-sided layers) or -limit.
    channels: (C,) int, which of the layer's ``total`` (0-d int) channels these are.
    input: the sample that caused them: (H, W) or (H, W, channels) image, or (F,) features; any other shape,
        an empty one as well, is left out, as it is beside many samples. Of an image with other than 1 or 3
        channels their mean is shown.
    layer, kind: 0-d unicode, the layer's path in the model and its class.
    epoch: 0-d int, 0-based.
    dead: 0-d, share of the chosen channels with no activation at all on the probe, in [0, 1].
    clipped: 0-d, share of values above ``limit``, in [0, 1].
    labels: (N,) int true class of each probe sample; class_names: (K,) unicode. Samples are sorted by class.
    """
    values = np.asarray(values, dtype=np.float64)
    if str(axes) not in _LAYOUTS:
        raise ValueError(f"activations: axes={str(axes)!r}, expected one of {sorted(_LAYOUTS)}")
    dimensions, layout = _LAYOUTS[str(axes)]
    if values.ndim != dimensions or values.size == 0:
        raise ValueError(f"activations of {str(layer)!r}: values of shape {values.shape} for axes {str(axes)!r}")
    figure = style.new_figure()
    kind = text(kind, 16)
    title = f"{text(layer, 30 - len(kind))} · {kind}"
    style.header(
        figure, title, epoch, _facts(values, str(axes), len(np.atleast_1d(channels)), total, dead, clipped)
    )
    scale = colours(float(low), float(limit))
    layout(figure, values, scale, channels=np.atleast_1d(channels), input=input, labels=labels,
           class_names=class_names)  # fmt: skip
    return figure


def _facts(values: np.ndarray, axes: str, chosen: int, total, dead, clipped) -> str:
    noun = "unit" if axes == "sample,unit" else "channel"
    total = max(int(total), chosen)
    count = f"{chosen} of {total} {noun}s" if chosen < total else f"{total} {noun}{'s' if total > 1 else ''}"
    facts = [count, f"{percent(float(dead))} dead", f"{percent(float(clipped))} clipped"]
    facts.append("√ colour scale")
    if strange := 1 - np.isfinite(values).mean():
        facts.append(f"{percent(strange)} not finite (grey)")
    return "  ·  ".join(facts)


class Scale(NamedTuple):
    """A colour map and its limits."""

    cmap: Colormap
    low: float
    limit: float

    @property
    def norm(self) -> Normalize:
        """The signed root between the limits: what grows fourfold while training is still told apart."""
        return FuncNorm((_signed_root, _signed_square), self.low, self.limit)


def _signed_root(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.sqrt(np.abs(values))


def _signed_square(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.square(values)


def colours(low: float, limit: float) -> Scale:
    """Sequential for one-sided layers, diverging for signed ones; a layer dead from the start has limit 0."""
    if not np.isfinite(low):
        low = 0.0
    if not np.isfinite(limit) or limit <= low:
        limit = low + 1
    return Scale(style.DIVERGING if low < 0 else style.SEQUENTIAL, low, limit)


def paint(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Clipped to the limits, and what is not finite moved above them, where the colour map is grey."""
    values = np.asarray(values, dtype=np.float64)  # a float32 could not hold every limit
    beyond = 2 * scale.limit - scale.low
    return np.where(np.isfinite(values), np.clip(values, scale.low, scale.limit), beyond)


# ---- the mosaic ----------------------------------------------------------------------------------------------


def tiling(count: int, height: int, width: int, room: tuple[int, int]) -> tuple[int, float]:
    """The number of columns that shows ``count`` tiles of height x width largest in ``room``, and that scale."""
    columns = np.arange(1, count + 1)
    rows = -(-count // columns)
    down = (room[0] - (rows - 1) * GAP) / (rows * height)
    across = (room[1] - (columns - 1) * GAP) / (columns * width)
    scale = np.minimum(down, across)
    best = int(np.argmax(scale))
    return int(columns[best]), float(scale[best])


def resize(tiles: np.ndarray, scale: float) -> np.ndarray:
    """(C, h, w) tiles enlarged by nearest neighbour, or shrunk by averaging areas."""
    height, width = (max(1, int(side * scale + 1e-9)) for side in tiles.shape[1:])
    if scale >= 1:
        rows, columns = (
            np.arange(n) * side // n for n, side in ((height, tiles.shape[1]), (width, tiles.shape[2]))
        )
        return tiles[:, rows[:, None], columns]
    # Pillow's box filter averages exact areas; one call per channel is far below one resampling by matplotlib.
    shrunk = [Image.fromarray(t).resize((width, height), Image.Resampling.BOX) for t in _single(tiles)]
    return np.stack([np.asarray(tile) for tile in shrunk])


def _single(values: np.ndarray) -> np.ndarray:
    """As float32, Pillow's only kind; what is finite stays so."""
    most = np.finfo(np.float32).max
    return np.where(np.isfinite(values), np.clip(values, -most, most), values).astype(np.float32)


def mosaic(tiles: np.ndarray, columns: int, gap: int = GAP) -> np.ndarray:
    """(C, h, w) tiles side by side, row by row, ``columns`` to a row; NaN between them and after the last."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, height + gap, width + gap), np.nan)
    sheet[:count, :height, :width] = tiles
    sheet = sheet.reshape(rows, columns, height + gap, width + gap).swapaxes(1, 2)
    sheet = sheet.reshape(rows * (height + gap), columns * (width + gap))
    return sheet[: len(sheet) - gap, : sheet.shape[1] - gap]


def _maps(figure: Figure, values: np.ndarray, scale: Scale, *, input, **_) -> None:
    area = style.canvas(figure)
    left = MARGIN + (_sample.WIDE + 24) * _sample.beside(figure, area, input)
    room = (_LAST - TOP, WIDTH - 118 - left)
    count, height, width = values.shape
    columns, factor = tiling(count, height, width, room)
    sheet = mosaic(paint(resize(values, factor), scale), columns)
    box = Box(left + (room[1] - sheet.shape[1]) // 2, TOP + (room[0] - sheet.shape[0]) // 2, *sheet.shape[::-1])
    image = area.imshow(
        sheet, cmap=scale.cmap, norm=scale.norm, extent=box.extent, aspect="auto", interpolation="nearest"
    )
    image.set_label("activations")
    _bar(figure, area, scale)


def _bar(figure: Figure, area: Axes, scale: Scale, bottom: int = _LAST) -> None:
    low, limit = scale.low, scale.limit
    # The ends hold what lies beyond them, too.
    ends = ("≤" if low < 0 else "") + number(low, 2), "≥" + number(limit, 2)
    middle = 0.0 if low < 0 else limit / 4
    marks = [(low, ends[0]), (middle, number(middle, 2)), (limit, ends[1])]
    box = Box(WIDTH - 102, TOP + 34, _BAR, bottom - TOP - 42)
    style.colourbar(figure, area, box, scale.cmap, scale.norm, marks, "activation")


# ---- channels by position, samples by unit -------------------------------------------------------------------


def _heat(area: Axes, values: np.ndarray, scale: Scale, box: Box) -> None:
    rows, columns = values.shape
    down, across = min(1, box.height / rows), min(1, box.width / columns)
    if min(down, across) < 1:
        size = max(1, int(columns * across)), max(1, int(rows * down))
        shrunk = Image.fromarray(_single(values)).resize(size, Image.Resampling.BOX)
        values = np.asarray(shrunk)
    image = area.imshow(
        paint(values, scale), cmap=scale.cmap, norm=scale.norm, aspect="auto", interpolation="nearest",
        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
    )  # fmt: skip
    image.set_label("activations")


def _series(figure: Figure, values: np.ndarray, scale: Scale, *, channels, input, **_) -> None:
    rest = style.canvas(figure)
    signal = np.squeeze(np.asarray(input)) if np.size(input) > 1 else np.empty(0)
    above = 84 if signal.ndim == 1 and signal.size and signal.dtype.kind in "fiub" else 0
    left = MARGIN + 68 + (0 if above else (_sample.WIDE + 24) * _sample.beside(figure, rest, input))
    box = Box(left, TOP + above, WIDTH - 118 - left, BOTTOM - TOP - above)
    if above:
        _sample.above(figure, rest, signal, Box(left, TOP, box.width, above - 14))
    area = style.axes(figure, box, xlabel="position")
    style.write(figure, left - 66, box.top + box.height / 2, "channel", style.LABEL, rotation=90, va="center")
    _heat(area, values, scale, box)
    rows, columns = style.spread(values.shape[0], 4), style.spread(values.shape[1], 4)
    style.ticks(area, x=(columns,), y=(rows, [str(int(channels[row])) for row in rows]))
    _bar(figure, rest, scale, BOTTOM)


def _units(figure: Figure, values: np.ndarray, scale: Scale, *, channels, labels, class_names, **_) -> None:
    rest = style.canvas(figure)
    sorted_by_class = labels is not None and len(labels) == len(values)
    left = 168 if sorted_by_class else 84
    box = Box(left, TOP, WIDTH - 118 - left, BOTTOM - TOP)
    area = style.axes(figure, box, xlabel="unit", ylabel="" if sorted_by_class else "probe sample")
    if sorted_by_class:
        order = np.argsort(labels, kind="stable")
        values, labels = values[order], np.asarray(labels)[order]
    _heat(area, values, scale, box)
    columns, rows = style.spread(values.shape[1], 5), style.spread(values.shape[0], 4)
    style.ticks(area, x=(columns, [str(int(channels[column])) for column in columns]))
    if sorted_by_class:
        _classes(figure, area, rest, box, labels, class_names)
    else:
        style.ticks(area, y=(rows,))
    _bar(figure, rest, scale, BOTTOM)


def _classes(figure: Figure, area: Axes, rest: Axes, box: Box, labels: np.ndarray, class_names) -> None:
    """A strip in the classes' colours at the left, their names beside it, white lines between them."""
    classes, starts, counts = np.unique(labels, return_index=True, return_counts=True)
    strip = np.array([to_rgb(style.colour(int(k))) for k in labels])[:, None]
    side = Box(box.left - 14, box.top, 10, box.height)
    rest.imshow(strip, extent=side.extent, aspect="auto", interpolation="nearest").set_label("classes")
    if len(classes) <= 40:
        area.hlines(starts[1:] - 0.5, -0.5, area.get_xlim()[1], colors="white", linewidth=1.5)
    for i in style.spread(len(classes), min(10, int(box.height // 24))):
        k = int(classes[i])
        # A label may be no class of the model, such as 255 where that stands for "unknown".
        name = class_names[k] if class_names is not None and 0 <= k < len(class_names) else k
        middle = box.top + (starts[i] + counts[i] / 2) * box.height / len(labels)
        style.write(figure, box.left - 22, middle, text(name, 11), ha="right", va="center")


_LAYOUTS: dict[str, tuple[int, Callable[..., None]]] = {
    "channel,row,column": (3, _maps),
    "channel,position": (2, _series),
    "sample,unit": (2, _units),
}
