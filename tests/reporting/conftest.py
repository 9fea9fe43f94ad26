"""A real SQLite store, a real MLflow server, a real browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from PIL import Image, ImageDraw

CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
CHROMIUM += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


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


def picture(text: str, size=(300, 200), colour="#88bbee") -> Image.Image:
    image = Image.new("RGB", size, colour)
    ImageDraw.Draw(image).text((10, 10), text, fill="black", font_size=28)
    return image


@pytest.fixture
def make_run(client, experiment) -> Callable[..., str]:
    return lambda **told: log_run(client, experiment[0], **told)


def log_run(
    client: MlflowClient,
    experiment_id: str,
    *,
    name: str = "run",
    metrics=None,
    params=None,
    tags=None,
    pictures=None,
    status: str = "FINISHED",
) -> str:
    """metrics: {key: values by step, or (step, value) pairs}; pictures: {key: steps}."""
    run_id = client.create_run(
        experiment_id, run_name=name, tags=tags, start_time=1_700_000_000_000
    ).info.run_id
    points = [
        Metric(key, float(value), 1_700_000_000_000 + 1000 * place, int(step))
        for key, values in (metrics or {}).items()
        for place, (step, value) in enumerate(values if isinstance(values[0], tuple) else enumerate(values))
    ]
    for start in range(0, len(points), 900):
        client.log_batch(run_id, metrics=points[start : start + 900])
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in (params or {}).items()])
    for key, steps in (pictures or {}).items():
        for step in steps:
            client.log_image(
                run_id, picture(f"{key} {step}"), key=key, step=step, timestamp=1_700_000_000_000
            )
    if status != "RUNNING":
        client.set_terminated(run_id, status, end_time=1_700_000_125_000)
    return run_id


def curve(rng: np.random.Generator, epochs: int, floor: float) -> list[float]:
    return (floor + np.exp(-np.arange(epochs) / 5) + 0.02 * rng.standard_normal(epochs)).tolist()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory) -> Iterator[str]:
    """The address of a real MLflow server on this machine, ended after the session."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(f"http://127.0.0.1:{port}", server, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        # Asked politely, it waits for the browser's connections; nothing in its store is needed any more.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=20)


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=2).read()
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise RuntimeError(f"mlflow server did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=CHROMIUM)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """A blank tab; ``page.complaints`` and ``page.requests`` hold its console errors and what it asked for."""
    tab = browser.new_page(viewport={"width": 1300, "height": 900})
    tab.complaints, tab.requests = [], []
    tab.on(
        "console",
        lambda said: tab.complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda request: tab.requests.append(request.url))
    yield tab
    tab.close()
