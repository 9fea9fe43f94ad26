"""Artifact files of many runs, listed and read side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from mlflow_dlviz.store.parallel import completed
from mlflow_dlviz.store.server import Progress, first_line

Place = tuple[str, str]
"""A run's id and the path of one of its artifacts."""


class Fetched(NamedTuple):
    """What was read from one file, or None and the reason."""

    data: Any
    reason: str = ""


class Repositories:
    """Where the artifacts of runs lie. uris: of runs that are known, which saves asking for each."""

    def __init__(self, client: MlflowClient, uris: Mapping[str, str]) -> None:
        self._client = client
        self._uris = dict(uris)
        self._made: dict[str, ArtifactRepository] = {}

    def of(self, run_id: str) -> ArtifactRepository:
        """That of one run; two threads may make it twice, which does no harm."""
        if run_id not in self._made:
            uri = self._uris.get(run_id) or self._client.get_run(run_id).info.artifact_uri
            self._made[run_id] = get_artifact_repository(uri, tracking_uri=self._client.tracking_uri)
        return self._made[run_id]


def list_folders(
    client: MlflowClient,
    folders: Sequence[Place],
    *,
    uris: Mapping[str, str] | None = None,
    jobs: int = 4,
    progress: Progress | None = None,
) -> dict[Place, Fetched]:
    """``{(run_id, folder): Fetched}`` with the paths of what lies in each folder, those of folders with a "/".

    A folder that does not exist is empty.
    """
    repositories = Repositories(client, uris or {})
    return _each(partial(_listed, repositories), folders, jobs, progress)


def fetch_artifacts(
    client: MlflowClient,
    wanted: Sequence[Place],
    *,
    convert: Callable[[bytes], Any] | None = None,
    what: str = "file",
    uris: Mapping[str, str] | None = None,
    jobs: int = 4,
    progress: Progress | None = None,
) -> dict[Place, Fetched]:
    """``{(run_id, path): Fetched}`` for each wanted pair, in that order.

    convert: run on each file's bytes in the thread that read them, so that the originals are never all in
    memory; where it raises, the reason says that it is not a readable ``what``.
    """
    repositories = Repositories(client, uris or {})

    def read(run_id: str, path: str) -> Fetched:
        found = _download(repositories, run_id, path)
        return found if convert is None or found.data is None else _converted(convert, found.data, what)

    return _each(read, wanted, jobs, progress)


def _each(
    call: Callable[[str, str], Fetched], places: Sequence[Place], jobs: int, progress: Progress | None
) -> dict[Place, Fetched]:
    found: dict[Place, Fetched] = {}
    calls = {place: partial(call, *place) for place in places}
    for place, future in completed(jobs, calls):
        found[place] = future.result()
        if progress is not None:
            progress(len(found), len(calls))
    return {place: found[place] for place in calls}


def _listed(repositories: Repositories, run_id: str, folder: str) -> Fetched:
    try:
        files = repositories.of(run_id).list_artifacts(folder)
    # Artifact stores raise whatever their client library raises, and one run must not cost the report.
    except Exception as error:
        return Fetched(None, _reason(error))
    return Fetched([file.path + "/" * bool(file.is_dir) for file in files])


def _converted(convert: Callable[[bytes], Any], data: bytes, what: str) -> Fetched:
    try:
        return Fetched(convert(data))
    # Pillow raises OSError, SyntaxError, ValueError, struct.error, … on damaged files.
    except Exception as error:
        return Fetched(None, f"not a readable {what} ({type(error).__name__})")


def _download(repositories: Repositories, run_id: str, path: str) -> Fetched:
    # `_download_file` is what every artifact store must implement. The public `download_artifacts` around it
    # lists the folder again for each file and draws a progress bar for it.
    try:
        with tempfile.TemporaryDirectory(prefix="dlviz-") as folder:
            local = Path(folder, "file")
            repositories.of(run_id)._download_file(path, str(local))
            return Fetched(local.read_bytes())
    except Exception as error:  # as above
        return Fetched(None, _reason(error))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(str(error))[:200]}"
