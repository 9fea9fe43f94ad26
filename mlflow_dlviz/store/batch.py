"""What is sent together to one run, and how it lies on disk until then: a zip file that nobody unpickles."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mlflow.entities import Metric

from mlflow_dlviz.visual import Arrays

SCHEMA = 1
"""Version of what the stored arrays look like; written into every file."""

SCHEMA_KEY = "dlviz_schema"

_INDEX = "batch.json"


@dataclass(frozen=True)
class TimedImage:
    """A picture of MLflow's image grid. timestamp: Unix milliseconds; png, webp: it and its thumbnail, encoded."""

    key: str
    step: int
    timestamp: int
    png: bytes = field(repr=False)
    webp: bytes = field(repr=False)


@dataclass(frozen=True)
class End:
    """How and when the run ended. status: FINISHED, FAILED or KILLED; time: Unix milliseconds."""

    status: str
    time: int


@dataclass(frozen=True)
class SavedModel:
    """A model in MLflow's format. folder: ours to delete; id: by which one that was half sent is found."""

    name: str
    folder: Path
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Batch:
    """What is sent together; sent twice, it leaves what sent once it leaves.

    metrics: MLflow's own value; files: path in the run's artifacts -> content; datasets: MLflow's dataset
    facts and their context; page: whether to make the run's own page from what the server has by then.
    """

    metrics: Sequence[Metric] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    images: Sequence[TimedImage] = ()
    datasets: Sequence[Mapping[str, str]] = ()
    models: Sequence[SavedModel] = ()
    page: bool = False
    end: End | None = None

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        files = sum(map(len, self.files.values())) + sum(len(image.png) + len(image.webp) for image in self.images)
        models = (path for model in self.models for path in model.folder.rglob("*"))
        return files + 100 * len(self.metrics) + sum(path.stat().st_size for path in models) + 500


def merge(batches: Iterable[Batch]) -> Batch:
    """One batch for several, in order: what came later wins."""
    batches = list(batches)
    return Batch(
        metrics=[metric for batch in batches for metric in batch.metrics],
        params={key: value for batch in batches for key, value in batch.params.items()},
        tags={key: value for batch in batches for key, value in batch.tags.items()},
        files={path: content for batch in batches for path, content in batch.files.items()},
        images=[image for batch in batches for image in batch.images],
        datasets=[dataset for batch in batches for dataset in batch.datasets],
        models=[model for batch in batches for model in batch.models],
        page=any(batch.page for batch in batches),
        end=next((batch.end for batch in reversed(batches) if batch.end is not None), None),
    )


def pack(arrays: Arrays) -> bytes:
    """``arrays`` as a compressed .npz that never needs unpickling.

    Raises TypeError for arrays of objects.
    """
    buffer = io.BytesIO()
    plain = {name: np.asarray(value) for name, value in arrays.items()}
    for name, value in plain.items():
        if value.dtype.hasobject:
            raise TypeError(f"array {name!r} has dtype object; expected numbers, booleans or text")
    np.savez_compressed(buffer, **{SCHEMA_KEY: np.asarray(SCHEMA), **plain})  # type: ignore[arg-type]
    return buffer.getvalue()


def write_batch(batch: Batch, to: BinaryIO, what: str = "") -> None:
    """Write ``batch`` as a zip file; members are numbered, so no name of a user's becomes a path.

    what: it is, in a few words, for messages.
    """
    index = {
        "schema": SCHEMA,
        "what": what,
        "metrics": [[metric.key, metric.value, metric.timestamp, metric.step] for metric in batch.metrics],
        "params": dict(batch.params),
        "tags": dict(batch.tags),
        "files": list(batch.files),
        "images": [[image.key, image.step, image.timestamp] for image in batch.images],
        "datasets": [dict(dataset) for dataset in batch.datasets],
        "models": [[model.name, model.id] for model in batch.models],
        "page": batch.page,
        "end": None if batch.end is None else [batch.end.status, batch.end.time],
    }
    # What is large in it is compressed already.
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        archive.writestr(_INDEX, json.dumps(index))
        for place, content in enumerate(batch.files.values()):
            archive.writestr(f"files/{place}", content)
        for place, image in enumerate(batch.images):
            archive.writestr(f"images/{place}.png", image.png)
            archive.writestr(f"images/{place}.webp", image.webp)
        for place, model in enumerate(batch.models):
            for path in sorted(path for path in model.folder.rglob("*") if path.is_file()):
                archive.write(path, f"models/{place}/{path.relative_to(model.folder).as_posix()}")


def read_batch(path: Path, scratch: Path) -> Batch:
    """The batch that a file holds; models are unpacked below ``scratch``.

    Raises ValueError if the file is damaged or a newer version wrote it, and OSError if it can't be opened.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_stored(archive)
                return _read(archive, json.loads(archive.read(_INDEX)), scratch)
        except _Newer:
            raise
        # Of a damaged archive, zipfile raises whatever its parts stumble over.
        except Exception as error:
            raise ValueError(f"{path.name} is damaged: {type(error).__name__}: {error}") from error


def _check_stored(archive: zipfile.ZipFile) -> None:
    # We compress nothing here, so what would unpack to more than lies there is not ours.
    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise ValueError("it has compressed members, and ours have none")


def read_what(path: Path) -> str:
    """What the batch in a file is, in a few words; the file's name where it does not say."""
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read(_INDEX))["what"]) or path.name
    except Exception:  # as of a damaged archive
        return path.name


class _Newer(ValueError):
    """What a later version of this package wrote."""


def _read(archive: zipfile.ZipFile, index: Mapping[str, Any], scratch: Path) -> Batch:
    if index["schema"] > SCHEMA:
        raise _Newer(f"written by a newer mlflow_dlviz (schema {index['schema']}, known up to {SCHEMA})")
    return Batch(
        metrics=[Metric(key, float(value), time, step) for key, value, time, step in index["metrics"]],
        params=dict(index["params"]),
        tags=dict(index["tags"]),
        files={path: archive.read(f"files/{place}") for place, path in enumerate(index["files"])},
        images=[
            TimedImage(key, step, time, archive.read(f"images/{place}.png"), archive.read(f"images/{place}.webp"))
            for place, (key, step, time) in enumerate(index["images"])
        ],
        datasets=[dict(dataset) for dataset in index["datasets"]],
        models=[
            SavedModel(name, _unpacked(archive, place, scratch), id)
            for place, (name, id) in enumerate(index["models"])
        ],
        page=bool(index["page"]),
        end=End(*index["end"]) if index["end"] else None,
    )


def _unpacked(archive: zipfile.ZipFile, place: int, scratch: Path) -> Path:
    members = [name for name in archive.namelist() if name.startswith(f"models/{place}/")]
    # `extract` keeps what it writes below its folder, whatever the names say.
    for name in members:
        archive.extract(name, scratch)
    return scratch / "models" / str(place)
