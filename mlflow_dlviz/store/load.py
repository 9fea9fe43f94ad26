"""Reading back the numbers behind the pictures."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mlflow
import numpy as np

from mlflow_dlviz.store.batch import SCHEMA, SCHEMA_KEY
from mlflow_dlviz.store.runs import RunRef, client
from mlflow_dlviz.visual import Arrays


def load(run_id: str, visual: str, *, tracking_uri: str | None = None) -> dict[str, dict[int, Arrays]]:
    """The numbers stored for ``visual``: ``{leaf: {epoch: {name: array}}}``, leaves and epochs in order.

    run_id: of any MLflow run that :func:`mlflow_dlviz.autolog` logged to; visual: its name
    (``"activations"``); tracking_uri: default MLflow's current one.  Drawing again is
    ``mlflow_dlviz.plots.activations.draw(**arrays)``.

    Raises KeyError if the run has no such numbers, and ValueError if a newer version wrote them, or if a file is
    not of ours: nothing is ever unpickled.
    """
    client = mlflow.MlflowClient(tracking_uri=tracking_uri)
    found = [item.path for item in client.list_artifacts(run_id, "dlviz") if item.is_dir]
    if f"dlviz/{visual}" not in found:
        known = sorted(path.split("/", 1)[1] for path in found)
        raise KeyError(f"run {run_id} has no numbers for visual={visual!r}; it has {known}")
    with tempfile.TemporaryDirectory(prefix="dlviz-") as folder:
        root = Path(client.download_artifacts(run_id, f"dlviz/{visual}", folder))
        leaves = sorted(path for path in root.iterdir() if path.is_dir())
        return {leaf.name: _frames(leaf) for leaf in leaves}


def unpack(path: Path) -> Arrays:
    """The arrays of one stored file. Raises ValueError if a newer version wrote it, or if it is no such file."""
    return unpack_bytes(path.read_bytes(), f"{path.parent.name}/{path.name}")


def unpack_bytes(content: bytes, name: str = "the file") -> Arrays:
    """The arrays in a stored file's content. Raises ValueError if a newer version wrote it, or nobody of us."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = dict(stored)
    except Exception as error:  # anybody can put a file there; what is in it is never unpickled
        raise ValueError(f"{name} is not a file of arrays that mlflow_dlviz wrote: {error}") from error
    schema = int(arrays.pop(SCHEMA_KEY, SCHEMA))
    if schema > SCHEMA:
        raise ValueError(f"{name} has schema {schema}, this mlflow_dlviz reads up to {SCHEMA}: update it")
    return arrays


def numbers_folder(visual: str) -> str:
    """Where the numbers of ``visual`` lie, a folder for each leaf."""
    return f"dlviz/{visual}"


def parse_numbers(path: str, visual: str) -> tuple[str, int] | None:
    """The leaf and the epoch of a path that ``names.numbers_path`` made for ``visual``; None for others."""
    folder, _, name = path.rpartition("/")
    parent, _, leaf = folder.rpartition("/")
    stem = name.removesuffix(".npz")
    if parent != numbers_folder(visual) or stem == name or not (stem.isascii() and stem.isdecimal()):
        return None
    return leaf, int(stem)


def fetch_files(ref: RunRef, paths: Sequence[str]) -> dict[str, bytes]:
    """``{path: content}`` of those among the run's artifacts that are there."""
    to = client(ref)
    folders = {path.rpartition("/")[0] for path in paths}
    there = {item.path for folder in folders for item in to.list_artifacts(ref.known_id, folder)}
    with tempfile.TemporaryDirectory(prefix="dlviz-") as folder:
        return {
            path: Path(to.download_artifacts(ref.known_id, path, folder)).read_bytes()
            for path in paths
            if path in there
        }


def _frames(leaf: Path) -> dict[int, Arrays]:
    # What somebody else may have put there has another name.
    files = sorted((int(path.stem), path) for path in leaf.glob("*.npz") if path.stem.isdecimal())
    return {epoch: unpack(path) for epoch, path in files}
