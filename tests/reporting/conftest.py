"""A real SQLite store with runs of any kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from asked import split_up
from logged import log_run
from mlflow import MlflowClient

from mlflow_dlviz.reporting.fetching.fetch import fetch as fetch_bundle


@pytest.fixture(scope="session")
def store_uri(tmp_path_factory) -> str:
    """A SQLite store with nothing in it, its artifacts beside it."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(scope="session")
def client(store_uri) -> MlflowClient:
    return MlflowClient(store_uri)


@pytest.fixture
def experiment(client, store_uri, request) -> tuple[str, str]:
    """(id, name) of an experiment of the test's own."""
    name = f"{request.node.name[:60]}-{time.monotonic_ns()}"
    folder = Path(store_uri.removeprefix("sqlite:///")).parent / f"artifacts-{time.monotonic_ns()}"
    return client.create_experiment(name, artifact_location=folder.as_uri()), name


@pytest.fixture
def make_run(client, experiment) -> Callable[..., str]:
    return lambda **told: log_run(client, experiment[0], **told)


@pytest.fixture
def fetch(experiment, store_uri):
    """Fetch the runs of the test's experiment: ``fetch(images="a/*", limit=3, max_frames=5)``."""

    def read(progress=None, **told):
        return fetch_bundle(*split_up(told, experiment[1], store_uri), progress=progress)

    return read
