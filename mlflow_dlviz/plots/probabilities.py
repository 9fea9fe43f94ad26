"""Histograms of predicted probabilities, split by the true class; and their course over the epochs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots._style import BOTTOM, MARGIN, TOP, WIDTH, Box
from mlflow_dlviz.plots._text import text, texts

PANELS = 12
_SHARES = [(0.0, "0"), (0.01, "1 %"), (0.1, "10 %"), (0.25, "25 %"), (0.5, "50 %"), (1.0, "100 %")]
_CLASS, _REST = style.COLOURS[1], style.COLOURS[0]


def draw(*, counts, edges, class_names, subset, epoch, multilabel=False) -> Figure:
    """Draw how the predicted probabilities spread at one epoch.

    Two classes: the probability of the second, by true class. More: each class' own probability for its
    samples and for the rest, in at most 12 panels (the classes with most samples, a choice that no epoch
    changes). Heights are shares of the class' samples, on a fixed square-root scale: epochs, and classes
    of unequal size, compare.

    counts: (K, 2, B) samples by predicted probability of class k; [k, 1] those of class k, [k, 0] the rest.
    edges: (B + 1,) edges of the bins, rising, in [0, 1].
    class_names: (K,) unicode. subset: 0-d unicode, "validation" or "training". epoch: 0-d int, 0-based.
    multilabel: 0-d bool, whether these are independent labels, with a panel each however few they are.
    """
    counts, edges = _checked(counts, edges, class_names, 3)
    two = len(counts) < 3 and not np.any(multilabel)
    counts, edges = rebin(counts, edges, 25 if two else 20)
    figure = style.new_figure()
    if two:
        _two(figure, counts, edges, class_names, subset, epoch)
    else:
        _many(figure, counts, edges, class_names, subset, epoch, "label" if np.any(multilabel) else "class")
    return figure


def evolve(*, counts, edges, class_names, subset, epoch, multilabel=False) -> Figure:
    """Draw how the histograms changed: a heat map of epoch by probability for each true class.

    Two classes: the probability of the second, for the samples of each. More: the probability that the
    samples of each class were given for it, in at most 12 panels.

    Every argument is :func:`draw`'s with S frames stacked on axis 0: counts (S, K, 2, B), edges (S, B + 1),
    class_names (S, K), subset (S,), epoch (S,) int, evenly spaced or not, multilabel (S,).
    """
    counts, epoch = np.asarray(counts, dtype=np.float64), np.atleast_1d(epoch)
    if counts.ndim != 4 or not len(counts):
        raise ValueError(f"probabilities: counts of shape {counts.shape}, expected (S, K, 2, B) with S > 0")
    order = np.argsort(epoch, kind="stable")
    names = np.asarray(class_names)[-1]
    counts, edges = _checked(counts[order], np.asarray(edges)[-1], names, 4)
    counts, edges = rebin(counts, edges, 25)
    figure = style.new_figure()
    kind = "label" if np.any(multilabel) else "class"
    _course(figure, counts, names, np.atleast_1d(subset)[-1], epoch[order], kind)
    return figure


def _checked(counts, edges, class_names, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    counts, edges = np.nan_to_num(np.asarray(counts, dtype=np.float64)), np.asarray(edges, dtype=np.float64)
    shape = counts.shape[dimensions - 3 :]
    if counts.ndim != dimensions or shape[:2] != (len(class_names), 2) or 0 in shape:
        raise ValueError(f"probabilities: counts of shape {counts.shape} for {len(class_names)} class names")
    if edges.shape != (shape[2] + 1,):
        raise ValueError(f"probabilities: edges of shape {edges.shape} for {shape[2]} bins, expected one more")
    return counts, edges


def rebin(counts: np.ndarray, edges: np.ndarray, bars: int) -> tuple[np.ndarray, np.ndarray]:
    """Join neighbouring bins (the last axis) into at most ``bars``, equally many to each; no count is lost."""
    step = -(-counts.shape[-1] // bars)
    starts = np.arange(0, counts.shape[-1], step)
    return np.add.reduceat(counts, starts, axis=-1), np.append(edges[starts], edges[-1])


def shares(counts: np.ndarray) -> np.ndarray:
    """Each histogram (the last axis) divided by its sum; nothing at all stays zero."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)


