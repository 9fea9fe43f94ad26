"""The thread that sends: nobody waits for a server that is gone, and none for another's backlog."""

from __future__ import annotations

import json
import threading
import time
import uuid

import mlflow
import pytest
from mlflow.entities import Metric

from mlflow_dlviz import sending as module
from mlflow_dlviz.drawing import Picture
from mlflow_dlviz.store import deliver as deliver_module
from mlflow_dlviz.store.batch import Batch, TimedImage
from mlflow_dlviz.store.spool import find_spools
from mlflow_dlviz.writer import Writer

NOWHERE = "http://127.0.0.1:9"
"""The address of a server that is not there."""


@pytest.fixture
def writer():
    made = Writer()
    yield made
    made.flush(30)
    made.stop()


@pytest.fixture
def far(new_log, proxy):
    """A run of the server behind the proxy, which is to make it."""
    return new_log(proxy.address, name="far", owned=True)


def number(step, key="loss"):
    return Batch([Metric(key, float(step), 1, step)])


def steps(client, run, key="loss"):
    return [point.step for point in client.get_metric_history(run.ref.run_id, key)]


def over(writer, *runs):
    for run in runs:
        run.training = False
    writer.training_ended()


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def failures(writer, run):
    with writer._changed:
        line = writer._sender._lines.get(run.ref.tracking_uri)
        return line.failures if line is not None else 0


def test_a_server_that_comes_back_gets_all_of_it(writer, far, proxy, server, caplog):
    caplog.set_level("INFO", logger="mlflow_dlviz")
    proxy.mode = "gone"
    for step in range(3):
        writer.send(far, "numbers", number(step))
    over(writer, far)
    until(lambda: failures(writer, far))
    assert not writer.flush(30)
    assert caplog.text.count("can't be reached") == 1
    proxy.mode = "pass"
    # By itself, without anybody waiting for it.
    until(lambda: not far.spool.folder.exists(), 60)
    assert steps(server, far) == [0, 1, 2]
    assert caplog.text.count("answers again") == 1
    assert writer.flush(30)
    assert server.get_run(far.ref.run_id).data.tags["dlviz.status"] == "ok"


def test_what_is_said_names_the_place_and_the_command_and_no_secret(writer, new_log, caplog):
    run = new_log("http://user:secret@127.0.0.1:9")
    writer.send(run, "numbers", number(0))
    until(lambda: caplog.records)
    said = caplog.records[0].getMessage()
    assert "http://127.0.0.1:9 can't be reached, training goes on" in said
    assert str(run.spool.folder.parent) in said
    assert "`mlflow-dlviz sync`" in said
    assert "secret" not in said


def test_it_is_asked_ever_less_often(writer, new_log, monkeypatch):
    times = []
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.8)

    def ask(uri, seconds=0):
        times.append(time.monotonic())
        raise ConnectionError("no")

    monkeypatch.setattr(deliver_module, "check_reachable", ask)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.1)
    writer.send(new_log(NOWHERE, "f" * 32), "numbers", number(0))
    until(lambda: len(times) >= 6)
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    for gap, least in zip(gaps, (0.1, 0.2, 0.4, 0.8, 0.8), strict=False):
        assert gap >= least


def test_more_that_is_logged_does_not_make_it_ask_more_often(writer, new_log, monkeypatch):
    asked = []

    def ask(uri, seconds=0):
        asked.append(uri)
        raise ConnectionError("no")

    monkeypatch.setattr(deliver_module, "check_reachable", ask)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 30.0)
    run = new_log(NOWHERE, "f" * 32)
    writer.send(run, "numbers", number(0))
    until(lambda: failures(writer, run))
    for step in range(20):
        writer.send(run, "numbers", number(step))
    assert not writer.settle(run, 0.5)
    assert len(asked) == 1
    # Who waits for it has it asked once more.
    assert not writer.flush(20)
    assert len(asked) == 2


def test_flush_comes_back_soon_though_the_server_is_being_asked(writer, new_log, monkeypatch):
    """It fails while flush waits: without another question at once, flush would wait for the next one."""
    entered, go, asked = threading.Event(), threading.Event(), []

    def ask(uri, seconds=0):
        asked.append(uri)
        entered.set()
        assert go.wait(30)
        raise ConnectionError("no")

    monkeypatch.setattr(deliver_module, "check_reachable", ask)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 60.0)
    writer.send(new_log(NOWHERE, "f" * 32), "numbers", number(0))
    assert entered.wait(10)
    flushed = []
    thread = threading.Thread(target=lambda: flushed.append(writer.flush(40)))
    thread.start()
    until(lambda: writer._drawer.awaited)
    go.set()
    thread.join(20)
    assert flushed == [False]
    assert len(asked) == 2


