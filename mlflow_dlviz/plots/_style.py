"""What all pictures share: size, colours, text that is safe to draw, and the way to bytes.

Positions are pixels from the top left of a 750 x 500 picture. Every colour and font is set here by hand:
the user's rcParams (a dark style, usetex) must not reach our pictures, and we must not change theirs.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from mlflow_dlviz.plots._text import fonts, number

WIDTH, HEIGHT, DPI = 750, 500, 100
"""3:2, as the MLflow card; a 256-px thumbnail shows it at a third, so no text is below 12 pt."""

MARGIN, TOP, BOTTOM = 16, 88, 434
"""Left and right margin; where plots begin, under the header; where plots with an x axis end."""

TITLE, LABEL, TICK = 18, 15, 14
INK, SOFT, RULE, MISSING = "#1a1a1a", "#4d4d4d", "#b3b3b3", "#9e9e9e"

# Okabe and Ito's colours without black and yellow, which are lost on dark and on light, then three of Paul Tol's.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#332288", "#44AA99",
)  # fmt: skip
# One fewer than colours, so that 90 classes differ in one or the other.
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "d", "h")

SEQUENTIAL = matplotlib.colormaps["viridis"].with_extremes(over=MISSING, bad="white")
DIVERGING = matplotlib.colormaps["RdBu_r"].with_extremes(over=MISSING, bad="white")
TWO_CLASSES = LinearSegmentedColormap.from_list(
    "two_classes", ["#6fa8d0", "#b7d3e6", "#fafafa", "#f2c6a6", "#e39a68"]
)
"""From a tint of the first of COLOURS to one of the second, so that points of both stand out on it."""


class Box(NamedTuple):
    """A rectangle in pixels from the top left."""

    left: float
    top: float
    width: float
    height: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """left, right, bottom, top, as ``imshow`` takes it on a canvas."""
        return self.left, self.left + self.width, self.top + self.height, self.top

    @property
    def fractions(self) -> tuple[float, float, float, float]:
        """left, bottom, width, height of the figure, as ``add_axes`` takes it."""
        bottom = 1 - (self.top + self.height) / HEIGHT
        return self.left / WIDTH, bottom, self.width / WIDTH, self.height / HEIGHT


def new_figure() -> Figure:
    """An empty white 750 x 500 figure that belongs to no pyplot window."""
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor="white", edgecolor="white")
    figure.set_layout_engine("none")
    return figure


def colour(k: int) -> str:
    """The colour of class ``k``."""
    return COLOURS[k % len(COLOURS)]


# ---- text ----------------------------------------------------------------------------------------------------


def font(size: float = TICK, colour: str = INK, **more: Any) -> dict[str, Any]:
    """Text properties that no rcParams can change."""
    families, _ = fonts()
    return {"fontsize": size, "color": colour, "family": families, "usetex": False, **more}


def write(
    figure: Figure, x: float, y: float, line: str, size: float = TICK, colour: str = INK, **more: Any
) -> Text:
    """One line of text (already made safe by :func:`text`) at a pixel; ``va`` is "top" unless told."""
    properties = font(size, colour, **{"va": "top", **more})
    return figure.text(x / WIDTH, 1 - y / HEIGHT, line, **properties)


def header(figure: Figure, title: str, epoch: Any = None, subtitle: str = "") -> None:
    """What every picture begins with: title, epoch at the right, a line of facts below."""
    write(figure, MARGIN, 14, title, TITLE, weight="bold")
    if epoch is not None:
        write(figure, WIDTH - MARGIN, 14, f"epoch {int(epoch)}", TITLE, ha="right")
    if subtitle:
        write(figure, MARGIN, 48, subtitle, TICK, SOFT)


# ---- axes ----------------------------------------------------------------------------------------------------


def canvas(figure: Figure) -> Axes:
    """Axes over the whole figure in pixels: a fifth of the cost of ticked ones, for all that needs no ticks."""
    area = figure.add_axes((0, 0, 1, 1), label="canvas")
    area.axis("off")
    area.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0), autoscale_on=False)
    return area


def axes(figure: Figure, box: Box, *, xlabel: str = "", ylabel: str = "") -> Axes:
    """Plain ticked axes in ``box``; ticks are set by :func:`ticks`, sparingly: each costs a millisecond."""
    area = figure.add_axes(box.fractions, facecolor="white")
    area.set(xticks=[], yticks=[], axisbelow=True)
    area.grid(False)
    area.tick_params(colors=INK, length=5, width=1, direction="out")
    for side, spine in area.spines.items():
        spine.set(color=INK, linewidth=1, visible=side in ("left", "bottom"))
    if xlabel:
        write(figure, box.left + box.width / 2, HEIGHT - 8, xlabel, LABEL, ha="center", va="bottom")
    if ylabel:
        middle = box.top + box.height / 2
        write(figure, 10, middle, ylabel, LABEL, rotation=90, ha="left", va="center")
    return area


def ticks(area: Axes, *, x: tuple | None = None, y: tuple | None = None, size: float = TICK) -> None:
    """Set ticks: ``(positions,)`` or ``(positions, labels)`` for each axis."""
    for given, setter in ((x, area.set_xticks), (y, area.set_yticks)):
        if given is None:
            continue
        places = list(given[0])
        labels = given[1] if len(given) > 1 else [number(place) for place in places]
        setter(places, list(labels), **font(size))
    area.minorticks_off()


def spread(count: int, at_most: int) -> list[int]:
    """At most ``at_most`` of ``range(count)``, evenly spread, the first and the last always."""
    if count <= at_most:
        return list(range(count))
    return np.unique(np.linspace(0, count - 1, at_most).round().astype(int)).tolist()


def round_ticks(low: float, high: float) -> list[float]:
    """Two to five round numbers between the limits."""
    span = high - low
    if not np.isfinite(span) or span <= 0:
        return []
    step = 10.0 ** np.floor(np.log10(span / 2.5))
    step *= max(factor for factor in (1, 2, 2.5, 5) if factor * step <= span / 2.5)
    first = np.ceil(low / step)
    # Not arange with a float step: -0.0 and 0.30000000000000004 would be printed.
    return [float(i * step) + 0.0 for i in range(int(first), int(np.floor(high / step)) + 1)]


def colourbar(
    figure: Figure,
    area: Axes,
    box: Box,
    cmap: Colormap,
    norm: Normalize,
    marks: Sequence[tuple],
    label: str = "",
) -> None:
    """A slim colourbar on a canvas; ``marks`` are ``(value, text)``."""
    shades = norm.inverse((np.arange(128) + 0.5) / 128)
    image = area.imshow(
        np.asarray(shades)[::-1, None],
        cmap=cmap,
        norm=norm,
        extent=box.extent,
        aspect="auto",
        interpolation="nearest",
    )
    image.set_label("colourbar")
    for value, mark in marks:
        y = box.top + box.height * (1 - float(norm(value)))
        write(figure, box.left + box.width + 6, y, mark, va="center_baseline")
    if label:
        write(figure, WIDTH - 8, box.top - 8, label, LABEL, ha="right", va="bottom")


def sign(area: Axes, x: float, y: float, **line: Any) -> None:
    """A legend's sample on a canvas: a line from ``x`` to ``x + 24``, or a marker at ``x``."""
    across = [x, x + 24] if line.get("linestyle", "none") != "none" else [x]
    area.add_line(Line2D(across, [y] * len(across), **line))