def most_frequent(counts: np.ndarray) -> np.ndarray:
    """The (at most 12) classes with most samples, in their own order; counts: (K, 2, B)."""
    size = counts[:, 1].sum(axis=-1)
    return np.sort(np.argsort(-size, kind="stable")[:PANELS])


def _legend(figure: Figure, rest: Axes, entries: list[tuple[str, str]], apart: int) -> None:
    for i, (colour, line) in enumerate(entries):
        x = MARGIN + i * apart
        rest.fill_between([x, x + 20], 52, 66, color=colour, alpha=0.6, linewidth=0)
        style.write(figure, x + 28, 48, line, style.TICK)


def _size(histogram: np.ndarray) -> str:
    return f"{histogram.sum():,.0f}".replace(",", " ")


# ---- one epoch -----------------------------------------------------------------------------------------------


def _two(figure: Figure, counts: np.ndarray, edges: np.ndarray, class_names, subset, epoch) -> None:
    of, other = text(class_names[-1], 16), "rest"
    if len(counts) == 2:
        other = text(class_names[0], 16)
    style.header(figure, f"Predicted probability, {text(subset, 12)}", epoch)
    sizes = [f"{name}: n = {_size(counts[-1, side])}" for side, name in ((0, other), (1, of))]
    _legend(figure, style.canvas(figure), [(_REST, sizes[0]), (_CLASS, sizes[1])], 360)
    box = Box(110, TOP + 8, WIDTH - 110 - 24, BOTTOM - TOP - 8)
    area = style.axes(figure, box, xlabel=f"P({of})", ylabel="share of the class (√ scale)")
    for side, colour, label in ((0, _REST, other), (1, _CLASS, of)):
        height = np.sqrt(shares(counts[-1, side]))
        area.stairs(height, edges, fill=True, color=colour, alpha=0.45, label=label)
        area.stairs(height, edges, color=colour, linewidth=2)
    area.plot([0.5, 0.5], [0, 1], color=style.INK, linewidth=1.5, linestyle=(0, (4, 3)), label="0.5")
    area.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.0))
    marks = [(np.sqrt(value), mark) for value, mark in _SHARES]
    style.ticks(area, x=([0, 0.25, 0.5, 0.75, 1],), y=tuple(zip(*marks, strict=True)))


