"""``sync``: what waits is sent whenever, by whomever, and once; and what is forgotten can be cleared away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid

import mlflow
import pytest
from mlflow.entities import Metric
from servers import mlflow_process

from mlflow_dlviz import syncing as module
from mlflow_dlviz.ledger import Ledger
from mlflow_dlviz.store.batch import Batch, End
from mlflow_dlviz.store.runs import SPOOL_TAG
from mlflow_dlviz.store.spool import Plan, begin, find_spools
from mlflow_dlviz.syncing import forgotten, prune, sync, waiting

NOWHERE = "http://127.0.0.1:9"


def number(step, key="loss"):
    return Batch([Metric(key, float(step), 1, step)])


@pytest.fixture
def laid_down(store, spool_root):
    """A spool as a training leaves it that went on without its server, as a function."""

    def make(name="it", uri=None, *, closed=True, owned=True, steps=3, **more):
        plan = Plan(uuid.uuid4().hex, uri or mlflow.get_tracking_uri(), None, name=name, owned=owned)
        spool = begin(spool_root, plan)
        spool.change(**{"experiment": "name:test", **more})
        for step in range(steps):
            spool.add(f"metrics of epoch {step}", number(step))
        if closed:
            spool.add("the end of the run", Batch(end=End("FINISHED", 9_000_000_000_000)))
        ledger = Ledger()
        ledger.count("epochs")
        spool.keep_ledger(ledger.to_json(steps - 1))
        spool.change(closed=closed)
        return spool

    return make


def kill(spool):
    """As if its process had been killed: nobody holds its sign of life."""
    spool.change(process="")


def found(runs, spool):
    [run] = [run for run in runs() if run.data.tags.get(SPOOL_TAG) == spool.plan.spool_id]
    return run


def steps(store, run):
    return [point.step for point in store.get_metric_history(run.info.run_id, "loss")]


def entries(run):
    return json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/dlviz/ledger.json"))["entries"]


def test_without_anything_there_is_nothing_to_do(spool_root):
    assert waiting() == []
    assert sync() == []
    assert forgotten(days=0) == []
    assert prune([]) == 0


def test_what_waits_is_listed(laid_down, spool_root):
    first, second = laid_down("one", start=1_000), laid_down("two", NOWHERE, closed=False, start=2_000)
    second.refuse(second.waiting()[0])
    kill(second)
    one, two = waiting()
    assert (one.run, one.state, one.items, one.refused) == ("one", "waiting", 4, 0)
    assert (two.run, two.state, two.items, two.refused) == ("two", "waiting", 2, 1)
    assert (one.folder, two.tracking_uri) == (first.folder, NOWHERE)
    assert one.age == pytest.approx(time.time() - 1, abs=60)
    assert one.size == sum(path.stat().st_size for path in first.folder.iterdir())
    assert [each.folder for each in waiting(spool_root)] == [one.folder, two.folder]


def test_all_of_several_is_sent_and_the_folders_are_gone(store, runs, laid_down, spool_root):
    spools = [laid_down(f"run {index}") for index in range(3)]
    told = []
    results = sync(progress=lambda *now: told.append(now))
    assert [(each.run, each.items, each.trouble) for each in results] == [(f"run {i}", 4, "") for i in range(3)]
    assert told[-1] == (12, 12)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    for spool, result in zip(spools, results, strict=True):
        run = found(runs, spool)
        assert result.run_id == run.info.run_id
        assert (run.info.status, run.info.end_time) == ("FINISHED", 9_000_000_000_000)
        assert run.data.tags["dlviz.status"] == "ok"
        assert steps(store, run) == [0, 1, 2]
    assert find_spools(spool_root) == []
    assert sync() == []


def test_a_killed_process_run_is_ended_and_says_so(store, runs, laid_down):
    spool = laid_down(closed=False)
    kill(spool)
    [result] = sync()
    assert result.trouble == ""
    run = found(runs, spool)
    assert run.info.status == "FAILED"
    assert run.data.tags["dlviz.status"] == "partial"
    assert steps(store, run) == [0, 1, 2]
    [entry] = entries(run)
    assert (entry["kind"], entry["what"]) == ("failed", "the end of the fit")
    assert "without closing the run" in entry["why"]
    assert "report.html" in {file.path for file in store.list_artifacts(run.info.run_id)}


def test_a_run_of_the_users_own_is_not_ended(store, laid_down):
    made = store.create_run(store.get_experiment_by_name("test").experiment_id)
    spool = laid_down(closed=False, owned=False, run_id=made.info.run_id)
    kill(spool)
    sync()
    assert store.get_run(made.info.run_id).info.status == "RUNNING"
    assert store.get_run(made.info.run_id).data.tags["dlviz.status"] == "partial"


def test_what_still_trains_is_sent_and_goes_on(store, runs, laid_down, spool_root):
    spool = laid_down(closed=False)
    assert waiting()[0].state == "training"
    assert sync()[0].items == 3
    run = found(runs, spool)
    assert run.info.status == "RUNNING"
    assert "dlviz.status" not in run.data.tags
    assert spool.folder.exists()
    spool.add("more", number(3))
    assert sync()[0].items == 1
    assert steps(store, run) == [0, 1, 2, 3]


def test_killed_before_anything_was_logged_there_is_a_run_that_says_so(runs, laid_down):
    spool = laid_down(closed=False, steps=0)
    (spool.folder / "ledger.json").unlink()
    kill(spool)
    assert sync()[0].trouble == ""
    assert found(runs, spool).info.status == "FAILED"


def test_a_ledger_that_a_power_failure_cut_short_stops_nothing(runs, laid_down):
    spool, other = laid_down(), laid_down()
    (spool.folder / "ledger.json").write_bytes(b"")
    assert [each.trouble for each in sync()] == ["", ""]
    assert found(runs, spool).data.tags["dlviz.status"] == "ok"
    assert found(runs, other).info.status == "FINISHED"


def test_one_that_can_not_be_sent_does_not_keep_the_others(store, runs, laid_down, spool_root):
    gone, bad, good = laid_down("far", NOWHERE, start=1), laid_down("deleted", start=2), laid_down("good", start=3)
    made = store.create_run(store.get_experiment_by_name("test").experiment_id)
    store.delete_run(made.info.run_id)
    bad.change(run_id=made.info.run_id)
    far, deleted, fine = sync()
    assert "127.0.0.1:9" in far.trouble
    assert far.unreachable
    assert far.run_id is None
    assert "mlflow runs restore" in deleted.trouble
    assert not deleted.unreachable
    assert fine.trouble == ""
    assert {spool.folder for spool in find_spools(spool_root)} == {gone.folder, bad.folder}
    assert [each.state for each in waiting()] == ["waiting", "gone"]
    store.restore_run(made.info.run_id)
    assert sync()[1].trouble == ""
    assert steps(store, made) == [0, 1, 2]
    assert found(runs, good).info.status == "FINISHED"


@pytest.fixture
def served(tmp_path):
    """The address of a server, and its store, which is a file that others can open, too."""
    folder = tmp_path / "served"
    folder.mkdir()
    store = f"sqlite:///{folder / 'mlflow.db'}"
    server, address = mlflow_process(folder, store, str(folder / "artifacts"))
    server.start()
    yield address, store
    server.kill()


def test_a_run_whose_artifacts_only_its_server_takes(store, runs, laid_down, served):
    address, past_it = served
    at = mlflow.MlflowClient(address)
    run_id = at.create_run(at.create_experiment("served")).info.run_id
    spool = laid_down("trapped", past_it, run_id=run_id)
    spool.add("a file", Batch(files={"f.txt": b"1"}))
    laid_down("other")
    trapped, other = sync()
    assert "set MLFLOW_TRACKING_URI to the server's address" in trapped.trouble
    assert (other.items, other.trouble) == (4, "")
    # The server knows the run, so it can go there.
    [trapped] = sync(tracking_uri=address)
    assert trapped.trouble == ""
    assert "f.txt" in {file.path for file in at.list_artifacts(run_id)}
    assert len(at.get_metric_history(run_id, "loss")) == 3


def test_an_error_without_words_is_no_success(laid_down, monkeypatch):
    laid_down()

    def fail(*args, **more):
        raise RuntimeError

    monkeypatch.setattr(module, "deliver", fail)
    [result] = sync()
    assert result.trouble == "RuntimeError"


def test_what_the_server_refuses_is_kept_said_and_in_the_ledger(store, runs, laid_down):
    spool = laid_down()
    spool.add("the bad one", Batch([Metric("bad?\n", 1.0, 1, 0)]))
    [result] = sync()
    assert result.items == 4
    assert result.trouble.startswith("the bad one: ")
    run = found(runs, spool)
    assert run.data.tags["dlviz.status"] == "partial"
    assert [(entry["kind"], entry["what"]) for entry in entries(run)] == [("failed", "the bad one")]
    assert [(each.state, each.items, each.refused) for each in waiting()] == [("refused", 0, 1)]
    # Tried again, it is refused again, and said once in the ledger.
    assert sync()[0].trouble.startswith("the bad one: ")
    assert len(entries(run)) == 1


def test_a_page_that_can_not_be_made_stops_nothing(runs, laid_down, monkeypatch):
    def fail(*args):
        raise RuntimeError("no font")

    monkeypatch.setattr(module.reporting, "run_page", fail)
    spool, other = laid_down(closed=False), laid_down()
    kill(spool)
    sync()
    run = found(runs, spool)
    assert run.info.status == "FAILED"
    assert ("the run's page", "RuntimeError: no font") in {(e["what"], e["why"]) for e in entries(run)}
    assert found(runs, other).info.status == "FINISHED"


def test_runs_that_no_server_knows_can_go_to_another(store, runs, laid_down, tmp_path):
    unknown = laid_down("unknown", NOWHERE, start=1)
    made = store.create_run(store.get_experiment_by_name("test").experiment_id)
    known = laid_down("known", start=2, run_id=made.info.run_id)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    results = sync(tracking_uri=other)
    assert [each.trouble for each in results] == ["", ""]
    assert [each.tracking_uri for each in results] == [other, known.plan.tracking_uri]
    there = mlflow.MlflowClient(tracking_uri=other)
    experiment = there.get_experiment_by_name("test").experiment_id
    [run] = there.search_runs([experiment])
    assert run.data.tags[SPOOL_TAG] == unknown.plan.spool_id
    assert steps(store, made) == [0, 1, 2]


def test_what_another_process_is_sending_is_left_to_it(laid_down, spool_root):
    laid_down()
    [other] = find_spools(spool_root)
    assert other.try_lock()
    [result] = sync()
    assert result.trouble == "another process is sending it"
    other.unlock()
    assert sync()[0].trouble == ""


def test_what_another_process_has_just_sent_is_no_trouble(laid_down, spool_root, monkeypatch):
    spool = laid_down()
    found_before = find_spools(spool_root)
    monkeypatch.setattr(module, "find_spools", lambda root: found_before)
    spool.remove()
    [result] = sync()
    assert (result.items, result.trouble) == (0, "")


def test_another_folder_may_be_named(runs, laid_down, spool_root, monkeypatch, tmp_path):
    spool = laid_down()
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL", str(tmp_path / "elsewhere"))
    assert sync() == []
    assert len(sync(str(spool_root))) == 1
    assert found(runs, spool).info.status == "FINISHED"


def test_what_is_old_refused_or_gone_is_forgotten_and_what_trains_is_not(laid_down, spool_root):
    now = int(time.time() * 1000)
    old, new = laid_down("old", NOWHERE, start=now - 40 * 86_400_000), laid_down("new", NOWHERE)
    laid_down("gone", NOWHERE, gone="it is deleted")
    refused = laid_down("refused", NOWHERE)
    for item in refused.waiting():
        refused.refuse(item)
    laid_down("training", NOWHERE, closed=False, start=now - 90 * 86_400_000)
    assert {each.run for each in forgotten()} == {"old", "gone", "refused"}
    assert {each.run for each in forgotten(days=0)} == {"old", "new", "gone", "refused"}
    chosen = forgotten()
    assert prune(chosen) == sum(each.size for each in chosen)
    assert {each.run for each in waiting()} == {"new", "training"}
    assert not old.folder.exists()
    assert new.folder.exists()


def test_what_is_just_being_sent_is_not_pruned(laid_down, spool_root):
    laid_down()
    chosen = forgotten(days=0)
    [other] = find_spools(spool_root)
    assert other.try_lock()
    assert prune(chosen) == 0
    other.unlock()
    assert prune(chosen) > 0
    assert waiting() == []


TRAINING = """
import sys, time
from pathlib import Path
from mlflow.entities import Metric
from mlflow_dlviz.store.batch import Batch
from mlflow_dlviz.store.spool import Plan, begin

plan = Plan("k" * 32, sys.argv[2], None, experiment="name:test", name="killed", owned=True)
spool = begin(Path(sys.argv[1]), plan)
for step in range(3):
    spool.add("metrics", Batch([Metric("loss", 1.0, 1, step)]))
print("go", flush=True)
time.sleep(60)
"""


def test_a_process_that_lives_is_told_from_one_that_was_killed(store, runs, spool_root):
    command = [sys.executable, "-c", TRAINING, str(spool_root), mlflow.get_tracking_uri()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"go\n"
        assert waiting()[0].state == "training"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=20)
        assert waiting()[0].state == "waiting"
        sync()
        [run] = runs()
        assert run.info.status == "FAILED"
        assert steps(store, run) == [0, 1, 2]
    finally:
        process.kill()
        process.communicate()
