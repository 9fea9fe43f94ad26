"""From the spool to the server: what can wait, what is gone for good, and what the server will not have."""

from __future__ import annotations

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow
import pytest
from mlflow.entities import Metric

from mlflow_dlviz.ledger import Ledger
from mlflow_dlviz.store import deliver as module
from mlflow_dlviz.store.batch import Batch, End
from mlflow_dlviz.store.deliver import Gone, Unavailable, close_run, deliver, send_page
from mlflow_dlviz.store.runs import SPOOL_TAG, RunRef, make_run
from mlflow_dlviz.store.spool import Plan, begin


def no_page(tracking_uri, run_id):
    return {}


def number(step, key="loss"):
    return Batch([Metric(key, float(step), 1, step)])


def send(spool, **options):
    assert spool.try_lock()
    try:
        return deliver(spool, **{"page": no_page, **options})
    finally:
        spool.unlock()


def steps(client, run_id, key="loss"):
    return [point.step for point in client.get_metric_history(run_id, key)]


@pytest.fixture
def spool(run):
    return run.spool


@pytest.fixture
def remote(proxy, spool_root):
    """A spool whose run the server behind the proxy is to make."""
    return begin(spool_root, Plan(uuid.uuid4().hex, proxy.address, None, name="far", owned=True))


def test_all_that_waits_arrives_in_order_and_is_gone_from_the_spool(store, spool):
    for step in range(5):
        spool.add("it", Batch([Metric("loss", float(step), 1, step)], tags={"t": str(step)}))
    told = []
    outcome = send(spool, sent=told.append)
    assert (outcome.items, outcome.refused, told) == (5, [], [5])
    assert spool.waiting() == []
    assert steps(store, spool.plan.run_id) == [0, 1, 2, 3, 4]
    assert store.get_run(spool.plan.run_id).data.tags["t"] == "4"


def test_it_is_sent_in_groups(spool, monkeypatch):
    monkeypatch.setattr(module, "_ITEMS_A_GROUP", 3)
    for step in range(7):
        spool.add("it", number(step))
    told = []
    assert send(spool, sent=told.append).items == 7
    assert told == [3, 3, 1]


def test_what_is_large_goes_alone(spool, monkeypatch):
    monkeypatch.setattr(module, "_BYTES_A_GROUP", 10_000)
    for size in (20_000, 10, 10, 20_000):
        spool.add("it", Batch(files={f"{size}.bin": bytes(size)}))
    told = []
    send(spool, sent=told.append)
    assert told == [1, 2, 1]


def test_after_its_time_it_begins_no_new_group(spool, monkeypatch):
    monkeypatch.setattr(module, "_ITEMS_A_GROUP", 1)
    for step in range(3):
        spool.add("it", number(step))
    assert send(spool, seconds=-1).items == 1
    assert len(spool.waiting()) == 2
    assert send(spool, seconds=60).items == 2


def test_a_run_is_made_where_there_is_none(remote, server):
    remote.change(tags={"a": "b"}, experiment="name:made for this", start=1_700_000_000_000)
    remote.add("it", number(0))
    send(remote)
    run = server.get_run(remote.plan.run_id)
    assert (run.info.run_name, run.info.start_time) == ("far", 1_700_000_000_000)
    assert run.data.tags["a"] == "b"
    assert run.data.tags[SPOOL_TAG] == remote.plan.spool_id
    assert server.get_experiment(run.info.experiment_id).name == "made for this"
    assert steps(server, run.info.run_id) == [0]


def test_a_child_run_knows_its_parent(remote, server):
    remote.change(parent="f" * 32)
    send(remote)
    assert server.get_run(remote.plan.run_id).data.tags["mlflow.parentRunId"] == "f" * 32


def test_a_run_that_was_made_but_whose_id_never_came_back_is_found(remote, server, proxy):
    made = make_run(remote.plan, "0")
    assert remote.plan.run_id is None
    remote.add("it", number(0))
    send(remote)
    assert remote.plan.run_id == made.info.run_id
    wanted = f"tags.`{SPOOL_TAG}` = '{remote.plan.spool_id}'"
    assert len(server.search_runs(["0"], wanted)) == 1


