"""What ``doctor`` says: of a run, what is missing and why; of the installation, what needs attention."""

from __future__ import annotations

import platform
import uuid

import keras
import mlflow
import pytest

from mlflow_dlviz import __version__, diagnosis
from mlflow_dlviz.diagnosis import NoLedger, of_installation, of_run
from mlflow_dlviz.ledger import Ledger
from mlflow_dlviz.store.batch import Batch
from mlflow_dlviz.store.deliver import close_run
from mlflow_dlviz.store.server import ServerUnreachable
from mlflow_dlviz.store.spool import Plan, begin


@pytest.fixture
def closed(run):
    """The id of a run with a ledger, as a function of what is in it."""

    def close(fill):
        made = Ledger()
        fill(made)
        close_run(run.ref, made.to_json(3))
        return run.ref.run_id

    return close


def test_of_a_run_that_lacks_nothing(closed):
    def fill(ledger):
        ledger.count("written", 4)
        ledger.count("late", 3)

    head, status, *rest = of_run(closed(fill))
    assert head.endswith(": RUNNING")
    assert status == "status ok; 4 pictures written, 3 of them after fit had returned; 0 dropped, 0 failed"
    assert rest == ["nothing is missing"]


def test_of_a_run_what_failed_and_what_does_not_apply(closed):
    def fill(ledger):
        ledger.left_out("boundary", "the inputs are images")
        try:
            raise RuntimeError("my mistake")
        except RuntimeError as error:
            ledger.failed("visual 'mine'", 2, error)
        ledger.failed("sending", None, ValueError("x"))

    text = "\n".join(of_run(closed(fill)))
    assert "status failed" in text
    failed, left_out = text.index("failed:"), text.index("does not apply, or was left out:")
    assert failed < text.index("visual 'mine' (epoch 2): RuntimeError: my mistake") < left_out
    assert "      RuntimeError: my mistake" in text
    assert "  sending: ValueError: x" in text
    assert text.index("boundary: the inputs are images") > left_out
    assert "nothing is missing" not in text


def test_of_a_run_without_a_ledger(store, run):
    with pytest.raises(NoLedger, match=r"has no dlviz/ledger.json: mlflow_dlviz did not log to it, or"):
        list(of_run(run.ref.run_id))


def test_of_a_run_that_does_not_exist(store):
    with pytest.raises(LookupError, match="run_id='ffff"):
        list(of_run("f" * 32))


def test_of_a_run_whose_server_is_gone():
    with pytest.raises(ServerUnreachable, match="127.0.0.1:9"):
        list(of_run("f" * 32, "http://127.0.0.1:9"))


def test_of_a_run_of_another_store(closed, tmp_path):
    run_id, uri = closed(lambda ledger: None), mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'other.db'}")
    assert "nothing is missing" in list(of_run(run_id, uri))


def test_an_installation_that_is_fine(store, spool_root):
    lines = list(of_installation())
    assert all(good for good, _ in lines)
    text = "\n".join(line for _, line in lines)
    assert f"mlflow_dlviz {__version__}, Python {platform.python_version()}" in text
    assert f"mlflow {mlflow.__version__}" in text
    assert f"keras {keras.__version__}" in text
    assert "tracking server sqlite: mlflow.db: answers, 2 experiments" in text
    assert f"spool {spool_root}: 0.0 of 4096 MB, nothing waits" in text


@pytest.mark.parametrize(
    "uri", ["http://user:secret@127.0.0.1:9", "sqlite:///{0}/file/mlflow.db"], ids=["gone", "no folder"]
)
def test_a_server_that_does_not_answer_needs_attention(store, uri, monkeypatch, tmp_path):
    monkeypatch.setattr(diagnosis, "_ANSWER_SECONDS", 3.0)
    (tmp_path / "file").touch()
    bad = [line for good, line in of_installation(uri.format(tmp_path)) if not good]
    assert len(bad) == 1
    assert bad[0].startswith("tracking server ")
    assert "secret" not in bad[0]
    assert "\n" not in bad[0]


def test_what_waits_needs_attention(store, spool_root):
    for run, closed in (("a", True), ("b", True), ("c", False)):
        spool = begin(spool_root, Plan(run * 32, "http://127.0.0.1:9", None, start=1_000, closed=closed))
        spool.add("it", Batch(files={"f": bytes(2**20)}))
    spool.refuse(spool.waiting()[0])
    [bad] = [line for good, line in of_installation() if not good]
    # The third still trains.
    assert f"spool {spool_root}: 3.0 of 4096 MB, not sent: 2 items of 2 runs, the oldest for " in bad
    assert "`mlflow-dlviz sync` sends what is left" in bad


def test_a_spool_that_can_not_be_written_needs_attention(store, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL", str(tmp_path / "file" / "spool"))
    bad = [line for good, line in of_installation() if not good]
    assert bad == [f"spool {tmp_path}/file/spool: can't be written to; what is logged waits in memory"]


def test_new_names_of_images_need_attention(store, monkeypatch):
    monkeypatch.setattr(diagnosis, "names_are_known", lambda: False)
    bad = [line for good, line in of_installation() if not good]
    assert len(bad) == 1
    assert "names its images in a new way" in bad[0]


def test_looking_leaves_nothing_behind(store, spool_root):
    begin(spool_root, Plan(uuid.uuid4().hex, "http://127.0.0.1:9", None))
    before = sorted(spool_root.rglob("*"))
    list(of_installation())
    assert sorted(spool_root.rglob("*")) == before


def test_control_characters_of_a_ledger_do_not_reach_the_terminal(store):
    with mlflow.start_run() as run:
        entry = {"kind": "failed", "what": "a\x1b[2Jb", "step": None, "why": "x\ry", "traceback": "\x07"}
        document = {"schema": 1, "status": "partial", "step": 0, "counts": {}, "entries": [entry]}
        mlflow.log_dict(document, "dlviz/ledger.json")
    text = "\n".join(diagnosis.of_run(run.info.run_id))
    assert r"a\x1b[2Jb: x\ry" in text
    assert all(letter.isprintable() or letter == "\n" for letter in text)
