"""The names under which things land in MLflow: keys, paths, metric names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

LEAF_LENGTH = 32
"""Longer leaves are cut: the UI's cards show about 24 characters, an index and a layer's own name."""

LEDGER = "dlviz/ledger.json"
FITS = "dlviz/fits.json"
STATUS_TAG = "dlviz.status"
VERSIONS_TAG = "dlviz.versions"
NEXT_EPOCH_TAG = "dlviz.next_epoch"
MONITOR_TAG = "dlviz.monitor"
_OWN_TAGS = (STATUS_TAG, VERSIONS_TAG, NEXT_EPOCH_TAG)

_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]+")
_UNSAFE_METRIC = re.compile(r"[^A-Za-z0-9_.\- /]+")
_METRIC_LENGTH = 250

# The place of a layer in its model, with which the leaves of most visuals begin.
_PLACE = re.compile(r"\d{2,}\.")

_DIGITS = 6
_MARKED = re.compile(rf"-[0-9a-f]{{{_DIGITS}}}$")


def is_recorded(tags: Mapping[str, str]) -> bool:
    """Whether the run that has these tags is one of ours, from its first epoch on: its steps are epochs."""
    return any(tag in tags for tag in _OWN_TAGS)


def clean_leaf(name: str) -> str:
    """A leaf that is safe as a file name and as half of an image key, one to one with ``name``.

    Behind the place of a layer ("03.encoder/conv") ``/`` becomes ``.``; whatever else had to be changed or cut
    is told apart by six hex digits of a hash, and so is what looks as if it had been.
    """
    place = _PLACE.match(name)
    path = name[place.end() :] if place else name
    # Only where one of the two does not occur can the other have come from it.
    plain = "." not in path if place else "/" not in path
    # Beside the leaves, which are folders, stand files of numbers.
    plain = plain and not path.endswith(".npz")
    dotted = name.replace("/", ".")
    safe = re.sub(r"\.{2,}", ".", _UNSAFE.sub("_", dotted)).strip(".")
    return _marked(name, safe, LEAF_LENGTH, same=plain and safe == dotted)


def _marked(name: str, safe: str, length: int, *, same: bool) -> str:
    """``safe`` where it stands for ``name`` alone; otherwise cut, and told apart by a hash of ``name``."""
    if same and safe and len(safe) <= length and not _MARKED.search(safe):
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{safe[: length - _DIGITS - 1]}-{digest}"


def image_key(visual: str, leaf: str) -> str:
    """The time-stepped image's key: the UI groups by what stands before its one slash."""
    return f"{visual}/{clean_leaf(leaf)}"


def metric_key(visual: str, leaf: str, name: str) -> str:
    """A number of one picture as a metric: in a section beside the pictures', not among them."""
    return f"{clean_metric(f'{visual}.{name}')}/{clean_leaf(leaf)}"


def numbers_path(visual: str, leaf: str, epoch: int) -> str:
    """Where the arrays behind one picture lie, relative to the run's artifacts."""
    return f"dlviz/{visual}/{clean_leaf(leaf)}/{epoch:04d}.npz"


def frozen_path(visual: str, step: int | None = None) -> str:
    """Where what a visual froze at its first frame lies. step: that of a later ``fit`` of the run."""
    return f"dlviz/{visual}/frozen.npz" if step is None else f"dlviz/{visual}/frozen-{step:04d}.npz"


def clean_metric(name: str) -> str:
    """``name`` as MLflow accepts it for a metric or a parameter, one to one with it.

    Other characters become ``_``; whatever had to be changed or cut is told apart by six hex digits of a hash,
    and so is what looks as if it had been.
    """
    # MLflow takes a name for a path and refuses one with an empty part or with dots at its start.
    parts = _UNSAFE_METRIC.sub("_", name)[:_METRIC_LENGTH].split("/")
    safe = "/".join(part for part in parts if part.strip(".")).lstrip(".")
    return _marked(name, safe, _METRIC_LENGTH, same=safe == name)