@pytest.mark.parametrize("mode", ["gone", "hang", "500", "502", "503", "429", "401", "403", "408", "cut"])
@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_can_not_now_is_asked_again_later(remote, server, proxy, monkeypatch, mode, known):
    monkeypatch.setattr(module, "_ASK_SECONDS", 0.3)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    if known:
        send(remote)
    remote.add("numbers", number(0))
    remote.add("a file", Batch(files={"large.bin": bytes(200_000)}))
    proxy.mode = mode
    with pytest.raises(Unavailable):
        send(remote)
    assert len(remote.waiting()) == 2
    assert remote.refused() == []
    proxy.mode = "pass"
    assert send(remote).refused == []
    assert steps(server, remote.plan.run_id) == [0]
    assert [file.path for file in server.list_artifacts(remote.plan.run_id)] == ["large.bin"]


@pytest.mark.parametrize("mode", ["413", "400"])
def test_where_the_server_refuses_everything_nothing_is_kept_aside(remote, proxy, mode):
    """Whether the run is there is answered the same way: that says nothing about what was sent."""
    send(remote)
    for step in range(2):
        remote.add("numbers", number(step))
    proxy.mode = mode
    with pytest.raises(Unavailable):
        send(remote)
    assert len(remote.waiting()) == 2
    assert remote.refused() == []


def test_one_bad_item_does_not_take_the_others_with_it(store, spool):
    for step in range(4):
        spool.add(f"good {step}", number(step))
        if step == 1:
            spool.add("the bad one", Batch([Metric("bad?\n", 1.0, 1, 0)]))
    outcome = send(spool)
    assert outcome.items == 5
    [(what, why)] = outcome.refused
    assert what == "the bad one"
    assert "bad?" in why
    assert steps(store, spool.plan.run_id) == [0, 1, 2, 3]
    assert len(spool.refused()) == 1
    spool.retry_refused()
    assert len(send(spool).refused) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"nothing of the kind"])
def test_a_damaged_item_does_not_stop_the_others(store, spool, content):
    for step in range(3):
        spool.add("it", number(step))
    damaged = spool.waiting()[1]
    damaged.path.write_bytes(content)
    outcome = send(spool)
    [(what, why)] = outcome.refused
    assert what == damaged.path.name
    assert "is damaged" in why
    assert steps(store, spool.plan.run_id) == [0, 2]
    assert spool.waiting() == []
    assert spool.refused()[0].read_bytes() == content


def test_a_parameter_that_has_another_value_is_said_and_not_kept(store, spool):
    store.log_param(spool.plan.run_id, "p", "old")
    spool.add("parameters", Batch(params={"p": "new", "q": "1"}))
    [(what, why)] = send(spool).refused
    assert what == "parameter 'p'"
    assert "'new'" in why
    assert spool.waiting() == []
    assert spool.refused() == []
    assert store.get_run(spool.plan.run_id).data.params == {"p": "old", "q": "1"}


BATCHES = {
    "metrics": number(0),
    "params": Batch(params={"p": "1"}),
    "tags": Batch(tags={"t": "1"}),
    "end": Batch(end=End("FINISHED", 1)),
}


@pytest.mark.parametrize("what", ["metrics", "params", "tags"])
def test_a_deleted_run_is_gone_and_nothing_is_thrown_away(store, spool, what):
    spool.add("it", BATCHES[what])
    store.delete_run(spool.plan.run_id)
    with pytest.raises(Gone, match="is deleted; `mlflow runs restore`"):
        send(spool)
    assert len(spool.waiting()) == 1
    store.restore_run(spool.plan.run_id)
    assert send(spool).items == 1


@pytest.mark.parametrize("what", BATCHES)
def test_a_run_that_never_was_is_gone(new_log, what):
    spool = new_log(run_id="f" * 32).spool
    spool.add("it", BATCHES[what])
    with pytest.raises(Gone, match="does not exist"):
        send(spool)
    assert len(spool.waiting()) == 1


def test_a_run_of_the_remote_server_that_was_deleted_is_gone(remote, server):
    send(remote)
    server.delete_run(remote.plan.run_id)
    remote.add("it", number(0))
    with pytest.raises(Gone, match="is deleted"):
        send(remote)


def test_what_fails_in_our_own_work_is_the_items_fault(store, spool):
    spool.add("it", Batch(tags={"t": 3}))
    spool.add("it", number(0))
    [(_, why)] = send(spool).refused
    assert "TypeError" in why
    assert steps(store, spool.plan.run_id) == [0]


