"""Activation grids: what the layers return on the probe, comparable over epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mlflow_dlviz.capture.layers import takes_ids
from mlflow_dlviz.capture.moment import Moment, NotShown, first_array
from mlflow_dlviz.visual import Arrays

if TYPE_CHECKING:
    from mlflow_dlviz.capture.passes import Activation

PERCENTILE = 99.5

HEADROOM = 4.0
"""The scale is fixed while activations still grow, often several times; the picture's root scale keeps what
is small at first visible."""

# What these return is known without looking.
_BOUNDS = {"softmax": (0.0, 1.0), "sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}

_KINDS = "convolution, pooling, dense, recurrent, attention, embedding, or the user's own"

# A mosaic of half a megapixel is more than a picture shows: larger maps are averaged down to it.
_MAP_VALUES = 2**18

# Nor does it show more bars.
_ROW_VALUES = 2**12


def freeze(moment: Moment, *, channels: int = 64) -> Arrays:
    """Which channels, in which order, and each layer's colour limit, from the first frame.

    Of each layer: ``<leaf>:channels`` (C,) int, evenly spread where there are more than ``channels``;
    ``<leaf>:limit`` (), four times the 99.5th percentile of the magnitude, or 1 for softmax, sigmoid and tanh;
    ``<leaf>:low`` (), 0 where nothing is negative.  What an earlier ``fit`` of the run chose is kept.
    """
    frozen: dict[str, np.ndarray] = {}
    for activation in _found(moment).values():
        values = _channels_last(activation)
        leaf = _leaf(activation)
        if kept := _kept(moment.earlier, leaf, values.shape[-1]):
            frozen.update(kept)
            continue
        chosen = _spread(values.shape[-1], channels)
        frozen[f"{leaf}:channels"] = chosen
        low, limit = _BOUNDS.get(activation.function) or _limits(values[..., chosen])
        frozen[f"{leaf}:limit"], frozen[f"{leaf}:low"] = np.asarray(limit), np.asarray(low)
    return frozen


def _kept(earlier: Arrays, leaf: str, total: int) -> Arrays:
    """What an earlier ``fit`` froze of this layer, {} if it had none like it."""
    found = {name: earlier[name] for part in ("channels", "limit", "low") if (name := f"{leaf}:{part}") in earlier}
    channels = found.get(f"{leaf}:channels")
    fits = channels is not None and channels.max(initial=-1) < total
    return found if fits and len(found) == 3 else {}


def capture(moment: Moment, frozen: Arrays) -> Mapping[str, Arrays]:
    """One leaf a layer; the arrays are those of :func:`mlflow_dlviz.plots.activations.draw`."""
    return {
        _leaf(activation): _frame(moment, activation, frozen)
        for activation in _found(moment).values()
        if f"{_leaf(activation)}:limit" in frozen
    }


def _frame(moment: Moment, activation: Activation, frozen: Arrays) -> Arrays:
    leaf = _leaf(activation)
    everything = _channels_last(activation)
    channels, limit = frozen[f"{leaf}:channels"], frozen[f"{leaf}:limit"]
    values = everything[..., channels]
    return {
        **_axes(moment, values),
        "input": _input(moment, activation.channels_first),
        "channels": channels,
        "total": np.asarray(everything.shape[-1]),
        "limit": limit,
        "low": frozen[f"{leaf}:low"],
        "layer": np.asarray(activation.path),
        "kind": np.asarray(activation.kind),
        "epoch": np.asarray(moment.epoch),
        "dead": np.asarray((np.abs(values).reshape(-1, len(channels)).max(axis=0) == 0).mean()),
        "clipped": np.asarray((np.abs(values) > limit).mean()),
    }


def _axes(moment: Moment, values: np.ndarray) -> Arrays:
    """Of layers with a position the first sample, of layers without one all samples."""
    if values.ndim == 2:
        rows = {"values": _half(values), "axes": np.asarray("sample,unit")}
        if moment.probe is not None and moment.probe.labels is not None:
            rows["labels"] = moment.probe.labels[: len(values)]
            rows["class_names"] = np.asarray(moment.class_names)
        return rows
    maps = np.moveaxis(values[0], -1, 0)
    if maps.ndim == 2:
        return {"values": _half(maps), "axes": np.asarray("channel,position")}
    return {"values": _half(_shrunk(maps)), "axes": np.asarray("channel,row,column")}


def _found(moment: Moment) -> Mapping[str, Activation]:
    if "activations" not in moment.values:
        raise NotShown("the layers could not be read: see the reason given for that, or for the probe")
    found = {
        path: activation
        for path, activation in moment.values["activations"].items()
        if 2 <= activation.values.ndim <= 4 and activation.values.size
    }
    if not found:
        raise NotShown(f"the model has no layer of a kind that is shown ({_KINDS}) whose output can be")
    return found


def _leaf(activation: Activation) -> str:
    return f"{activation.index:02d}.{activation.path}"


def _channels_last(activation: Activation) -> np.ndarray:
    values = activation.values
    return np.moveaxis(values, 1, -1) if activation.channels_first and values.ndim > 2 else values


def _spread(total: int, most: int) -> np.ndarray:
    if total <= most:
        return np.arange(total)
    return np.unique(np.linspace(0, total - 1, most).round().astype(int))


def _limits(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    limit = HEADROOM * float(np.percentile(np.abs(finite), PERCENTILE)) if finite.size else 0.0
    # A layer that is silent at first gets a scale of one, so that what it says later can be seen.
    limit = limit or 1.0
    return (0.0 if not finite.size or finite.min() >= 0 else -limit), limit


def _shrunk(maps: np.ndarray) -> np.ndarray:
    """Maps (C, H, W) averaged over squares until the mosaic is small enough."""
    step = int(np.ceil(np.sqrt(maps.size / _MAP_VALUES)))
    if step <= 1:
        return maps
    down, across = (min(step, side) for side in maps.shape[1:])
    rows, columns = maps.shape[1] // down, maps.shape[2] // across
    squares = maps[:, : rows * down, : columns * across].reshape(len(maps), rows, down, columns, across)
    return squares.mean(axis=(2, 4))


def _half(values: np.ndarray) -> np.ndarray:
    # Half precision keeps three digits, more than colours show, at half the size; not beyond its range.
    return values.astype(np.float16 if np.abs(values).max(initial=0) < 6e4 else np.float32)


def _input(moment: Moment, channels_first: bool) -> np.ndarray:
    """The first sample as the picture shows it, no larger than that; empty where it is no picture and no row."""
    nothing = np.zeros(0)
    if moment.probe is None:
        return nothing
    sample = np.asarray(first_array(moment.probe.x)[0])
    if sample.dtype.kind not in "biuf" or sample.ndim > 3:
        return nothing
    if sample.dtype.kind in "iu" and sample.ndim < 3 and takes_ids(moment.model):
        return nothing  # the number of a word is no quantity
    if sample.ndim < 2:
        step = -(-sample.size // _ROW_VALUES)
        return sample.reshape(-1)[: sample.size // step * step].reshape(-1, step).mean(axis=1) if step else nothing
    maps = sample[None] if sample.ndim == 2 else sample if channels_first else np.moveaxis(sample, -1, 0)
    small = _shrunk(maps).astype(sample.dtype)
    return small[0] if sample.ndim == 2 else np.moveaxis(small, 0, -1)