def _grid(count: int) -> tuple[int, int]:
    columns = 2 if count <= 2 else 3 if count <= 6 or count == 9 else 4
    return -(-count // columns), columns


def _panels(count: int, *, left: int, right: int, top: int, bottom: int, head: int = 24) -> list[Box]:
    """Equal panels, row by row, each with room for its title above."""
    rows, columns = _grid(count)
    width, height = (right - left) / columns, (bottom - top) / rows
    return [
        Box(left + column * width, top + row * height + head, width - 18, height - head - 8)
        for row, column in (divmod(i, columns) for i in range(count))
    ]


def _outline(box: Box, edges: np.ndarray, height: np.ndarray) -> np.ndarray:
    """The outline of a histogram in ``box``, in pixels, on the square-root scale; height: (B,) shares."""
    x = box.left + box.width * np.repeat((edges - edges[0]) / (edges[-1] - edges[0]), 2)
    y = box.top + box.height * (1 - np.sqrt(np.concatenate([[0], np.repeat(height, 2), [0]])))
    return np.column_stack([x, y])


def _many(figure: Figure, counts: np.ndarray, edges: np.ndarray, class_names, subset, epoch, kind: str) -> None:
    chosen = most_frequent(counts)
    some = f" · {len(chosen)} largest of {len(counts)}" if len(chosen) < len(counts) else ""
    style.header(figure, f"P({kind}), {text(subset, 12)}{some}", epoch)
    rest = style.canvas(figure)
    of = "samples with the label" if kind == "label" else "samples of the class"
    _legend(figure, rest, [(_CLASS, of), (_REST, "all others")], 250)
    boxes = _panels(len(chosen), left=62, right=WIDTH, top=TOP - 8, bottom=BOTTOM + 12)
    # All panels on one canvas: as axes of their own, twelve take three times as long.
    height = shares(counts[chosen])
    for side, colour in ((0, _REST), (1, _CLASS)):
        outlines = [_outline(box, edges, height[i, side]) for i, box in enumerate(boxes)]
        label = "class" if side else "rest"
        rest.add_collection(PolyCollection(outlines, facecolor=colour, alpha=0.45, linewidth=0, label=label))
        rest.add_collection(PolyCollection(outlines, facecolor="none", edgecolor=colour, linewidth=1.5))
    floors = [[(box.left, box.top + box.height), (box.left + box.width, box.top + box.height)] for box in boxes]
    rest.add_collection(PolyCollection(floors, edgecolor=style.INK, linewidth=1, closed=False))
    for k, box in zip(chosen, boxes, strict=True):
        style.write(figure, box.left, box.top - 4, text(class_names[k], 14), va="bottom")
    _scales(figure, boxes, kind)


def _scales(figure: Figure, boxes: list[Box], kind: str) -> None:
    """The ends of both scales, at the outer panels only."""
    _, columns = _grid(len(boxes))
    for box in boxes[::columns]:
        for y, mark in ((box.top, "1"), (box.top + box.height, "0")):
            style.write(figure, box.left - 6, y, mark, ha="right", va="center")
    for box in boxes[-columns:]:
        for x, mark, side in ((box.left, "0", "left"), (box.left + box.width, "1", "right")):
            style.write(figure, x, box.top + box.height + 4, mark, ha=side)
    style.write(figure, 8, 260, "share (√ scale)", style.LABEL, rotation=90, va="center")
    middle = (boxes[0].left + WIDTH) / 2
    foot = f"predicted probability of the {kind}"
    style.write(figure, middle, 494, foot, style.LABEL, ha="center", va="bottom")


# ---- over the epochs -----------------------------------------------------------------------------------------


def _course(figure: Figure, counts: np.ndarray, class_names, subset, epochs: np.ndarray, kind: str) -> None:
    """counts: (S, K, 2, B)."""
    if counts.shape[1] == 2 and kind == "class":
        of = text(class_names[1], 14)
        title, stacks = f"P({of})", [counts[:, 1, 0], counts[:, 1, 1]]
        titles = [f"true class: {name}" for name in texts(class_names, 16)]
    else:
        chosen = most_frequent(counts[-1])
        title, stacks = f"P(true {kind})", [counts[:, k, 1] for k in chosen]
        titles = texts(class_names[chosen], 12)
    some = f" · {len(stacks)} largest of {counts.shape[1]}" if len(stacks) < counts.shape[1] else ""
    style.header(figure, f"{title} by epoch, {text(subset, 12)}{some}")
    top = next(value for value, _ in _SHARES[2:] if value >= min(1.0, max(shares(s).max() for s in stacks)))
    norm = PowerNorm(0.5, 0, top)
    boxes = _panels(len(stacks), left=76, right=WIDTH - 104, top=TOP - 30, bottom=BOTTOM + 8, head=28)
    for i, (box, stack) in enumerate(zip(boxes, stacks, strict=True)):
        outer = i % _grid(len(stacks))[1] == 0, i + _grid(len(stacks))[1] >= len(stacks)
        area = _heat(figure, box, shares(stack), epochs, norm, outer)
        area.set_label(titles[i])
        style.write(figure, box.left, box.top - 4, titles[i], va="bottom")
    even = len(set(np.diff(epochs).tolist())) < 2
    foot = "epoch" if even else "epoch (unevenly spaced)"
    style.write(figure, (76 + WIDTH - 122) / 2, 494, foot, style.LABEL, ha="center", va="bottom")
    style.write(figure, 8, 256, title, style.LABEL, rotation=90, va="center")
    bar = Box(WIDTH - 92, boxes[0].top, 16, boxes[-1].top + boxes[-1].height - boxes[0].top)
    marks = [(value, mark) for value, mark in _SHARES if value <= top]
    style.colourbar(figure, style.canvas(figure), bar, style.SEQUENTIAL, norm, marks, "share")


def _heat(figure: Figure, box: Box, share: np.ndarray, epochs: np.ndarray, norm, outer: tuple[bool, bool]) -> Axes:
    """One panel; share: (S, B). Frames stand side by side, at equal width, with their true epochs below."""
    area = style.axes(figure, box)
    area.imshow(
        share.T, cmap=style.SEQUENTIAL, norm=norm, origin="lower", aspect="auto", interpolation="nearest",
        extent=(-0.5, len(epochs) - 0.5, 0, 1),
    )  # fmt: skip
    places = style.spread(len(epochs), 3 if box.width < 200 else 4)
    x = (places, [str(int(epochs[i])) for i in places]) if outer[1] else None
    style.ticks(area, x=x, y=([0, 0.5, 1],) if outer[0] else None, size=12)
    return area
