"""The writer: training never waits, numbers are never lost, and pictures may be."""

from __future__ import annotations

import json
import threading
import time

import mlflow
import pytest
from mlflow.entities import Metric
from waiting import wait_until

from mlflow_dlviz import drawing
from mlflow_dlviz.drawing import Picture, Task
from mlflow_dlviz.store.batch import Batch
from mlflow_dlviz.store.spool import find_spools
from mlflow_dlviz.writer import Writer


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
        return Batch(files={"gate.txt": b""})


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.open.set()


def picture(run, name, draw=None):
    return Picture(run, f"picture {name!r}", 0, draw or (lambda: Batch(files={f"{name}.txt": name.encode()})))


def files(store, run):
    return {file.path for file in store.list_artifacts(run.ref.run_id)}


def over(run, writer):
    """No more is logged to the run."""
    run.training = False
    writer.training_ended()


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


def test_pictures_beyond_the_bound_are_dropped_and_numbers_are_not(store, run, writer, gate, monkeypatch, caplog):
    monkeypatch.setattr(drawing, "PICTURES", 3)
    writer.draw(picture(run, "gate", gate))
    assert gate.entered.wait(10)
    for index in range(5):
        writer.draw(picture(run, f"p{index}"))
        writer.send(run, "numbers", number(index))
    writer.then(Task(run, "the page", Batch(files={"page.txt": b""})))
    gate.open.set()
    assert writer.flush(30)
    assert files(store, run) == {"gate.txt", "p0.txt", "p1.txt", "p2.txt", "page.txt"}
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
    # Nothing is sent until all are queued, so that they go together.
    assert run.spool.try_lock()
    for index in range(3):
        writer.send(run, f"good {index}", number(index))
        if index == 1:
            writer.send(run, "the bad one", bad)
    run.spool.unlock()
    assert writer.flush(30)
    assert {metric.step for metric in store.get_metric_history(run.ref.run_id, "loss")} == {0, 1, 2}
    [entry] = run.ledger.entries
    assert entry.kind == "failed"
    assert entry.what == "the bad one"
    assert len(caplog.records) == 1
    if isinstance(bad, Batch):
        assert "bad?" in entry.why
        assert len(run.spool.refused()) == 1
    else:
        assert "my mistake" in entry.traceback


def test_what_was_queued_later_wins(store, run, writer):
    for value in range(30):
        writer.send(run, "tag", Batch(tags={"t": str(value)}, files={"f.txt": str(value).encode()}))
        writer.send(run, "metric", number(0, float(value), "same"))
    assert writer.flush(30)
    assert store.get_run(run.ref.run_id).data.tags["t"] == "29"
    assert mlflow.artifacts.load_text(f"runs:/{run.ref.run_id}/f.txt") == "29"
    history = store.get_metric_history(run.ref.run_id, "same")
    assert {metric.value for metric in history} == set(range(30))


def test_runs_do_not_mix(store, run, new_log, writer):
    other = new_log()
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


def test_a_task_comes_after_all_that_was_queued_before_it(store, run, writer, monkeypatch):
    seen = []

    def page(tracking_uri, run_id):
        seen.append({*files(store, run)})
        return {"report.html": b"page"}

    monkeypatch.setattr(writer._sender, "_page", page)
    for name in "abc":
        writer.draw(picture(run, name))
    writer.then(Task(run, "the page", Batch(page=True)))
    assert writer.flush(30)
    assert seen == [{"a.txt", "b.txt", "c.txt"}]
    assert "report.html" in files(store, run)


def busy(seconds, times):
    def draw():
        times.append(time.monotonic())
        began = time.thread_time()
        while time.thread_time() - began < seconds:
            pass
        times.append(time.monotonic())
        return Batch()

    return draw


def await_length(times, length):
    wait_until(lambda: len(times) >= length)


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


def test_drawing_begins_when_the_end_of_the_epoch_is_over(run, writer, monkeypatch):
    monkeypatch.setattr(drawing, "_EPOCH_END_SECONDS", 60.0)
    times = []
    writer.training_began()
    writer.draw(picture(run, "first", busy(0.0, times)))
    time.sleep(0.3)
    assert not times
    writer.training_ended()
    await_length(times, 2)


def test_what_is_dropped_before_drawing_begins_is_no_trouble(run, writer):
    writer.training_began()
    writer.draw(picture(run, "first"))
    writer.give_up()
    writer.training_ended()
    writer.draw(picture(run, "second"))
    assert writer.flush(30)
    assert run.ledger.counts["written"] == 1


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
    assert writer._drawer.training == 1
    writer.training_ended()


