"""What the targets given to ``fit`` look like, where they can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# So many samples, evenly spread, and values stand for all.
_SAMPLES, _VALUES = 20_000, 2_000_000


@dataclass(frozen=True)
class Targets:
    """Targets (N, …, D) in few numbers.

    mean, std: (D,) over all axes but the last; labels: whether all are 0 or 1; between: whether some lie
    strictly between 0 and 1, as no label does.
    """

    mean: np.ndarray
    std: np.ndarray
    labels: bool
    between: bool


def look_at(y: Any, units: int | None) -> Targets | None:
    """The targets of an output of so many units; None where they can't be seen or are not numbers.

    y: as given to ``fit``. Of many samples an even choice stands for all. What is not finite is left out.
    """
    values = _sample(y)
    if values is None or not values.size or values.dtype.kind not in "biuf":
        return None
    values = values.astype(np.float64)
    columns = values.reshape(-1, 1 if units in (None, 1) or values.shape[-1] != units else values.shape[-1])
    columns = columns[np.isfinite(columns).all(axis=1)]
    if not len(columns):
        return None
    return Targets(
        mean=columns.mean(axis=0),
        std=columns.std(axis=0),
        labels=bool(np.isin(columns, (0, 1)).all()),
        between=bool(((columns > 0) & (columns < 1)).any()),
    )


def _sample(y: Any) -> np.ndarray | None:
    if not hasattr(y, "shape") or not hasattr(y, "__array__") or not len(y.shape) or not y.shape[0]:
        return None
    each = max(1, int(np.prod(y.shape[1:], dtype=np.int64)))
    step = max(1, -(-int(y.shape[0]) // max(1, min(_SAMPLES, _VALUES // each))))
    return np.asarray(y.iloc[::step] if hasattr(y, "iloc") else y[::step])
