"""What can happen to a tracking server while a network trains: ``fit`` goes on, and nothing is lost.

Everything here goes through a real ``mlflow server``, once on SQLite and a folder, once on PostgreSQL and S3.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
import servers
from servers import Proxy, postgres_program

EPOCHS = 8
PAUSE = 0.15
"""Seconds between epochs, so that a fault has time to show itself."""

pytestmark = pytest.mark.slow


on_both = pytest.mark.parametrize("backend", ["sqlite", "postgres"], indirect=True)


@pytest.fixture(scope="module")
def backend(request, tmp_path_factory):
    """A real server: (process, port). It may be killed and started again."""
    kind = getattr(request, "param", "sqlite")
    folder = tmp_path_factory.mktemp(kind)
    if kind == "postgres":
        if postgres_program("initdb") is None:
            pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
        for package in ("psycopg2", "moto", "boto3"):
            pytest.importorskip(package)
    with servers.backend(kind, folder) as (server, address):
        yield server, int(address.rsplit(":")[-1])


@pytest.fixture
def line(backend, tmp_path, monkeypatch):
    """The way to the server, where things happen; MLflow's patience is shortened to seconds."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("MAX_RETRIES", "1"), ("TIMEOUT", "5"), ("BACKOFF_FACTOR", "1")):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)
    proxy = Proxy(backend[1])
    proxy.mode = "pass"
    mlflow.set_tracking_uri(proxy.address)
    yield proxy
    proxy.mode = "pass"
    import mlflow_dlviz

    mlflow_dlviz.flush(60)
    mlflow_dlviz.autolog(disable=True)
    proxy.mode = "gone"
    mlflow.set_tracking_uri(None)


@pytest.fixture
def client(line, backend):
    """Reads what has arrived, past the line."""
    return mlflow.MlflowClient(tracking_uri=f"http://127.0.0.1:{backend[1]}")


class At(keras.callbacks.Callback):
    """Does something at the end of some epochs, and takes its time with each."""

    def __init__(self, **actions):
        super().__init__()
        self.actions = {int(name.removeprefix("epoch")): action for name, action in actions.items()}

    def on_epoch_end(self, epoch, logs=None):
        time.sleep(PAUSE)
        self.actions.get(epoch, lambda: None)()


def train(table, binary, **actions):
    """Train, and give the seconds that ``fit`` took and the weights that it arrived at."""
    x, y, validation = table
    model = binary()
    began = time.monotonic()
    model.fit(x, y, epochs=EPOCHS, validation_data=validation, verbose=0, callbacks=[At(**actions)])
    return time.monotonic() - began, [weight.tobytes() for weight in model.get_weights()]


_UNDISTURBED: list[list[bytes]] = []
"""The weights that training without us arrives at."""


@pytest.fixture
def fit(line, table, binary):
    """``fit(epoch2=…)`` trains with mlflow_dlviz and asserts that it came back, with the same weights."""
    import mlflow_dlviz

    def run(**actions):
        if not _UNDISTURBED:
            _UNDISTURBED.append(train(table, binary)[1])
        mlflow_dlviz.autolog(deadline=3, cadence=3)
        seconds, weights = train(table, binary, **actions)
        assert weights == _UNDISTURBED[0]
        # No measurement (that is benchmarks/faults.py), only a bound far under what one of MLflow's waits takes.
        assert seconds < 60

    return run


def only_run(client, spool=None):
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    wanted = [run for run in runs if spool is None or run.data.tags.get("dlviz.spool") == spool]
    assert len(wanted) == 1, [run.info.run_name for run in wanted]
    return wanted[0]


def newest(client):
    return client.search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)[0]


def spools(tmp_path):
    return sorted(path.parent for path in (tmp_path / "spool").glob("*/plan.json"))


def assert_complete(client, run_id, epochs=EPOCHS, *, model=True, status="FINISHED"):
    """All of an undisturbed run is there, and nothing twice."""
    run = client.get_run(run_id)
    assert run.info.status == status
    for key in ("loss", "val_loss", "val_mcc", "learning_rate"):
        assert [point.step for point in client.get_metric_history(run_id, key)] == list(range(epochs)), key
    assert run.data.params["optimizer_name"] == "adam"
    assert run.data.params["epochs"] == str(EPOCHS)
    images = [file.path for file in client.list_artifacts(run_id, "images")]
    keys = {path.split("+timestamp")[0] for path in images}
    assert len(images) == 2 * len(keys)
    taken = {0, 3, 6, 7}
    assert {int(key.rsplit("+")[-1]) for key in keys if "dense" in key} == taken
    numbers = client.list_artifacts(run_id, "dlviz/probabilities/validation")
    assert {int(Path(file.path).stem) for file in numbers} == taken
    assert {file.path for file in client.list_artifacts(run_id)} >= {
        "report.html",
        "summary.png",
        "model_summary.txt",
    }
    assert len(run.inputs.dataset_inputs) == 2
    assert len(run.outputs.model_outputs) == int(model)
    for output in run.outputs.model_outputs:
        assert str(client.get_logged_model(output.model_id).status) == "READY"
    return run


