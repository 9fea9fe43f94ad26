"""Whatever a visual of the user's does: ``fit`` ends, the others are drawn, and what it says stays text."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import mlflow
import numpy as np
from asking import SCRIPT, kept, status, text_of
from matplotlib.figure import Figure

from mlflow_dlviz import diagnosis, drawing, frames
from mlflow_dlviz.capture.moment import NotShown
from mlflow_dlviz.store.images import list_images
from mlflow_dlviz.visual import Every, Visual


def number(moment, frozen):
    return {"leaf": {"value": np.asarray(float(moment.epoch))}}


def blank(**arrays):
    return Figure(figsize=(1, 1))


def visual(name, **changes):
    return Visual(**{"name": name, "capture": number, "draw": blank, "cadence": Every(1), **changes})


def raising(error):
    def fail(*args, **kwargs):
        raise error

    return fail


class Odd(Exception):
    """One whose text can't be had."""

    def __str__(self):
        raise RuntimeError("no text")


class Undecided:
    def due(self, epoch, epochs):
        return np.array([True, False])


class Broken:
    def due(self, epoch, epochs):
        raise RuntimeError("no calendar")


def rectangles(**arrays):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(1, 1))
    axes.plot([1, 2])
    return figure


def spoils(moment, frozen):
    moment.probe.x[:] = 0
    return {}


def spoils_scores(moment, frozen):
    moment.values["scores"]["validation"]["confusion"][:] = 0
    return {}


def forgets_logs(moment, frozen):
    moment.logs.clear()
    return number(moment, frozen)


def works_in_place(value):
    value += 1
    return blank()


def sees(moment, frozen):
    return {"leaf": {"x": moment.probe.x, "confusion": moment.values["scores"]["validation"]["confusion"]}}


def giving(leaves):
    return lambda moment, frozen: leaves


# By name: what is wrong with it, and the words of the ledger.
BAD = {
    "capturing": ({"capture": raising(RuntimeError("broken"))}, "RuntimeError: broken"),
    "odd": ({"capture": raising(Odd())}, "Odd, whose text can't be had"),
    "odd_draw": ({"draw": raising(Odd())}, "Odd, whose text can't be had"),
    "freezing": ({"freeze": raising(RuntimeError("ice"))}, "RuntimeError: ice"),
    "drawing": ({"draw": raising(RuntimeError("no ink"))}, "RuntimeError: no ink"),
    "evolving": ({"evolve": raising(RuntimeError("stasis"))}, "RuntimeError: stasis"),
    "calendar": ({"cadence": Broken()}, "no calendar"),
    "undecided": ({"cadence": Undecided()}, "truth value"),
    "exits": ({"draw": raising(SystemExit(3))}, "SystemExit: 3"),
    "interrupts": ({"draw": raising(KeyboardInterrupt())}, "KeyboardInterrupt"),
    "nothing": ({"capture": giving(None)}, "captured NoneType"),
    "list": ({"capture": giving([1])}, "captured list"),
    "leaf": ({"capture": giving({"leaf": 3})}, "expected {leaf: {name: array}}"),
    "objects": ({"capture": giving({"leaf": {"a": np.array([{}])}})}, "dtype object"),
    "frozen_objects": ({"freeze": lambda moment: {"a": np.array([{}])}}, "dtype object"),
    "frozen_nothing": ({"freeze": lambda moment: None}, "froze NoneType"),
    "unnamed": ({"capture": giving({"leaf": {3: 1.0}})}, "3 is no name of an array"),
    "reserved": ({"capture": giving({"leaf": {"file": 1.0}})}, "can't be named 'file'"),
    "twice": ({"capture": giving({1: {"a": 1.0}, "1": {"a": 2.0}})}, "leaves '1' and '1'"),
    "overlap": (
        {"capture": giving({"a": {"b": 1.0}, "a-evolution": {"b": 2.0}}), "draw": blank, "evolve": blank},
        "'a-evolution'",
    ),
    "huge": ({"capture": giving({"leaf": {"a": np.zeros(2**12)}})}, "reduce what it hands on"),
    "poster": ({"draw": lambda **arrays: Figure(figsize=(500, 500))}, "too large to be a picture"),
    "undrawn": ({"draw": lambda **arrays: None}, "draw returned NoneType"),
    "picture": ({"draw": lambda **arrays: b"png"}, "draw returned bytes"),
    "argument": ({"draw": lambda other: blank()}, "unexpected keyword argument"),
    "spoils": ({"capture": spoils}, "read-only"),
    "spoils_scores": ({"capture": spoils_scores, "needs": ("scores",)}, "read-only"),
    "not_shown": ({"capture": raising(NotShown("there is no map"))}, "there is no map"),
}
GOOD = {
    "empty": {"capture": giving({})},
    "scalar": {"capture": giving({"leaf": {"a": 3, "b": "text", "c": True}})},
    "pyplot": {"draw": rectangles},
    "in_place": {"draw": works_in_place},
    "forgets": {"capture": forgets_logs},
    "files": {"capture": giving({"frozen.npz": {"a": 1.0}}), "freeze": lambda moment: {"limit": 1.0}},
    "sees": {"capture": sees, "needs": ("scores",)},
}