# ---- bytes ---------------------------------------------------------------------------------------------------

# Pixels a side, as in mlflow.tracking.multimedia.
_THUMBNAIL = 256
_MOST_PIXELS = 50_000_000


def encode(figure: Figure) -> bytes:
    """``figure`` as an opaque RGB PNG at its own size."""
    return _png(_pixels(figure))


def encode_both(figure: Figure) -> tuple[bytes, bytes]:
    """What :func:`encode` and :func:`thumbnail` give, from drawing once and without decoding."""
    pixels = _pixels(figure)
    return _png(pixels), _webp(Image.fromarray(pixels))


def thumbnail(png: bytes) -> bytes:
    """``png`` as a square WebP of MLflow's thumbnail size: the picture at the top, below it nothing.

    MLflow's UI (seen in 3.17) centres a thumbnail in a square and cuts that off at the bottom of the card:
    centred, a landscape picture would lose its lower third.
    """
    with Image.open(io.BytesIO(png)) as image:
        return _webp(image.convert("RGB"))


def _pixels(figure: Figure) -> np.ndarray:
    width, height = (float(side) * figure.dpi for side in figure.get_size_inches())
    if width * height > _MOST_PIXELS:
        # Beyond that, drawing may take all memory, and the process with it.
        raise ValueError(f"a figure of {width:.0f} × {height:.0f} pixels is too large to be a picture")
    before = figure.canvas
    renderer = FigureCanvasAgg(figure)
    try:
        renderer.draw()
    finally:
        figure.set_canvas(before)
    pixels = np.asarray(renderer.buffer_rgba())
    image = Image.fromarray(pixels)
    if pixels[..., 3].min() < 255:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _webp(image: Image.Image) -> bytes:
    scale = _THUMBNAIL / max(image.size)
    shape = (max(int(image.width * scale), 1), max(int(image.height * scale), 1))
    small = image.resize(shape, Image.Resampling.LANCZOS, reducing_gap=2.0)
    square = Image.new("RGBA", (_THUMBNAIL, _THUMBNAIL), (0, 0, 0, 0))
    square.paste(small, ((_THUMBNAIL - shape[0]) // 2, 0))
    file = io.BytesIO()
    square.save(file, "webp", quality=85, method=0)
    return file.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    """(height, width, 3) bytes as a PNG; rows unfiltered, in a third of the time of Pillow's filter search."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)