@pytest.mark.parametrize("mode", ["gone", "hang", "500"])
def test_flush_says_false_soon_where_a_server_is_silent(writer, far, proxy, monkeypatch, mode):
    monkeypatch.setattr(deliver_module, "_ASK_SECONDS", 0.3)
    proxy.mode = mode
    writer.send(far, "numbers", number(0))
    began = time.monotonic()
    assert not writer.flush()
    assert time.monotonic() - began < 15
    assert len(far.spool.waiting()) == 1


def test_a_silent_server_does_not_keep_flush_from_the_others(store, writer, run, new_log):
    gone = new_log(NOWHERE, "f" * 32)
    writer.send(gone, "numbers", number(0))
    until(lambda: failures(writer, gone))
    for step in range(30):
        writer.send(run, "numbers", number(step))
    over(writer, run)
    assert not writer.flush(30)
    assert steps(store, run) == [*range(30)]
    assert not run.spool.folder.exists()


def test_settling_asks_for_its_own_server_only(store, writer, run, new_log):
    gone = new_log(NOWHERE, "f" * 32)
    writer.send(gone, "numbers", number(0))
    until(lambda: failures(writer, gone))
    writer.send(run, "numbers", number(0))
    assert writer.settle(run, 30)
    assert steps(store, run) == [0]
    began = time.monotonic()
    assert run.spool.try_lock()
    writer.send(run, "numbers", number(1))
    # Another's backlog is no reason to wait for one that does not answer.
    assert not writer.settle(gone, 30)
    assert time.monotonic() - began < 10
    run.spool.unlock()


def test_one_runs_backlog_does_not_starve_another(store, writer, run, new_log, monkeypatch):
    monkeypatch.setattr(module, "_TURN", 0.0)
    monkeypatch.setattr(deliver_module, "_ITEMS_A_GROUP", 1)
    other, left = new_log(), []
    put = deliver_module.put

    def listening(ref, batch):
        left.append((ref.run_id, len(run.spool.waiting())))
        return put(ref, batch)

    monkeypatch.setattr(deliver_module, "put", listening)
    assert run.spool.try_lock()
    assert other.spool.try_lock()
    for step in range(12):
        writer.send(run, "numbers", number(step))
    writer.send(other, "numbers", number(0))
    other.spool.unlock()
    run.spool.unlock()
    assert writer.flush(30)
    [of_other] = [waiting for run_id, waiting in left if run_id == other.ref.run_id]
    assert of_other >= 9
    assert steps(store, run) == [*range(12)]


def test_held_nothing_is_sent_and_all_is_laid_down(writer, new_log, monkeypatch, spool_root):
    asked = []
    monkeypatch.setattr(deliver_module, "check_reachable", lambda uri, seconds=0: asked.append(uri))
    run = new_log(NOWHERE, "f" * 32)
    run.held = True
    writer.begin_offline(run, "asked for by offline=True")
    writer.send(run, "numbers", number(0))
    run.ledger.left_out("it", "why")
    assert writer.settle(run, 10)
    assert writer.flush(10)
    [found] = find_spools(spool_root)
    assert json.loads(found.ledger())["entries"][0]["why"] == "why"
    assert not found.plan.closed
    over(writer, run)
    assert writer.flush(10)
    [found] = find_spools(spool_root)
    assert found.plan.closed
    assert len(found.waiting()) == 1
    assert asked == []
    # A second fit in the run, offline too.
    writer.begin(run)
    assert not find_spools(spool_root)[0].plan.closed
    writer.send(run, "numbers", number(1))
    over(writer, run)
    assert writer.flush(10)
    assert find_spools(spool_root)[0].plan.closed


def test_a_run_that_is_gone_is_said_once_and_keeps_what_is_logged_since(store, writer, run, caplog, spool_root):
    store.delete_run(run.ref.run_id)
    for step in range(3):
        writer.send(run, "numbers", number(step))
        assert writer.flush(30)
    over(writer, run)
    assert writer.flush(30)
    assert caplog.text.count("is deleted; `mlflow runs restore` brings it back") == 1
    [found] = find_spools(spool_root)
    assert len(found.waiting()) == 3
    assert found.plan.closed
    assert "is deleted" in found.ledger()