def test_whatever_a_visual_does_the_others_are_drawn(
    dlviz, store, runs, ledger, table, binary, monkeypatch, caplog
):
    monkeypatch.setattr(frames, "_MOST_BYTES", 2**14)
    x, y, validation = table
    plain = binary()
    expected = plain.fit(x, y, epochs=3, verbose=0, validation_data=validation).history
    visuals = [visual(name, **changes) for name, (changes, _) in BAD.items()]
    dlviz.autolog(log_models=False, visuals=[*visuals, *(visual(name, **how) for name, how in GOOD.items())])
    model = binary()
    history = model.fit(x, y, epochs=3, verbose=0, validation_data=validation).history
    for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(one, other)
    assert history["loss"] == expected["loss"]
    assert dlviz.flush(60)
    [run] = runs()
    assert status(run) == "partial"
    told = ledger(run)
    for name, (_, words) in BAD.items():
        about = [
            entry["why"]
            for entry in told
            if name == entry["what"] or f"'{name}'" in entry["what"] or f"'{name}/" in entry["what"]
        ]
        assert words in "".join(about[:1]), (name, about)
    for name in GOOD:
        assert not [entry for entry in told if f"'{name}" in entry["what"]], name
    drawn = {image.key.split("/")[0] for image in list_images(store, run.info.run_id)}
    assert {*GOOD} - {"empty"} <= drawn
    assert "evolving" in drawn
    seen = dlviz.load(run.info.run_id, "sees")["leaf"]
    assert np.array_equal(seen[2]["x"], seen[0]["x"])
    assert seen[2]["x"].any()
    assert seen[2]["confusion"].sum() == len(validation[1])
    assert {float(a["value"]) for a in dlviz.load(run.info.run_id, "in_place")["leaf"].values()} == {0, 1, 2}
    assert run.data.metrics["best_epoch"] == int(np.argmin(history["val_loss"]))
    # Each is said once.
    said = [record.getMessage() for record in caplog.records if record.name == "mlflow_dlviz"]
    assert sum("'drawing/leaf'" in sentence for sentence in said) == 1
    from matplotlib import pyplot

    assert not pyplot.get_fignums()


def test_drawing_that_hangs_is_left_behind(dlviz, store, runs, ledger, table, binary, monkeypatch):
    import gc
    import threading

    release = threading.Event()
    monkeypatch.setattr(drawing, "DRAW_SECONDS", 1.0)
    tries = []

    def hang(**arrays):
        tries.append(1)
        release.wait(60)
        return blank()

    dlviz.autolog(log_models=False, visuals=[visual("hangs", draw=hang), visual("fine")])
    x, y, validation = table
    binary().fit(x, y, epochs=3, verbose=0, validation_data=validation)
    began = time.monotonic()
    try:
        assert dlviz.flush(60)
        assert time.monotonic() - began < 40
        assert gc.isenabled()
    finally:
        release.set()
    [run] = runs()
    assert len(tries) == 1
    assert {image.step for image in list_images(store, run.info.run_id) if image.key == "fine/leaf"} == {0, 1, 2}
    assert not [image for image in list_images(store, run.info.run_id) if image.key == "hangs/leaf"]
    assert len(dlviz.load(run.info.run_id, "hangs")["leaf"]) == 3
    told = {entry["what"]: entry["why"] for entry in ledger(run)}
    assert told["picture 'hangs/leaf'"].startswith("TimeoutError")
    assert "not tried again" in told["some pictures"]


def test_a_process_with_a_drawing_that_hangs_ends(store, tmp_path):
    run = store.create_run(store.get_experiment_by_name("test").experiment_id)
    script = f"""
        import time, uuid
        from pathlib import Path
        from mlflow_dlviz import drawing
        from mlflow_dlviz.drawing import Picture
        from mlflow_dlviz.process import writer
        from mlflow_dlviz.sending import RunLog
        from mlflow_dlviz.store.spool import Plan, begin

        drawing.DRAW_SECONDS = 0.5
        plan = Plan(uuid.uuid4().hex, {mlflow.get_tracking_uri()!r}, {run.info.run_id!r})
        run = RunLog(begin(Path({str(tmp_path / "spool")!r}), plan))
        writer().draw(Picture(run, "picture 'a/b'", 0, lambda: time.sleep(600)))
        run.training = False
        print("through")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "through\n"), done.stderr
    assert "not done within 0.5 s" in text_of(run, "dlviz/ledger.json")


def test_a_slow_capture_is_switched_off_once(dlviz, runs, ledger, table, binary, monkeypatch, caplog):
    monkeypatch.setattr(frames, "CAPTURE_SECONDS", 0.05)
    calls = []

    def dawdle(moment, frozen):
        calls.append(moment.epoch)
        time.sleep(0.4)
        return number(moment, frozen)

    dlviz.autolog(log_models=False, visuals=[visual("slow", capture=dawdle), visual("quick")])
    x, y, validation = table
    binary().fit(x, y, epochs=3, verbose=0, validation_data=validation)
    assert dlviz.flush(60)
    [run] = runs()
    # The first time it may compile, and takes six times as long as later.
    assert calls in ([0], [0, 1])
    assert list(dlviz.load(run.info.run_id, "slow")["leaf"]) == calls
    assert list(dlviz.load(run.info.run_id, "quick")["leaf"]) == [0, 1, 2]
    assert "of the training's time" in kept(ledger, run)["visual 'slow' from then on"]
    assert caplog.text.count("'slow'") == 1


def test_what_a_ledger_holds_stays_text(dlviz, store, runs, table, binary):
    words = f"{SCRIPT}\u202e\ud800"
    dlviz.autolog(log_models=False, visuals=[visual("mine", capture=raising(RuntimeError(words)))])
    x, y, validation = table
    binary().fit(x, y, epochs=1, verbose=0, validation_data=validation)
    assert dlviz.flush(60)
    [run] = runs()
    assert SCRIPT not in text_of(run, "report.html")
    lines = list(diagnosis.of_run(run.info.run_id))
    assert any(SCRIPT in line for line in lines)
