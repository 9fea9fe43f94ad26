"""The names under which things land in MLflow: keys, paths, metric names."""

from __future__ import annotations

import hashlib
import re

LEAF_LENGTH = 32
"""Longer leaves are cut: the UI's cards show about 24 characters, an index and a layer's own name."""

LEDGER = "dlviz/ledger.json"
FITS = "dlviz/fits.json"
STATUS_TAG = "dlviz.status"
NEXT_EPOCH_TAG = "dlviz.next_epoch"

_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]+")
_UNSAFE_METRIC = re.compile(r"[^A-Za-z0-9_.\- /]+")


def clean_leaf(name: str) -> str:
    """A leaf that is safe as a file name and as half of an image key, one to one with ``name``.

    ``/`` becomes ``.``; whatever else had to be changed or cut is told apart by six hex digits of a hash.
    """
    dotted = name.replace("/", ".")
    safe = re.sub(r"\.{2,}", ".", _UNSAFE.sub("_", dotted)).strip(".")
    if safe and safe == dotted and len(safe) <= LEAF_LENGTH:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{safe[: LEAF_LENGTH - 7]}-{digest}"


def image_key(visual: str, leaf: str) -> str:
    """The time-stepped image's key: the UI groups by what stands before its one slash."""
    return f"{visual}/{clean_leaf(leaf)}"


def metric_key(visual: str, leaf: str, name: str) -> str:
    """A number of one picture as a metric: in a section beside the pictures', not among them."""
    return clean_metric(f"{visual}.{name}/{clean_leaf(leaf)}")


def numbers_path(visual: str, leaf: str, epoch: int) -> str:
    """Where the arrays behind one picture lie, relative to the run's artifacts."""
    return f"dlviz/{visual}/{clean_leaf(leaf)}/{epoch:04d}.npz"


def frozen_path(visual: str) -> str:
    """Where what a visual froze at its first frame lies."""
    return f"dlviz/{visual}/frozen.npz"


def clean_metric(name: str) -> str:
    """``name`` as MLflow accepts it for a metric or a parameter: other characters become ``_``."""
    parts = _UNSAFE_METRIC.sub("_", name)[:250].split("/")
    # MLflow takes a name for a path and refuses one with an empty part or with dots at its start.
    return "/".join(part for part in parts if part.strip(".")).lstrip(".") or "_"