def ledger(client, run_id):
    return json.loads(Path(client.download_artifacts(run_id, "dlviz/ledger.json")).read_text())


def flush_and_check(client, tmp_path, run_id=None):
    import mlflow_dlviz

    assert mlflow_dlviz.flush(90)
    assert spools(tmp_path) == []
    return assert_complete(client, run_id or newest(client).info.run_id)


@on_both
def test_undisturbed(fit, line, client, tmp_path):
    fit()
    run = flush_and_check(client, tmp_path)
    assert run.data.tags["dlviz.status"] == "ok"


@on_both
def test_the_server_is_absent_at_the_start(fit, line, client, tmp_path, caplog):
    line.mode = "gone"
    fit()
    assert mlflow.active_run() is None
    assert caplog.text.count("can't be reached") == 1
    assert len(spools(tmp_path)) == 1
    line.mode = "pass"
    run = flush_and_check(client, tmp_path)
    assert run.data.tags["dlviz.status"] == "ok"
    assert run.data.tags["mlflow.user"]


def fails_and_comes_back(fit, line, mode):
    def fail():
        line.mode = mode

    def mend():
        line.mode = "pass"

    fit(epoch2=fail, epoch5=mend)


@on_both
@pytest.mark.parametrize("mode", ["gone", "cut"])
def test_the_connection_is_lost_in_mid_run(fit, line, client, tmp_path, mode):
    fails_and_comes_back(fit, line, mode)
    flush_and_check(client, tmp_path)


@pytest.mark.parametrize("mode", ["hang", "500", "429"])
def test_the_server_fails_in_mid_run_and_comes_back(fit, line, client, tmp_path, mode):
    fails_and_comes_back(fit, line, mode)
    flush_and_check(client, tmp_path)


@pytest.mark.parametrize("mode", ["gone", "hang", "500", "413"])
def test_the_server_fails_for_good_and_sync_sends_the_rest(fit, line, client, tmp_path, mode):
    import mlflow_dlviz

    def fail():
        line.mode = mode

    fit(epoch2=fail)
    assert mlflow.active_run() is None
    assert not mlflow_dlviz.flush(15)
    run_id = newest(client).info.run_id
    assert len(client.get_metric_history(run_id, "loss")) < EPOCHS
    line.mode = "pass"
    mlflow_dlviz.sync()
    assert mlflow_dlviz.flush(60)
    assert_complete(client, run_id)
    assert mlflow_dlviz.sync() == []


@on_both
def test_the_server_itself_is_killed_and_comes_back_after_ten_seconds(fit, backend, line, client, tmp_path):
    server = backend[0]
    back = []

    def kill():
        server.kill()
        back.append(time.monotonic() + 10)

    fit(epoch3=kill)
    time.sleep(max(0.0, back[0] - time.monotonic()))
    server.start()
    flush_and_check(client, tmp_path)


def test_the_run_is_deleted_while_training(fit, line, client, tmp_path, caplog):
    import mlflow_dlviz
    from mlflow_dlviz import syncing

    fit(epoch2=lambda: client.delete_run(newest(client).info.run_id))
    mlflow_dlviz.flush(30)
    assert "is deleted" in caplog.text
    (spool,) = spools(tmp_path)
    (synced,) = mlflow_dlviz.sync()
    assert "mlflow runs restore" in synced.trouble
    assert syncing.waiting()[0].state == "gone"
    client.restore_run(synced.run_id)
    assert [each.trouble for each in mlflow_dlviz.sync()] == [""]
    assert_complete(client, synced.run_id)
    assert not spool.exists()


def test_a_run_of_the_users_own_is_not_held_up_by_us(line, client, table, binary, tmp_path):
    import mlflow_dlviz

    mlflow_dlviz.autolog(deadline=3, cadence=3)

    def fail():
        line.mode = "gone"

    run = mlflow.start_run()
    seconds, _ = train(table, binary, epoch1=fail)
    assert seconds < 30
    with contextlib.suppress(mlflow.MlflowException):
        mlflow.end_run()
    line.mode = "pass"
    assert mlflow_dlviz.flush(60)
    assert_complete(client, run.info.run_id, status="RUNNING")


SCRIPT = """
import os, signal, sys
import keras, mlflow, numpy as np
import mlflow_dlviz

mlflow_dlviz.autolog(cadence=1, deadline=2, log_models=False)

class Kill(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if self.params["epochs"] and self.epoch == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

rng = np.random.default_rng(0)
x = rng.normal(size=(160, 4)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.Dense(1, "sigmoid")])
model.compile("adam", "binary_crossentropy")
model.fit(x, y, epochs=8, validation_split=0.25, verbose=0, callbacks=[Kill()])
"""


