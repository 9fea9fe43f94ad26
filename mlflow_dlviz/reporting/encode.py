"""Numbers as text that a browser turns back into typed arrays: a third of what JSON takes, and no parsing."""

from __future__ import annotations

import base64

import numpy as np


def floats(values: np.ndarray) -> str:
    """base64 of ``values`` as little-endian 32-bit floats, NaN and ±inf kept: 7 digits, 5.3 characters each.

    What is beyond the range of 32 bits becomes ±inf or 0.
    """
    with np.errstate(over="ignore", under="ignore"):
        return _text(np.asarray(values, dtype="<f4"))


def integers(values: np.ndarray) -> str:
    """base64 of ``values`` as little-endian 64-bit floats, which hold whole numbers up to 2^53 exactly."""
    return _text(np.asarray(values, dtype="<f8"))


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
