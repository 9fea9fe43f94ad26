"""From a capture to the run: numbers, pictures, metrics and the evolution; and what goes wrong alone."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlflow_dlviz.capture.heads import Head
from mlflow_dlviz.capture.moment import Moment, NotShown
from mlflow_dlviz.frames import Frames
from mlflow_dlviz.process import flush, writer
from mlflow_dlviz.store import names
from mlflow_dlviz.store.images import list_images
from mlflow_dlviz.store.load import load
from mlflow_dlviz.visual import AtEnd, Every, Visual


@pytest.fixture
def run(new_log):
    yield new_log()
    assert flush(60)


def moment(epoch):
    return Moment(None, epoch, {}, None, Head("other"), np.random.default_rng(0))


def draw(**arrays):
    return Figure(figsize=(1, 1))


def capture(moment, frozen):
    return {"leaf": {"value": np.asarray(moment.epoch * 2.0)}}


def visual(**changes):
    return Visual(**{"name": "mine", "capture": capture, "draw": draw, "cadence": Every(1), **changes})


def take(run, visuals, epochs=2, finish=True):
    frames = Frames(visuals, run)
    for epoch in range(epochs):
        frames.take(frames.due(epoch, epochs), moment(epoch))
    if finish:
        frames.finish()
    assert flush(60)
    return frames


def keys(store, run):
    return [(image.key, image.step) for image in list_images(store, run.ref.run_id)]


def test_numbers_and_pictures_of_each_epoch_land_in_the_run(store, run):
    take(run, [visual()])
    assert {epoch: float(frame["value"]) for epoch, frame in load(run.ref.run_id, "mine")["leaf"].items()} == {
        0: 0.0,
        1: 2.0,
    }
    assert keys(store, run) == [("mine/leaf", 0), ("mine/leaf", 1)]
    assert all(image.thumbnail_path for image in list_images(store, run.ref.run_id))
    assert store.get_run(run.ref.run_id).data.tags["mlflow.loggedImages"] == "True"
    assert run.ledger.counts["written"] == 2


def test_named_numbers_are_metrics_unless_they_are_not_finite(store, run):
    def half(moment, frozen):
        return {"leaf": {"good": np.asarray(1.5), "bad": np.asarray(np.nan), "other": np.asarray(3)}}

    take(run, [visual(capture=half, metrics=("good", "bad", "absent"))])
    metrics = store.get_run(run.ref.run_id).data.metrics
    assert metrics == {names.metric_key("mine", "leaf", "good"): 1.5}


def test_frozen_once_stored_and_given_to_every_capture(store, run):
    calls, given = [], []

    def freeze(moment):
        calls.append(moment.epoch)
        return {"limit": np.asarray(7)}

    def remember(moment, frozen):
        given.append(int(frozen["limit"]))
        return capture(moment, frozen)

    take(run, [visual(freeze=freeze, capture=remember)], epochs=3)
    assert calls == [0]
    assert given == [7, 7, 7]
    [path] = [file.path for file in store.list_artifacts(run.ref.run_id, "dlviz/mine") if not file.is_dir]
    assert path == names.frozen_path("mine")


def test_the_evolution_has_the_frames_on_axis_0_and_stands_at_the_first(store, run):
    stacked = {}

    def evolve(**arrays):
        stacked.update(arrays)
        return draw()

    take(run, [visual(evolve=evolve)], epochs=4)
    assert stacked["value"].tolist() == [0, 2, 4, 6]
    assert stacked["epoch"].tolist() == [0, 1, 2, 3]
    assert ("mine/leaf-evolution", 0) in keys(store, run)


def test_a_long_story_gets_coarser_and_keeps_its_ends(run):
    frames = Frames([visual(evolve=draw)], run)
    for epoch in range(1001):
        frames._remember(frames._visuals[0], "leaf", epoch, {})
    epochs = [int(frame["epoch"]) for frame in frames._stories["mine", "leaf"]]
    assert len(epochs) <= 200
    assert (epochs[0], epochs[-1]) == (0, 1000)
    assert epochs == sorted({*epochs})


def test_the_writer_begins_when_all_is_captured(run):
    waiting = []

    def late(moment, frozen):
        waiting.append(writer().waiting())
        return capture(moment, frozen)

    take(run, [visual(), visual(name="other", capture=late)], epochs=1)
    assert waiting == [0]
    assert run.ledger.counts["written"] == 2


def test_only_what_is_due_is_taken(run):
    frames = Frames([visual(), visual(name="late", cadence=AtEnd())], run)
    assert [each.name for each in frames.due(0, 3)] == ["mine"]
    assert [each.name for each in frames.due(2, 3)] == ["mine", "late"]
    frames.take(frames.due(1, 3), moment(1))
    assert [each.name for each in frames.behind(1)] == ["late"]
    assert [each.name for each in frames.behind(2)] == ["mine", "late"]


def broken(error):
    def fail(*args):
        raise error

    return fail


@pytest.mark.parametrize(
    ("part", "returned", "words"),
    [
        ("capture", broken(RuntimeError("my mistake")), "my mistake"),
        ("freeze", broken(RuntimeError("my mistake")), "my mistake"),
        ("capture", lambda moment, frozen: [1], "captured list"),
        ("capture", lambda moment, frozen: {"leaf": 3}, "expected {leaf: {name: array}}"),
        ("capture", lambda moment, frozen: {"leaf": {"a": object()}}, "dtype object"),
        ("capture", lambda moment, frozen: {"leaf": {"a": [[1], [2, 3]]}}, ""),
        ("metrics", ("many",), ""),
    ],
    ids=["capture", "freeze", "list", "leaf", "object", "ragged", "metric"],
)
def test_a_visual_that_fails_is_left_out_alone_and_said_once(run, caplog, part, returned, words):
    capturing = {"capture": lambda moment, frozen: {"leaf": {"many": np.zeros(3)}}} if part == "metrics" else {}
    bad = visual(name="bad", **{**capturing, part: returned})
    take(run, [bad, visual()], epochs=3)
    assert list(load(run.ref.run_id, "mine")["leaf"]) == [0, 1, 2]
    [entry] = run.ledger.entries
    assert (entry.kind, entry.what, entry.step) == ("failed", "visual 'bad'", 0)
    assert words in entry.why
    assert caplog.text.count("visual 'bad' failed") == 1


def test_one_that_does_not_apply_gives_its_reason_without_a_warning(run, caplog):
    take(run, [visual(capture=broken(NotShown("there is no table")))], epochs=3)
    assert [(entry.kind, entry.what, entry.why) for entry in run.ledger.entries] == [
        ("left_out", "mine", "there is no table")
    ]
    assert not caplog.records


def test_numbers_stay_when_the_drawing_fails(run):
    take(run, [visual(draw=broken(RuntimeError("no font")))])
    assert list(load(run.ref.run_id, "mine")["leaf"]) == [0, 1]
    assert {entry.what for entry in run.ledger.entries} == {"picture 'mine/leaf'"}


def test_hostile_leaves_stay_in_their_folder(store, run):
    hostile = ["../../escape", "..", "a/b", "<script>", "ü\n", "x" * 500, "", "con+step+3"]
    take(run, [visual(capture=lambda moment, frozen: {leaf: {"a": np.zeros(1)} for leaf in hostile})], epochs=1)
    assert {file.path for file in store.list_artifacts(run.ref.run_id)} == {"dlviz", "images"}
    assert len(load(run.ref.run_id, "mine")) == len(hostile)
    assert {key for key, _ in keys(store, run)} == {names.image_key("mine", leaf) for leaf in hostile}
    assert not run.ledger.entries