def test_a_batch_is_in_the_spool_when_send_returns(run, writer):
    assert run.spool.try_lock()
    writer.send(run, "numbers", number(0))
    [item] = run.spool.waiting()
    assert item.path.exists()
    run.spool.unlock()


def test_what_finds_no_room_anywhere_is_said_once_and_the_rest_goes_on(store, run, writer, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL_MB", "0")
    monkeypatch.setattr("mlflow_dlviz.store.spool.MEMORY_BYTES", 2000)
    assert run.spool.try_lock()
    for _ in range(2):
        writer.send(run, "a large file", Batch(files={"large.bin": bytes(5000)}))
    writer.send(run, "numbers", number(0))
    run.spool.unlock()
    assert writer.flush(30)
    assert len(store.get_metric_history(run.ref.run_id, "loss")) == 1
    lost = [entry for entry in run.ledger.entries if entry.what == "a large file"]
    assert len(lost) == 2
    assert "limit of 0 MB" in lost[0].why
    assert caplog.text.count("a large file failed") == 1


def test_flush_on_a_thread_that_it_waits_for_raises(run, writer):
    said = []

    def draw():
        try:
            writer.flush()
        except RuntimeError as error:
            said.append(str(error))
        return Batch()

    writer.draw(picture(run, "it", draw))
    assert writer.flush(30)
    assert said == ["flush() was called while drawing, which is what it waits for"]


def test_a_run_that_is_over_leaves_nothing_behind_and_may_go_on(store, run, writer):
    writer.training_began()
    writer.send(run, "numbers", number(0))
    over(run, writer)
    assert writer.flush(30)
    assert not run.spool.folder.exists()
    assert store.get_run(run.ref.run_id).data.tags["dlviz.status"] == "ok"
    # A second fit in the same run.
    writer.begin(run)
    assert not run.spool.plan.closed
    writer.send(run, "numbers", number(1))
    assert writer.flush(30)
    assert run.spool.folder.exists()
    over(run, writer)
    assert writer.flush(30)
    assert not run.spool.folder.exists()
    assert [metric.step for metric in store.get_metric_history(run.ref.run_id, "loss")] == [0, 1]


def test_a_run_that_goes_on_is_not_closed_on_disk_either(run, writer):
    assert run.spool.try_lock()
    writer.send(run, "numbers", number(0))
    over(run, writer)
    wait_until(lambda: run.spool.plan.closed)
    writer.begin(run)
    [found] = find_spools(run.spool.folder.parent)
    assert not found.plan.closed
    run.spool.unlock()


def test_settling_does_not_wait_for_pictures(run, writer, gate):
    writer.draw(picture(run, "gate", gate))
    assert gate.entered.wait(10)
    writer.send(run, "numbers", number(0))
    assert writer.settle(run, 30)
    assert run.spool.waiting() == []


def test_settling_waits_no_longer_than_told(run, writer):
    assert run.spool.try_lock()
    writer.send(run, "numbers", number(0))
    began = time.monotonic()
    assert not writer.settle(run, 0.1)
    assert time.monotonic() - began < 5
    run.spool.unlock()


def test_giving_up_lays_everything_down_for_sync(run, writer, gate):
    assert run.spool.try_lock()
    writer.send(run, "numbers", number(0))
    writer.draw(picture(run, "gate", gate))
    assert gate.entered.wait(10)
    writer.draw(picture(run, "never drawn"))
    assert writer.give_up() == [run]
    [found] = find_spools(run.spool.folder.parent)
    assert found.plan.closed
    entries = json.loads(found.ledger())["entries"]
    assert [entry["why"] for entry in entries] == ["the process ended before they were drawn"]
    assert json.loads(found.ledger())["counts"]["dropped"] == 1
    gate.open.set()
    run.spool.unlock()


def test_a_writer_that_is_stopped_ends_its_threads(run):
    made = Writer()
    made.send(run, "numbers", number(0))
    assert made.flush(30)
    made.stop()
    assert not any(thread.is_alive() for thread in made._threads)


def test_the_end_of_a_fit_does_not_wait_for_pictures_that_go_on_being_drawn(run, writer):
    """They come in faster than each of them is sent, so something of the run always waits."""
    drawing = threading.Event()

    def draw():
        drawing.set()
        time.sleep(0.05)
        return Batch(files={f"{time.monotonic()}.txt": b"x" * 10})

    for index in range(100):
        writer.draw(Picture(run, f"picture 'p/{index}'", 0, draw))
    assert drawing.wait(10)
    writer.send(run, "numbers", Batch(tags={"a": "b"}))
    began = time.monotonic()
    assert writer.settle(run, 30)
    assert time.monotonic() - began < 3
    assert writer.waiting() > 50
