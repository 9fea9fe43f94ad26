"""The writer: training never waits, numbers are never lost, and pictures may be."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time

import mlflow
import pytest
from mlflow.entities import Metric

from mlflow_dlviz import writer as module
from mlflow_dlviz.store.put import Batch
from mlflow_dlviz.store.runs import RunRef
from mlflow_dlviz.writer import Picture, RunLog, Task, Writer


@pytest.fixture
def run(store):
    made = store.create_run(mlflow.get_experiment_by_name("test").experiment_id)
    return RunLog(RunRef(mlflow.get_tracking_uri(), made.info.run_id))


@pytest.fixture
def writer():
    made = Writer()
    yield made
    assert made.flush(30)


class Gate:
    """Something to draw that takes until it is let through."""

    def __init__(self):
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self):
        self.entered.set()
        assert self.open.wait(30)
        return {"gate.txt": b""}


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.open.set()


def picture(run, name, draw=None):
    return Picture(run, f"picture {name!r}", 0, draw or (lambda: {f"{name}.txt": name.encode()}))


def files(store, run):
    return {file.path for file in store.list_artifacts(run.ref.run_id)}


def number(step, value=1.0, key="loss"):
    return Batch([Metric(key, value, 1, step)])


def test_flush_says_whether_all_was_done(run, writer, gate):
    assert writer.flush(0)
    writer.draw(picture(run, "gate", gate))
    assert gate.entered.wait(10)
    began = time.monotonic()
    assert not writer.flush(0.05)
    assert not writer.flush(0)
    assert time.monotonic() - began < 5
    assert writer.waiting() == 1
    gate.open.set()
    assert writer.flush(30)
    assert writer.waiting() == 0


@pytest.mark.parametrize("timeout", [-1, -0.1, "1"])
def test_a_bad_timeout_raises(timeout):
    with pytest.raises(ValueError, match=f"timeout={timeout!r}"):
        module.flush(timeout)


def test_pictures_beyond_the_bound_are_dropped_and_numbers_are_not(store, run, writer, gate, monkeypatch, caplog):
    monkeypatch.setattr(module, "PICTURES", 3)
    writer.draw(picture(run, "gate", gate))
    assert gate.entered.wait(10)
    for index in range(5):
        writer.draw(picture(run, f"p{index}"))
        writer.send(run, "numbers", number(index))
    writer.then(Task(run, "the ledger", lambda: Batch(files={"ledger.txt": b""})))
    gate.open.set()
    assert writer.flush(30)
    assert files(store, run) == {"gate.txt", "p0.txt", "p1.txt", "p2.txt", "ledger.txt"}
    assert len(store.get_metric_history(run.ref.run_id, "loss")) == 5
    assert run.ledger.counts["dropped"] == 2
    assert run.ledger.counts["written"] == 4
    assert run.ledger.status == "partial"
    assert caplog.text.count("waited to be drawn") == 1


def test_numbers_do_not_wait_for_pictures(store, run, writer, gate):
    writer.draw(picture(run, "gate", gate))
    assert gate.entered.wait(10)
    writer.send(run, "numbers", number(0))
    deadline = time.monotonic() + 20
    while not store.get_metric_history(run.ref.run_id, "loss"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def bad_batch():
    raise RuntimeError("my mistake")


@pytest.mark.parametrize("bad", [bad_batch, Batch([Metric("bad?\n", 1.0, 1, 0)])], ids=["function", "refused"])
def test_a_batch_that_fails_does_not_take_the_others_with_it(store, run, writer, bad, caplog):
    sent = threading.Event()

    def hold():
        assert sent.wait(10)
        return Batch()

    # The first holds the sender until the others are queued, so that they are one batch.
    writer.send(run, "hold", hold)
    for index in range(3):
        writer.send(run, f"good {index}", number(index))
        if index == 1:
            writer.send(run, "the bad one", bad)
    sent.set()
    assert writer.flush(30)
    assert {metric.step for metric in store.get_metric_history(run.ref.run_id, "loss")} == {0, 1, 2}
    assert [entry.what for entry in run.ledger.entries] == ["sending the bad one"]
    assert "the bad one failed" in caplog.text


def test_what_was_queued_later_wins(store, run, writer):
    for value in range(30):
        writer.send(run, "tag", Batch(tags={"t": str(value)}, files={"f.txt": str(value).encode()}))
        writer.send(run, "metric", number(0, float(value), "same"))
    assert writer.flush(30)
    assert store.get_run(run.ref.run_id).data.tags["t"] == "29"
    assert mlflow.artifacts.load_text(f"runs:/{run.ref.run_id}/f.txt") == "29"
    history = store.get_metric_history(run.ref.run_id, "same")
    assert {metric.value for metric in history} == set(range(30))


def test_runs_do_not_mix(store, run, writer):
    made = store.create_run(mlflow.get_experiment_by_name("test").experiment_id)
    other = RunLog(RunRef(mlflow.get_tracking_uri(), made.info.run_id))
    for step in range(6):
        writer.send(other if step % 2 else run, "numbers", number(step))
    assert writer.flush(30)
    for each, parity in ((run, 0), (other, 1)):
        steps = [metric.step for metric in store.get_metric_history(each.ref.run_id, "loss")]
        assert steps == [parity, parity + 2, parity + 4]


def test_a_picture_that_fails_leaves_the_others(store, run, writer, caplog):
    def fail():
        raise RuntimeError("my mistake")

    for name, draw in (("a", None), ("bad", fail), ("b", None)):
        writer.draw(picture(run, name, draw))
    assert writer.flush(30)
    assert files(store, run) == {"a.txt", "b.txt"}
    assert run.ledger.counts["failed"] == 1
    assert run.ledger.entries[0].step == 0
    assert caplog.text.count("my mistake") == 1


def test_pictures_after_training_are_counted_as_late(run, writer, gate):
    writer.draw(picture(run, "gate", gate))
    writer.draw(picture(run, "late"))
    assert gate.entered.wait(10)
    run.training = False
    gate.open.set()
    assert writer.flush(30)
    assert run.ledger.counts["late"] == 2


def test_a_task_comes_after_all_that_was_queued_before_it(store, run, writer):
    seen = []

    def task():
        seen.append({*files(store, run)})
        return Batch()

    for name in "abc":
        writer.draw(picture(run, name))
    writer.then(Task(run, "the page", task))
    assert writer.flush(30)
    assert seen == [{"a.txt", "b.txt", "c.txt"}]


def busy(seconds, times):
    def draw():
        times.append(time.monotonic())
        began = time.thread_time()
        while time.thread_time() - began < seconds:
            pass
        times.append(time.monotonic())
        return {}

    return draw


def await_length(times, length):
    deadline = time.monotonic() + 20
    while len(times) < length:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_drawing_gives_way_while_training_and_not_after(run, writer, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    times = []
    writer.training_began()
    for index in range(2):
        writer.draw(picture(run, str(index), busy(0.05, times)))
    await_length(times, 4)
    assert times[2] - times[1] >= 0.4
    assert writer.flush(30)
    # The rest after a picture ends with the training.
    times.clear()
    writer.draw(picture(run, "long", busy(0.3, times)))
    writer.draw(picture(run, "next", busy(0.0, times)))
    await_length(times, 2)
    writer.training_ended()
    await_length(times, 4)
    assert times[2] - times[1] < 2


def test_drawing_does_not_give_way_to_who_waits_for_it(run, writer, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    times = []
    writer.training_began()
    for index in range(2):
        writer.draw(picture(run, str(index), busy(0.3, times)))
    assert writer.flush(30)
    assert times[2] - times[1] < 2
    writer.training_ended()


def test_training_that_ends_twice_is_no_trouble(writer):
    writer.training_ended()
    writer.training_began()
    assert writer._training == 1
    writer.training_ended()


def script(folder, code, **options):
    path = folder / "script.py"
    path.write_text(textwrap.dedent(code))
    return subprocess.run(
        [sys.executable, path], cwd=folder, capture_output=True, text=True, timeout=120, **options
    )


def test_a_fork_has_a_writer_of_its_own(tmp_path):
    done = script(
        tmp_path,
        """
        import os, threading
        from mlflow_dlviz.writer import Picture, RunLog, flush, writer
        from mlflow_dlviz.store.runs import RunRef

        entered, go = threading.Event(), threading.Event()
        def draw():
            entered.set()
            go.wait(30)
            raise RuntimeError("not drawn")
        parents = writer()
        parents.draw(Picture(RunLog(RunRef("sqlite://", "none")), "it", 0, draw))
        entered.wait(10)
        child = os.fork()
        if not child:
            os._exit(0 if writer() is not parents and flush(1) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert writer() is parents and not flush(0)
        go.set()
        assert flush(10)
        """,
    )
    assert done.returncode == 0, done.stderr


def test_the_end_of_the_process_waits_for_so_long_only(tmp_path):
    done = script(
        tmp_path,
        """
        import time
        from mlflow_dlviz import writer as module
        from mlflow_dlviz.store.runs import RunRef

        module.EXIT_SECONDS = 0.2
        run = module.RunLog(RunRef("sqlite://", "none"))
        module.writer().draw(module.Picture(run, "it", 0, lambda: time.sleep(60) or {}))
        """,
    )
    assert done.returncode == 0
    assert "1 items were not drawn or sent" in done.stderr
    assert "flush()" in done.stderr


@pytest.mark.slow
def test_a_script_that_ends_right_after_fit_loses_nothing(store, runs, tmp_path):
    done = script(
        tmp_path,
        f"""
        import keras, mlflow, numpy as np, mlflow_dlviz
        from mlflow_dlviz import hooks

        mlflow.set_tracking_uri({mlflow.get_tracking_uri()!r})
        mlflow.set_experiment("test")
        mlflow_dlviz.autolog(log_models=False)
        x, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
        def model():
            made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
            made.compile("adam", "binary_crossentropy")
            return made
        model().fit(x, y, epochs=3, verbose=0)

        def stop(epoch, logs):
            if epoch == 1:
                raise SystemExit(0)
        # Another package has put its own fit over ours: this one's end is seen at the end of the process.
        keras.Model.fit = hooks._State.wrapped[-1].original
        model().fit(x, y, epochs=3, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)])
        """,
    )
    assert done.returncode == 0, done.stderr
    whole, cut = runs()
    assert (whole.info.status, cut.info.status) == ("FINISHED", "FAILED")
    for run, epochs in ((whole, 3), (cut, 2)):
        paths = {file.path for file in store.list_artifacts(run.info.run_id)}
        assert paths >= {"dlviz", "images", "report.html", "summary.png"}
        pictures = {file.path for file in store.list_artifacts(run.info.run_id, "images")}
        assert sum("boundary~plane+step" in path and path.endswith(".png") for path in pictures) == epochs
        assert run.data.tags["dlviz.status"] == "ok"
