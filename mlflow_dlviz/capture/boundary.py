"""Decision boundaries: the model's classes on two features, or on the plane that the probe spreads along most."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlflow_dlviz.capture.heads import Head
from mlflow_dlviz.capture.layers import takes_ids
from mlflow_dlviz.capture.moment import Moment, NotShown, first_array, map_arrays
from mlflow_dlviz.visual import Arrays

_MARGIN = 0.15


def freeze(moment: Moment, *, grid: int = 64, feature_names: tuple[str, ...] | None = None) -> Arrays:
    """The plane and its limits: an affine map from two coordinates to all F features.

    origin (F,), axes (2, F), points (N, 2): the probe on the plane; xs, ys (G,); explained (2,): share of the
    standardised probe's variance along each principal component, NaN for plain features; scale (F,): what the
    features were divided by.  A later ``fit`` of the run keeps the plane, and puts its own probe on it.
    """
    table = _table(moment)
    if _is_kept(moment.earlier, table.shape[1], grid):
        return {**moment.earlier, "points": _on_plane(moment.earlier, table)}
    plane = _principal(table) if table.shape[1] > 2 else _features(table)
    points = plane["points"] = _on_plane(plane, table)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, (high - low) * _MARGIN, 1.0)
    return {
        **plane,
        "xs": np.linspace(low[0] - margin[0], high[0] + margin[0], grid),
        "ys": np.linspace(low[1] - margin[1], high[1] + margin[1], grid),
        "axis_names": np.asarray(_axis_names(table.shape[1], feature_names)),
    }


def _is_kept(earlier: Arrays, features: int, grid: int) -> bool:
    return {"origin", "axes", "scale", "xs"} <= earlier.keys() and (
        earlier["origin"].shape == (features,) and earlier["xs"].shape == (grid,)
    )


def _on_plane(plane: Arrays, table: np.ndarray) -> np.ndarray:
    return (table - plane["origin"]) / plane["scale"] @ (plane["axes"] / plane["scale"]).T


def capture(moment: Moment, frozen: Arrays) -> Mapping[str, Arrays]:
    """One leaf, "plane"; the arrays are those of :func:`mlflow_dlviz.plots.boundary.draw`."""
    table = _table(moment)
    xs, ys = frozen["xs"], frozen["ys"]
    coordinates = np.stack([axis.ravel() for axis in np.meshgrid(xs, ys)], axis=1)
    on_grid = _probabilities(moment, frozen, coordinates)
    predicted = on_grid.argmax(axis=1)
    shown = on_grid[:, 1] if on_grid.shape[1] == 2 else on_grid.max(axis=1)
    return {
        "plane": {
            "xs": xs,
            "ys": ys,
            "probability": shown.reshape(len(ys), len(xs)).astype(np.float32),
            "predicted": predicted.reshape(len(ys), len(xs)),
            "points": frozen["points"],
            "labels": _labels(moment, len(table)),
            "class_names": np.asarray(moment.class_names),
            "axis_names": frozen["axis_names"],
            "agreement": np.asarray(_agreement(moment, frozen, table)),
            "explained": frozen["explained"],
            "plane": np.asarray("features" if np.isnan(frozen["explained"]).all() else "principal"),
            "epoch": np.asarray(moment.epoch),
        }
    }


def to_probabilities(head: Head, predictions: np.ndarray) -> np.ndarray:
    """Class probabilities (N, K) from what the model returned (N, units)."""
    values = np.asarray(predictions, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.shape[1] == 1:
        positive = 1 / (1 + np.exp(-np.clip(values, -700, 700))) if head.from_logits else values
        return np.concatenate([1 - positive, positive], axis=1)
    if head.from_logits:
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    return values


def _table(moment: Moment) -> np.ndarray:
    if moment.probe is None:
        raise NotShown("there is no probe of the data")
    if not moment.head.classifies:
        raise NotShown(moment.head.reason)
    inputs: list[np.ndarray] = []
    map_arrays(inputs.append, moment.probe.x)
    if len(inputs) != 1:
        raise NotShown(f"a boundary is drawn for one table of numbers, this model takes {len(inputs)} inputs")
    x = inputs[0]
    if x.ndim != 2 or x.dtype.kind not in "biuf":
        what = f"inputs of shape {x.shape[1:]}" if x.dtype.kind in "biuf" else "text"
        raise NotShown(f"a boundary is drawn for one table of numbers, this model takes {what}")
    if takes_ids(moment.model):
        raise NotShown("the model takes ids, and between ids there is no boundary")
    if x.shape[1] < 2 or len(x) < 2:
        raise NotShown(f"a boundary needs 2 features and 2 samples, the probe has shape {x.shape}")
    if not np.isfinite(x).all():
        raise NotShown("a boundary needs finite features, the probe has NaN or infinity")
    return x.astype(np.float64)


def _features(table: np.ndarray) -> dict[str, np.ndarray]:
    return {"origin": np.zeros(2), "axes": np.eye(2), "scale": np.ones(2), "explained": np.full(2, np.nan)}


def _principal(table: np.ndarray) -> dict[str, np.ndarray]:
    # Standardised first: otherwise the feature with the largest unit would be the plane.
    mean, scale = table.mean(axis=0), table.std(axis=0)
    scale[scale == 0] = 1.0
    standard = (table - mean) / scale
    _, singular, components = np.linalg.svd(standard, full_matrices=False)
    variance = singular**2 / max((singular**2).sum(), np.finfo(float).tiny)
    return {
        "origin": mean,
        "axes": components[:2] * scale,
        "scale": scale,
        "explained": variance[:2],
    }


def _probabilities(moment: Moment, frozen: Arrays, coordinates: np.ndarray) -> np.ndarray:
    return _predicted(moment, frozen["origin"] + coordinates @ frozen["axes"])


def _predicted(moment: Moment, features: np.ndarray) -> np.ndarray:
    """Class probabilities (N, K) of features (N, F), given to the model as ``fit`` gives them."""
    assert moment.probe is not None  # _table has looked
    own = first_array(moment.probe.x).dtype
    # Between the whole numbers of integer features the plane has points, too.
    features = features.astype(own if own.kind == "f" else np.float32)
    found = moment.values["predict"](map_arrays(lambda _: features, moment.probe.x))
    if found.ndim > 2:
        raise NotShown(f"a boundary needs one prediction a sample, the model's have the shape {found.shape[1:]}")
    return to_probabilities(moment.head, found)


def _agreement(moment: Moment, frozen: Arrays, table: np.ndarray) -> float:
    """Share of the probe whose own class the plane shows at its place; NaN where the plane is the features."""
    if np.isnan(frozen["explained"]).all():
        return float("nan")
    own = _predicted(moment, table)
    on_plane = _probabilities(moment, frozen, frozen["points"])
    return float((own.argmax(axis=1) == on_plane.argmax(axis=1)).mean())


def _labels(moment: Moment, samples: int) -> np.ndarray:
    labels = moment.probe.labels if moment.probe is not None else None
    return np.zeros(samples, dtype=int) if labels is None else labels


def _axis_names(features: int, names: tuple[str, ...] | None) -> list[str]:
    if features > 2:
        return ["PC 1", "PC 2"]
    return list(names[:2]) if names and len(names) >= 2 else ["feature 1", "feature 2"]