def run_script(script, *args, **environment):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@on_both
@pytest.mark.parametrize("mode", ["pass", "gone"])
def test_killed_in_an_epoch_everything_up_to_it_is_there(line, client, tmp_path, mode):
    import mlflow_dlviz
    from mlflow_dlviz import syncing

    epochs = 3
    line.mode = mode
    done = run_script(SCRIPT, epochs, MLFLOW_TRACKING_URI=line.address)
    assert done.returncode == -signal.SIGKILL, done.stderr
    line.mode = "pass"
    (waiting,) = syncing.waiting()
    assert waiting.state == "waiting"
    (synced,) = mlflow_dlviz.sync()
    assert synced.trouble == ""
    run = only_run(client, waiting.folder.name)
    assert run.info.status == "FAILED"
    for key in ("loss", "val_mcc"):
        assert [point.step for point in client.get_metric_history(run.info.run_id, key)] == list(range(epochs))
    assert run.data.params["optimizer_name"] == "adam"
    assert run.data.tags["dlviz.status"] == "partial"
    assert "ended without closing" in ledger(client, run.info.run_id)["entries"][-1]["why"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"report.html", "dlviz"}
    assert mlflow_dlviz.sync() == []


def test_two_processes_sync_at_once_and_nothing_is_sent_twice(fit, line, client, tmp_path):
    import mlflow_dlviz

    mlflow_dlviz.autolog(offline=True)
    x = np.random.default_rng(0).normal(size=(80, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    before = len(client.search_runs(["0"]))
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.layers.Dense(1, "sigmoid")])
        model.compile("adam", "binary_crossentropy")
        model.fit(x, y, epochs=3, verbose=0)
    mlflow_dlviz.flush(60)
    assert len(spools(tmp_path)) == 3
    assert len(client.search_runs(["0"])) == before
    code = "import mlflow_dlviz, sys; mlflow_dlviz.sync()"
    both = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "MLFLOW_TRACKING_URI": line.address})
        for _ in range(2)
    ]
    assert [each.wait(timeout=120) for each in both] == [0, 0]
    mlflow_dlviz.sync()
    assert spools(tmp_path) == []
    made = client.search_runs(["0"])[: len(client.search_runs(["0"])) - before]
    assert len(made) == 3
    for run in made:
        assert run.info.status == "FINISHED"
        assert run.data.tags["dlviz.status"] == "ok"
        assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [0, 1, 2]
        images = client.list_artifacts(run.info.run_id, "images")
        assert len(images) == 2 * len({file.path.split("+timestamp")[0] for file in images})


def test_sent_twice_there_is_still_one_of_each(line, client, tmp_path):
    from mlflow.entities import Metric

    from mlflow_dlviz.store.batch import Batch, End, SavedModel, TimedImage
    from mlflow_dlviz.store.deliver import deliver
    from mlflow_dlviz.store.models import save_model
    from mlflow_dlviz.store.spool import Plan, begin

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    saved = save_model(model, np.zeros((1, 2)), np.zeros((1, 1)))
    image = TimedImage("a/b", 1, 5, PNG, PNG)
    batch = Batch(
        [Metric("m", 1.5, 7, 0)],
        {"p": "1"},
        {"t": "1"},
        {"f.txt": b"1"},
        [image],
        [{"context": "train", "name": "d", "digest": "1", "source_type": "code", "source": "{}"}],
        [SavedModel(saved.name, saved.folder, "same")],
        end=End("FINISHED", 9),
    )
    spool = begin(tmp_path / "spool", Plan("s" * 32, line.address, None, experiment="0", name="twice"))
    assert spool.try_lock()
    spool.add("one", batch)
    (item,) = spool.waiting()
    content = item.path.read_bytes()
    # As after a process that was killed between the server's answer and its own note of it: twice over.
    for _ in range(3):
        item.path.write_bytes(content)
        spool.change(run_id=None)
        assert deliver(spool, page=lambda *_: {}).refused == []
    spool.unlock()
    run = only_run(client, "s" * 32)
    assert len(client.get_metric_history(run.info.run_id, "m")) == 1
    assert len(client.list_artifacts(run.info.run_id, "images")) == 2
    assert len(run.outputs.model_outputs) == 1
    assert len(run.inputs.dataset_inputs) == 1
    assert run.info.end_time == 9


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


@pytest.fixture
def no_room(tmp_path):
    """A file system of 64 kB; skips where we may not make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_the_disk_of_the_spool_is_full(fit, line, client, no_room, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL", str(no_room))

    def fail():
        line.mode = "gone"

    def mend():
        line.mode = "pass"

    fit(epoch1=fail, epoch5=mend)
    import mlflow_dlviz

    assert mlflow_dlviz.flush(60)
    run = assert_complete(client, newest(client).info.run_id)
    assert "No space left" in caplog.text
    assert any("No space left" in entry["why"] for entry in ledger(client, run.info.run_id)["entries"])


def test_the_spool_folder_can_not_be_written(fit, line, client, tmp_path, monkeypatch, caplog):
    import mlflow_dlviz

    # As root may write anywhere else, a file stands where the folder would have to be.
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL", str(tmp_path / "file" / "spool"))
    fit()
    assert mlflow_dlviz.flush(60)
    assert_complete(client, newest(client).info.run_id)
    assert caplog.text.count("the spool on disk is left out") == 1
