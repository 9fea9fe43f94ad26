"""MLflow's time-stepped images: how their files are named and listed.

The names are MLflow's private business (seen in 3.17.2, ``MlflowClient.log_image``); nothing else in this
package knows them. A test compares them with what a real ``log_image`` writes.
"""

from __future__ import annotations

import io
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from PIL import Image

from mlflow_dlviz.store.artifacts import Fetched, fetch_artifacts

FOLDER = "images"
_NAMESPACE = uuid.UUID("6f0f2a5e-6f52-5c4e-9f0a-3d7f5b1c8e21")
_KEY = re.compile(r"[a-zA-Z0-9_\-./ ]+")
# "/" is written as "~" (formerly "#"), the parts are joined by "+" (formerly "%").
_NAME = re.compile(
    r"(?P<key>.+?)(?P<sep>[+%])step(?P=sep)(?P<step>-?\d+)(?P=sep)timestamp(?P=sep)(?P<timestamp>\d+)"
    r"(?P=sep)(?P<id>[^+%.]+)(?P<compressed>(?P=sep)compressed)?\.(?:png|webp|jpe?g)",
    re.DOTALL,
)


@dataclass(frozen=True)
class ImageRef:
    """One picture at one step; a path is "" where that file is absent."""

    key: str
    step: int
    timestamp: int
    path: str
    thumbnail_path: str


def image_files(key: str, step: int, png: bytes, webp: bytes, *, timestamp: int) -> dict[str, bytes]:
    """``{artifact path: bytes}`` of a picture and its thumbnail, as ``log_image`` names them (mlflow 3.17.2).

    Where MLflow draws a random UUID, this one follows from key and step: sent twice with the same
    ``timestamp``, there is still one image.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"key={key!r}: only letters, digits, '_', '-', '.', ' ' and '/' are allowed")
    unique = uuid.uuid5(_NAMESPACE, f"{key}\n{step}")
    stem = f"{FOLDER}/{key.replace('/', '~')}+step+{step}+timestamp+{timestamp}+{unique}"
    return {f"{stem}.png": png, f"{stem}+compressed.webp": webp}


@lru_cache(maxsize=1)
def names_are_known() -> bool:
    """Whether the installed MLflow names its images as :func:`image_files` does.

    Asked of ``log_image`` itself, with a client that notes the paths and sends nothing; False where that
    can't be found out.
    """
    listening = _Listening(tracking_uri="sqlite://")
    try:
        listening.log_image("run", Image.new("RGB", (2, 2)), key="a/b", step=3, timestamp=4, synchronous=True)
    except Exception:  # of a version that we do not know, anything may be raised
        return False
    ours = sorted(re.sub(r"[0-9a-f-]{36}", "", path) for path in image_files("a/b", 3, b"", b"", timestamp=4))
    return sorted(re.sub(r"[0-9a-f-]{36}", "", path) for path in listening.paths) == ours


class _Listening(MlflowClient):
    """Keeps the paths that images would be written to."""

    def __init__(self, tracking_uri: str) -> None:
        self.paths: list[str] = []

    @contextmanager
    def _log_artifact_helper(self, run_id: str, artifact_file: str) -> Iterator[str]:
        self.paths.append(artifact_file)
        with tempfile.TemporaryDirectory(prefix="dlviz-") as folder:
            yield str(Path(folder, Path(artifact_file).name))

    def set_tag(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is sent."""


def log_image_once(client: MlflowClient, run_id: str, key: str, step: int, timestamp: int, png: bytes) -> None:
    """MLflow's own way, for versions whose names we do not know; not again what the run has already."""
    if not any((found.key, found.step) == (key, step) for found in list_images(client, run_id)):
        picture = Image.open(io.BytesIO(png))
        client.log_image(run_id, picture, key=key, step=step, timestamp=timestamp, synchronous=True)


def logged_images_tag() -> tuple[str, str]:
    """The tag that makes MLflow's UI look for images (``log_image`` sets it, mlflow 3.17.2)."""
    return "mlflow.loggedImages", "True"


def parse_name(path: str) -> tuple[ImageRef, str] | None:
    """The reference in an artifact path and what pairs a picture with its thumbnail; None for other files."""
    match = _NAME.fullmatch(path.removeprefix(f"{FOLDER}/"))
    if match is None:
        return None
    key = re.sub("[~#]", "/", match["key"])
    compressed = match["compressed"] is not None
    full, small = ("", path) if compressed else (path, "")
    return ImageRef(key, int(match["step"]), int(match["timestamp"]), full, small), match["id"]


def list_images(client: MlflowClient, run_id: str) -> list[ImageRef]:
    """The run's time-stepped images by key and step; of two at the same step, the later one."""
    return pair_names(file.path for file in client.list_artifacts(run_id, FOLDER) if not file.is_dir)


def pair_names(paths: Iterable[str]) -> list[ImageRef]:
    """Join pictures and thumbnails among artifact ``paths``, in the order of key and step."""
    paired: dict[tuple[str, int, int, str], ImageRef] = {}
    for path in sorted(paths):
        if (parsed := parse_name(path)) is None:
            continue
        ref, unique = parsed
        place = (ref.key, ref.step, ref.timestamp, unique)
        other = paired.get(place, ref)
        paired[place] = ImageRef(
            ref.key,
            ref.step,
            ref.timestamp,
            ref.path or other.path,
            ref.thumbnail_path or other.thumbnail_path,
        )
    latest = {(key, step): paired[key, step, time, unique] for key, step, time, unique in sorted(paired)}
    return list(latest.values())


def has_images(tags: Mapping[str, str]) -> bool:
    """Whether a run with these tags has time-stepped images; MLflow's UI looks for none without this tag."""
    return logged_images_tag()[0] in tags


def fetch_image(client: MlflowClient, run_id: str, path: str) -> Fetched:
    """The bytes of one image file; whatever goes wrong with it is a reason, not an exception."""
    return fetch_artifacts(client, [(run_id, path)], jobs=1)[run_id, path]