def test_what_was_refused_is_in_the_ledger_and_on_disk(store, writer, run, ledger):
    writer.send(run, "the bad one", Batch([Metric("bad?\n", 1.0, 1, 0)]))
    writer.send(run, "parameters", Batch(params={"p": "1"}))
    assert writer.flush(30)
    writer.send(run, "parameters", Batch(params={"p": "2"}))
    over(writer, run)
    assert writer.flush(30)
    found = store.get_run(run.ref.run_id)
    assert found.data.tags["dlviz.status"] == "failed"
    assert {(entry["kind"], entry["what"]) for entry in ledger(found)} == {
        ("failed", "the bad one"),
        ("left_out", "parameter 'p'"),
    }
    assert len(run.spool.refused()) == 1
    assert run.spool.plan.closed
    assert {(entry["kind"], entry["what"]) for entry in json.loads(run.spool.ledger())["entries"]} == {
        ("failed", "the bad one"),
        ("left_out", "parameter 'p'"),
    }


def test_what_another_process_is_sending_is_waited_for(store, writer, run, spool_root):
    [other] = find_spools(spool_root)
    assert other.try_lock()
    writer.send(run, "numbers", number(0))
    assert not writer.flush(0.6)
    other.unlock()
    assert writer.flush(30)
    assert steps(store, run) == [0]


def test_a_batch_that_comes_while_the_run_is_closed_is_sent_too(store, writer, run, monkeypatch):
    close, closed = module.close_run, []

    def closing(*args, **kwargs):
        close(*args, **kwargs)
        if not closed:
            closed.append(True)
            writer.begin(run)
            writer.send(run, "numbers", number(1))
            run.training = False

    monkeypatch.setattr(module, "close_run", closing)
    writer.send(run, "numbers", number(0))
    over(writer, run)
    assert writer.flush(30)
    assert steps(store, run) == [0, 1]
    assert not run.spool.folder.exists()


def test_a_run_that_is_over_is_closed_without_anything_more_to_send(store, writer, run):
    writer.send(run, "numbers", number(0))
    assert writer.flush(30)
    run.training = False
    # Nobody says so but who waits for it.
    assert writer.settle(run, 10)
    until(lambda: not run.spool.folder.exists())
    assert store.get_run(run.ref.run_id).data.tags["dlviz.status"] == "ok"


def test_an_error_of_our_own_does_not_end_the_thread(store, writer, run, monkeypatch):
    deliver, calls = module.deliver, []

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise SystemExit("mine")
        return deliver(*args, **kwargs)

    monkeypatch.setattr(module, "deliver", failing)
    writer.send(run, "numbers", number(0))
    until(lambda: run.spool.waiting() == [])
    assert steps(store, run) == [0]
    assert [entry.why for entry in run.ledger.entries] == ["SystemExit: mine"]


def test_flush_within_a_callback_of_fit_comes_back(dlviz, store, table, binary):
    import keras

    flushed = []
    dlviz.autolog(log_models=False, cadence=1)
    x, y, validation = table
    flush = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: flushed.append(dlviz.flush(60)))
    binary().fit(x, y, epochs=2, validation_data=validation, verbose=0, callbacks=[flush])
    assert flushed == [True, True]


def test_flush_comes_back_while_another_thread_trains(store, writer, run, new_log):
    writer.training_began()
    stop = threading.Event()

    def train():
        step = 0
        while not stop.is_set():
            writer.send(run, "numbers", number(step))
            step += 1
            time.sleep(0.05)

    thread = threading.Thread(target=train)
    thread.start()
    other = new_log()
    writer.send(other, "numbers", number(0))
    writer.flush(30)
    assert steps(store, other) == [0]
    stop.set()
    thread.join()
    over(writer, run, other)
    assert writer.flush(30)


def test_an_interrupted_wait_leaves_the_writer_working(store, writer, run):
    """Ctrl-C while the end of a fit waits for the server."""
    import _thread
    import signal

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        pytest.skip("SIGINT is handled otherwise here")
    assert run.spool.try_lock()
    writer.send(run, "numbers", number(0))
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        writer.settle(run, 30)
    timer.join()
    run.spool.unlock()
    assert writer.flush(30)
    assert steps(store, run) == [0]


def test_numbers_and_pictures_of_a_lost_line_arrive_once(writer, far, proxy, server):
    """Cut while a group is sent, it is sent again, whole."""
    names = [f"mine/{uuid.uuid4().hex[:4]}" for _ in range(4)]
    images = [TimedImage(name, 0, 5, bytes(30_000), b"w") for name in names]
    proxy.mode = "cut"
    for step, image in enumerate(images):
        writer.send(far, "numbers", number(step))
        writer.draw(Picture(far, image.key, 0, lambda image=image: Batch(images=[image])))
    over(writer, far)
    assert not writer.flush(30)
    proxy.mode = "pass"
    assert writer.flush(60)
    assert steps(server, far) == [0, 1, 2, 3]
    assert len(server.list_artifacts(far.ref.run_id, "images")) == 8
    assert mlflow.active_run() is None
