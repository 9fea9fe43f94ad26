"""The end of the process, and its children: nothing is lost, and what waits is said with the way to send it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import mlflow
import pytest
from servers import Proxy, free_port

import mlflow_dlviz
from mlflow_dlviz import process
from mlflow_dlviz.store.spool import find_spools

BEGIN = """
import os, sys, threading, time, uuid
import mlflow
from mlflow.entities import Metric
from mlflow_dlviz import process
from mlflow_dlviz.drawing import Picture
from mlflow_dlviz.process import flush, writer
from mlflow_dlviz.store.batch import Batch
from mlflow_dlviz.store.room import default_root
from mlflow_dlviz.store.spool import Plan, begin
from mlflow_dlviz.tracked import RunLog

def run(uri="http://127.0.0.1:9", run_id=None):
    return RunLog(begin(default_root(), Plan(uuid.uuid4().hex, uri, run_id)))

def number(step):
    return Batch([Metric("loss", 1.0, 1, step)])
"""


@pytest.fixture
def script(tmp_path):
    """Run code as a script, with ``run()`` and ``number(step)``."""

    def go(code, begin=BEGIN, **environment):
        path = tmp_path / "script.py"
        path.write_text(begin + textwrap.dedent(code))
        done = subprocess.run(
            [sys.executable, path],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    return go


@pytest.mark.parametrize("timeout", [-1, -0.1, "1"])
def test_a_bad_timeout_raises(timeout):
    with pytest.raises(ValueError, match=f"timeout={timeout!r}"):
        process.flush(timeout)


def test_there_is_one_writer():
    assert process.writer() is process.writer()
    assert mlflow_dlviz.flush is process.flush


def test_what_was_logged_is_sent_before_the_process_ends(store, script):
    made = store.create_run(store.get_experiment_by_name("test").experiment_id)
    said = script(
        f"""
        it = run({mlflow.get_tracking_uri()!r}, {made.info.run_id!r})
        for step in range(50):
            writer().send(it, "numbers", lambda step=step: number(step))
        writer().draw(Picture(it, "a picture", 0, lambda: Batch(files={{"drawn.txt": b"1"}})))
        it.training = False
        """
    )
    assert "mlflow_dlviz" not in said
    assert len(store.get_metric_history(made.info.run_id, "loss")) == 50
    assert {file.path for file in store.list_artifacts(made.info.run_id)} == {"drawn.txt", "dlviz"}


def test_what_could_not_be_sent_is_counted_and_the_command_named(script, spool_root):
    said = script(
        """
        one, other = run(), run()
        for step in range(3):
            writer().send(one, "numbers", number(step))
        writer().send(other, "numbers", number(0))
        """
    )
    assert f"not sent: 4 items of 2 runs, kept in {spool_root}; `mlflow-dlviz sync` sends what is left" in said
    assert said.count("can't be reached") == 1
    found = find_spools(spool_root)
    assert sorted(len(spool.waiting()) for spool in found) == [1, 3]
    assert all(spool.plan.closed for spool in found)
    assert not list((spool_root / "alive").iterdir())


def test_where_the_ledger_alone_could_not_be_sent_that_is_said(script, spool_root):
    said = script(
        """
        it = run()
        it.training = False
        writer().send(it, "nothing", Batch)
        writer().flush(5)
        for item in it.spool.waiting():
            it.spool.done(item)
        """
    )
    assert f"not sent: the ledger of 1 run, kept in {spool_root}" in said


def test_what_is_on_neither_is_said_to_be_lost(script, tmp_path):
    (tmp_path / "file").touch()
    said = script(
        """
        it = run()
        writer().send(it, "numbers", number(0))
        writer().send(it, "numbers", number(1))
        """,
        MLFLOW_DLVIZ_SPOOL=str(tmp_path / "file" / "spool"),
    )
    assert "lost: 2 items that could neither be sent nor put on disk" in said
    assert "not sent: " not in said


def test_of_a_disk_that_was_full_half_way_both_parts_are_told_apart(script, spool_root):
    said = script(
        """
        it = run()
        writer().send(it, "numbers", number(0))
        os.environ["MLFLOW_DLVIZ_SPOOL_MB"] = "0"
        writer().send(it, "a file", Batch(files={"f": bytes(70_000_000)}))
        """
    )
    assert "not sent: 1 item of 1 run, kept in " in said
    assert "lost: 1 item that could neither be sent nor put on disk" in said


def test_the_end_waits_for_so_long_only_and_says_what_was_not_drawn(script, spool_root):
    script(
        """
        process.EXIT_SECONDS = 0.2
        it = run()
        writer().send(it, "numbers", number(0))
        entered = threading.Event()
        def hang():
            entered.set()
            time.sleep(60)
        writer().draw(Picture(it, "it", 0, hang))
        writer().draw(Picture(it, "never", 0, lambda: Batch()))
        entered.wait(20)
        """
    )
    [spool] = find_spools(spool_root)
    assert len(spool.waiting()) == 1
    assert "the process ended before they were drawn" in spool.ledger()


def test_a_server_that_hangs_does_not_hold_up_the_end(script, spool_root):
    line = Proxy(free_port())
    line.mode = "hang"
    try:
        said = script(
            f"""
            process.EXIT_SECONDS = 1.0
            it = run({line.address!r}, "f" * 32)
            writer().send(it, "numbers", number(0))
            """
        )
    finally:
        line.mode = "gone"
    assert f"not sent: 1 item of 1 run, kept in {spool_root}" in said
    [spool] = find_spools(spool_root)
    assert spool.plan.closed


def test_what_a_thread_of_the_users_own_logs_last_is_laid_down(script, spool_root):
    """Python waits for it after what is registered with threading, and before atexit."""
    script(
        """
        it = run()
        def late():
            time.sleep(0.5)
            writer().send(it, "numbers", number(0))
        threading.Thread(target=late).start()
        """
    )
    [spool] = find_spools(spool_root)
    assert len(spool.waiting()) == 1
    assert spool.plan.closed


def test_a_process_that_leaves_at_once_has_it_on_disk(script, spool_root):
    script(
        """
        it = run()
        writer().send(it, "numbers", number(0))
        os._exit(0)
        """
    )
    [spool] = find_spools(spool_root)
    assert len(spool.waiting()) == 1
    assert not spool.plan.closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_has_a_writer_and_spools_of_its_own(script, spool_root):
    script(
        """
        from mlflow_dlviz.store.alive import is_alive
        from mlflow_dlviz.store.spool import find_spools

        entered, go = threading.Event(), threading.Event()
        def draw():
            entered.set()
            go.wait(30)
            raise RuntimeError("not drawn")
        parents, it = writer(), run()
        parents.draw(Picture(it, "it", 0, draw))
        entered.wait(10)
        child = os.fork()
        if not child:
            mine = run()
            fine = writer() is not parents and flush(1) and mine.spool.plan.process != it.spool.plan.process
            writer().send(mine, "numbers", number(0))
            os._exit(0 if fine and len(mine.spool.waiting()) == 1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert writer() is parents and not flush(0)
        # The child's death has let go of nothing of its parent's.
        root = default_root()
        alive = {spool.plan.spool_id: is_alive(root, spool.plan.process) for spool in find_spools(root)}
        assert alive.pop(it.spool.plan.spool_id)
        assert list(alive.values()) == [False], alive
        go.set()
        flush(10)
        """
    )
    assert len(find_spools(spool_root)) == 2


FITTING = """
import keras, mlflow, numpy as np, mlflow_dlviz
from mlflow_dlviz import hooks

mlflow.set_experiment("test")
x, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
def model():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
    made.compile("adam", "binary_crossentropy")
    return made
"""


@pytest.mark.slow
def test_a_script_that_ends_right_after_fit_loses_nothing(store, runs, script):
    script(
        """
        mlflow_dlviz.autolog(log_models=False)
        model().fit(x, y, epochs=3, verbose=0)

        def stop(epoch, logs):
            if epoch == 1:
                raise SystemExit(0)
        # Another package has put its own fit over ours: this one's end is seen at the end of the process.
        keras.Model.fit = hooks._State.wrapped[-1].original
        model().fit(x, y, epochs=3, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)])
        """,
        FITTING,
        MLFLOW_TRACKING_URI=mlflow.get_tracking_uri(),
    )
    whole, cut = runs()
    assert (whole.info.status, cut.info.status) == ("FINISHED", "FAILED")
    for run, epochs in ((whole, 3), (cut, 2)):
        paths = {file.path for file in store.list_artifacts(run.info.run_id)}
        assert paths >= {"dlviz", "images", "report.html", "summary.png"}
        pictures = {file.path for file in store.list_artifacts(run.info.run_id, "images")}
        assert sum("boundary~plane+step" in path and path.endswith(".png") for path in pictures) == epochs
        assert run.data.tags["dlviz.status"] == "ok"


@pytest.mark.slow
def test_a_script_without_a_server_says_at_its_end_how_to_send_it(store, runs, script, spool_root):
    said = script(
        """
        mlflow_dlviz.autolog(offline=True)
        model().fit(x, y, epochs=3, verbose=0)
        """,
        FITTING,
        MLFLOW_TRACKING_URI=mlflow.get_tracking_uri(),
    )
    assert " of 1 run, kept in " in said
    assert "can't be reached" not in said
    assert runs() == []
    [result] = mlflow_dlviz.sync()
    assert result.trouble == ""
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["dlviz.status"] == "ok"
    assert len(run.outputs.model_outputs) == 1
    assert [point.step for point in store.get_metric_history(run.info.run_id, "val_loss")] == []
    assert [point.step for point in store.get_metric_history(run.info.run_id, "loss")] == [0, 1, 2]
    images = [file.path for file in store.list_artifacts(run.info.run_id, "images")]
    assert images
    assert "report.html" in {file.path for file in store.list_artifacts(run.info.run_id)}