def test_a_store_that_only_a_server_can_fill_does_not_hold_up_the_numbers(store, spool_root):
    experiment = store.create_experiment("of a server", artifact_location="mlflow-artifacts:/1")
    run_id = store.create_run(experiment).info.run_id
    spool = begin(spool_root, Plan(uuid.uuid4().hex, mlflow.get_tracking_uri(), run_id))
    spool.add("a file", Batch(files={"a.txt": b"a"}))
    spool.add("numbers", number(0))
    [(what, why)] = send(spool).refused
    assert what == "a file"
    assert "set MLFLOW_TRACKING_URI" in why
    assert steps(store, run_id) == [0]


def test_the_page_is_made_once_all_before_it_is_there(store, spool):
    seen = []

    def page(tracking_uri, run_id):
        seen.append((tracking_uri, steps(store, run_id)))
        return {"report.html": b"page"}

    spool.add("numbers", number(0))
    spool.add("the page", Batch(page=True))
    send(spool, page=page)
    assert seen == [(spool.plan.tracking_uri, [0])]
    assert {file.path for file in store.list_artifacts(spool.plan.run_id)} == {"report.html"}


def test_a_page_that_fails_costs_nothing_else(store, spool):
    def page(tracking_uri, run_id):
        raise RuntimeError("no font")

    spool.add("numbers", Batch([Metric("loss", 1.0, 1, 0)], page=True))
    assert send(spool, page=page).refused == [("the run's page", "RuntimeError: no font")]
    assert spool.waiting() == []
    assert steps(store, spool.plan.run_id) == [0]


def test_a_page_that_the_server_kept_from_being_made_is_made_later(remote, proxy, server, monkeypatch):
    monkeypatch.setattr(module, "_ASK_SECONDS", 0.3)

    def page(tracking_uri, run_id):
        proxy.mode = "gone"
        raise ConnectionError("lost while reading")

    remote.add("the page", Batch(page=True))
    with pytest.raises(Unavailable):
        send(remote, page=page)
    proxy.mode = "pass"
    assert len(remote.waiting()) == 1
    send(remote, page=lambda *_: {"report.html": b"page"})
    assert [file.path for file in server.list_artifacts(remote.plan.run_id)] == ["report.html"]


def test_a_page_may_be_sent_alone(store, run):
    outcome = module.Delivered()
    send_page(run.ref, lambda *_: {"report.html": b"page"}, outcome)
    assert outcome.refused == []
    assert [file.path for file in store.list_artifacts(run.ref.run_id)] == ["report.html"]


def test_the_ledger_comes_last_with_its_counts_and_its_status(store, run):
    ledger = Ledger()
    ledger.count("written", 3)
    ledger.failed("ü\ud800", 1, ValueError("mine"))
    close_run(run.ref, ledger.to_json(7), end=End("FAILED", 1_700_000_000_000))
    found = store.get_run(run.ref.run_id)
    assert found.data.tags["dlviz.status"] == "partial"
    assert found.data.metrics["dlviz/pictures_written"] == 3
    assert steps(store, run.ref.run_id, "dlviz/pictures_failed") == [7]
    assert (found.info.status, found.info.end_time) == ("FAILED", 1_700_000_000_000)
    [entry] = json.loads(mlflow.artifacts.load_text(f"runs:/{run.ref.run_id}/dlviz/ledger.json"))["entries"]
    assert (entry["what"], entry["why"]) == ("ü\ud800", "ValueError: mine")


def test_a_ledger_that_can_not_be_sent_says_which_way(run, proxy, store):
    with pytest.raises(Gone):
        close_run(RunRef(run.ref.tracking_uri, "f" * 32), Ledger().to_json())
    proxy.mode = "gone"
    with pytest.raises(Unavailable):
        close_run(RunRef(proxy.address, run.ref.run_id), Ledger().to_json())


def test_a_server_of_another_kind_is_not_taken_for_one_that_refuses(remote, proxy):
    """A log-in page, say: status 200, and no JSON."""

    class Login(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Please log in</html>")

        do_POST = do_GET

        def log_message(self, *args):
            pass

    send(remote)
    remote.add("it", number(0))
    portal = HTTPServer(("127.0.0.1", 0), Login)
    thread = threading.Thread(target=portal.serve_forever)
    thread.start()
    try:
        target, proxy.target = proxy.target, portal.server_port
        proxy.mode = "pass"  # ends the connections that are open
        with pytest.raises(Unavailable):
            send(remote)
        assert remote.refused() == []
        assert len(remote.waiting()) == 1
    finally:
        proxy.target = target
        portal.shutdown()
        portal.server_close()
        thread.join()
