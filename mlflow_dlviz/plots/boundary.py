"""The decision boundary of a classifier on a plane, with the data on top."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots._style import BOTTOM, TOP, Box
from mlflow_dlviz.plots._text import percent, text, texts

LEVELS = np.linspace(0, 1, 11)
LISTED = 11
_BOX = Box(92, TOP, 480, BOTTOM - TOP)
_SIDE = 592


def draw(
    *,
    xs,
    ys,
    probability,
    predicted,
    points,
    labels,
    class_names,
    axis_names,
    agreement,
    explained,
    plane,
    epoch,
) -> Figure:
    """Draw what the model predicts all over a plane, and the samples with their true classes.

    xs, ys: (G,) coordinates of the grid, rising; they are the limits, fixed over epochs.
    probability: (G, G), a row per y. Two classes: P(second class). More: P(predicted class).
    predicted: (G, G) int, the class predicted there.
    points: (N, 2) samples on the plane; labels: (N,) int, their true classes.
    class_names: (K,) unicode. axis_names: (2,) unicode.
    plane: 0-d unicode, "features" (the axes are two features) or "principal" (two principal components).
    explained: (2,) share of the variance along each principal component; NaN for features.
    agreement: 0-d, share of the samples whose predicted class equals the one predicted at their place on the
        plane, in [0, 1]: how far the picture can be trusted. NaN when the plane is all there is.
    epoch: 0-d int, 0-based.
    """
    xs, ys, probability = (np.asarray(a, dtype=np.float64) for a in (xs, ys, probability))
    if probability.shape != (len(ys), len(xs)) or min(probability.shape) < 2:
        raise ValueError(f"boundary: probability of shape {probability.shape} for a {len(ys)} x {len(xs)} grid")
    figure = style.new_figure()
    style.header(figure, "Decision boundary", epoch, _facts(float(agreement), points, labels, len(class_names)))
    x, y = (_axis(axis_names[i], np.atleast_1d(explained)[i], str(plane)) for i in range(2))
    area = style.axes(figure, _BOX, xlabel=x, ylabel=y)
    area.set_facecolor(style.MISSING)
    rest = style.canvas(figure)
    if len(class_names) <= 2:
        _shade(figure, area, rest, xs, ys, probability, class_names)
    else:
        _regions(area, xs, ys, probability, np.asarray(predicted), len(class_names))
    _samples(area, np.asarray(points, dtype=np.float64).reshape(-1, 2), np.asarray(labels))
    _legend(figure, rest, class_names, TOP if len(class_names) > 2 else 350)
    area.set(xlim=(xs[0], xs[-1]), ylim=(ys[0], ys[-1]))
    style.ticks(area, x=(style.round_ticks(xs[0], xs[-1]),), y=(style.round_ticks(ys[0], ys[-1]),))
    return figure


def _facts(agreement: float, points, labels, classes: int) -> str:
    if np.isfinite(agreement):
        return f"class on this plane = own prediction for {percent(agreement)} of points"
    return f"{len(points)} samples, marked by their true class"


def _axis(name, explained: float, plane: str) -> str:
    if plane == "principal" and np.isfinite(explained):
        return f"{text(name, 18)} ({percent(float(explained))} of variance)"
    return text(name, 28)


def _shade(figure: Figure, area: Axes, rest: Axes, xs, ys, probability: np.ndarray, class_names) -> None:
    probability = np.ma.masked_invalid(probability)
    norm = Normalize(0, 1)
    area.contourf(xs, ys, probability.clip(0, 1), levels=LEVELS, cmap=style.TWO_CLASSES, norm=norm)
    # Without a 0.5 in it, contour would warn, and there is no line to draw.
    if probability.count() and probability.min() < 0.5 < probability.max():
        area.contour(xs, ys, probability, levels=[0.5], colors=[style.INK], linewidths=2.5)
    marks = [(0.0, "0"), (0.5, "0.5"), (1.0, "1")]
    style.colourbar(figure, rest, Box(_SIDE, TOP + 38, 18, 190), style.TWO_CLASSES, norm, marks)
    style.write(figure, _SIDE, TOP - 2, f"P({text(class_names[-1], 10)})", style.LABEL)


def _regions(area: Axes, xs, ys, probability: np.ndarray, predicted: np.ndarray, classes: int) -> None:
    """Hue says the class, strength its probability, from the lowest that can win (1 / K) to 1."""
    hues = np.array([to_rgb(style.colour(k)) for k in range(classes)])
    sure = np.clip((np.nan_to_num(probability) - 1 / classes) / (1 - 1 / classes), 0, 1)
    strength = (0.12 + 0.5 * sure)[..., None]
    picture = 1 - strength * (1 - hues[np.clip(predicted, 0, classes - 1)])
    picture[~np.isfinite(probability)] = to_rgb(style.MISSING)
    half = (xs[-1] - xs[0]) / (len(xs) - 1) / 2, (ys[-1] - ys[0]) / (len(ys) - 1) / 2
    extent = (xs[0] - half[0], xs[-1] + half[0], ys[0] - half[1], ys[-1] + half[1])
    # Pillow smooths it to the size of the axes in a tenth of matplotlib's time.
    pixels = Image.fromarray(np.uint8(255 * picture)).resize(
        (int(_BOX.width), int(_BOX.height)), Image.Resampling.BILINEAR
    )
    image = area.imshow(np.asarray(pixels), extent=extent, origin="lower", aspect="auto", interpolation="nearest")
    image.set_label("regions")


def _marker(k: int, size: float) -> dict:
    return {
        "marker": style.MARKERS[k % len(style.MARKERS)], "markersize": size, "markerfacecolor": style.colour(k),
        "markeredgecolor": "white", "markeredgewidth": 1.2, "linestyle": "none",
    }  # fmt: skip


def _samples(area: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    size = 9 if len(points) <= 200 else 6 if len(points) <= 1000 else 4
    for k in np.unique(labels):
        chosen = points[labels == k]
        area.plot(chosen[:, 0], chosen[:, 1], label=f"class {int(k)}", **_marker(int(k), size))


def _legend(figure: Figure, rest: Axes, class_names, top: int) -> None:
    """The markers with the classes' names, at the right; past 11 classes the first 10 and how many follow."""
    shown = len(class_names) if len(class_names) <= LISTED else LISTED - 1
    style.write(figure, _SIDE, top, "true class", style.LABEL)
    for k, name in enumerate(texts(class_names[:shown], 12)):
        y = top + 40 + 27 * k
        style.sign(rest, _SIDE + 10, y, **_marker(k, 10))
        style.write(figure, _SIDE + 26, y, name, va="center_baseline")
    if shown < len(class_names):
        style.write(
            figure,
            _SIDE + 26,
            top + 40 + 27 * shown,
            f"+ {len(class_names) - shown} more",
            va="center_baseline",
        )
