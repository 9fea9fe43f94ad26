"""A real MLflow store, server and browser, and tiny real models."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import numpy as np
import pytest
from browsing import find_chromium, launch
from servers import Proxy, mlflow_process


@pytest.fixture(autouse=True)
def spool_root(tmp_path, monkeypatch):
    """The spools of this test, in a folder of its own."""
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL", str(tmp_path / "spool"))
    return tmp_path / "spool"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """What reports keep in this test, in a folder of its own."""
    monkeypatch.setenv("MLFLOW_DLVIZ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An empty SQLite store: making one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(tmp_path, empty_store, monkeypatch):
    """The current store of this test, with the experiment "test"; yields a client."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = mlflow.create_experiment("test", artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment(experiment_id=experiment)
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def dlviz(store):
    """The package, with everything off again afterwards."""
    import mlflow_dlviz

    yield mlflow_dlviz
    mlflow_dlviz.flush(60)
    mlflow_dlviz.autolog(disable=True)


@pytest.fixture
def limits(spool_root):
    """Where and how runs are opened in this test."""
    from mlflow_dlviz.store.runs import Limits

    return Limits(spool_root)


@pytest.fixture
def new_log(store, spool_root):
    """A new run and its spool, as a function that gives a RunLog; ``tracking_uri``: of another server."""
    from mlflow_dlviz.store.spool import Plan, begin
    from mlflow_dlviz.tracked import RunLog

    def make(tracking_uri=None, run_id=None, **more):
        uri = tracking_uri or mlflow.get_tracking_uri()
        if tracking_uri is None and run_id is None:
            run_id = store.create_run(store.get_experiment_by_name("test").experiment_id).info.run_id
        return RunLog(begin(spool_root, Plan(uuid.uuid4().hex, uri, run_id, **more)))

    return make


@pytest.fixture
def run(new_log):
    """A RunLog of a run of its own."""
    return new_log()


@pytest.fixture
def impatient(monkeypatch):
    """MLflow's patience with a server, shortened to seconds."""
    for name, value in (("MAX_RETRIES", "1"), ("TIMEOUT", "3"), ("BACKOFF_FACTOR", "1")):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)


@pytest.fixture
def proxy(mlflow_server, impatient):
    """The way to the server, where things happen; lets everything through at first."""
    made = Proxy(int(mlflow_server.rsplit(":")[-1]))
    made.mode = "pass"
    yield made
    made.mode = "gone"


@pytest.fixture
def server(mlflow_server):
    """A client that reads past the proxy what has arrived."""
    return mlflow.MlflowClient(tracking_uri=mlflow_server)


@pytest.fixture
def runs(store):
    """All runs of the test, oldest first, as a function: ``runs()``."""

    def all_runs():
        experiments = [experiment.experiment_id for experiment in store.search_experiments()]
        return store.search_runs(experiments, order_by=["attributes.start_time ASC"])

    return all_runs


@pytest.fixture
def ledger(store):
    """The entries of a run's ledger, as a function: ``ledger(run)``."""

    def entries(run):
        text = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/dlviz/ledger.json")
        return json.loads(text)["entries"]

    return entries


@pytest.fixture
def table():
    """A table (N, 4) with binary labels (N,), 120 for training and 40 for validation."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 4)).astype("float32")
    y = (x[:, 0] + x[:, 1] > 0.2).astype("int32")
    return x[:120], y[:120], (x[120:], y[120:])


@pytest.fixture
def binary():
    """A compiled binary classifier of 4 features; ``binary(units=2, from_logits=True)``."""
    import keras

    def build(features=4, units=1, from_logits=False, metrics=(), seed=0, **compile_options):
        keras.utils.set_random_seed(seed)
        activation = None if from_logits else ("sigmoid" if units == 1 else "softmax")
        kind = "BinaryCrossentropy" if units == 1 else "SparseCategoricalCrossentropy"
        model = keras.Sequential(
            [keras.Input((features,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(units, activation)]
        )
        loss = getattr(keras.losses, kind)(from_logits=from_logits)
        model.compile("adam", loss, metrics=list(metrics), **compile_options)
        return model

    return build


@pytest.fixture
def images():
    """Images (N, 8, 8, 1) of three classes, made so that they can be told apart; 96 and 32 of them."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 128).astype("int32")
    x = rng.uniform(0, 0.3, (128, 8, 8, 1)).astype("float32")
    for label in range(3):
        x[y == label, label * 2 : label * 2 + 3] += 0.6
    return x[:96], y[:96], (x[96:], y[96:])


@pytest.fixture
def convnet():
    """A compiled convolutional classifier with dropout and batch normalisation."""
    import keras

    def build(seed=0, **compile_options):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dropout(0.3),
                keras.layers.Dense(3, "softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **compile_options)
        return model

    return build


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory) -> Iterator[str]:
    """The address of a real MLflow server on this machine, ended after the session."""
    folder = tmp_path_factory.mktemp("server")
    server, address = mlflow_process(folder, f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"))
    server.start()
    yield address
    # Asked politely, it waits for the browser's connections; nothing in its store is needed any more.
    server.kill()


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        opened = launch(driver, program)
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
