"""``sync``: what it sends, lists and deletes, its errors and exit statuses."""

from __future__ import annotations

import os
import time

import mlflow
import pytest
from mlflow.entities import Metric

from cli.conftest import NOWHERE, call
from mlflow_dlviz.store.batch import Batch


def test_sync_sends_and_says_where(laid_down, runs):
    laid_down("a")
    result = call("sync")
    [run] = runs()
    assert result.exit_code == 0, result.output
    assert f"a: 2 items sent to {mlflow.get_tracking_uri()}, run {run.info.run_id}" in result.output
    assert run.info.status == "FINISHED"
    again = call("sync")
    assert (again.exit_code, again.stdout.strip()) == (0, "nothing waits")


def test_sync_quietly_says_nothing(laid_down):
    laid_down("a")
    result = call("sync", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_sync_shows_its_progress(laid_down):
    laid_down("a")
    assert "sending" in call("sync").stderr


def test_sync_of_another_folder_to_another_store(laid_down, spool_root, tmp_path, monkeypatch):
    laid_down("a", NOWHERE)
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL", str(tmp_path / "empty"))
    other = f"sqlite:///{tmp_path / 'other.db'}"
    result = call("sync", "--spool", str(spool_root), "--tracking-uri", other)
    assert result.exit_code == 0, result.output
    assert other in result.output


def test_sync_without_its_server_says_so_and_sends_the_rest(laid_down, runs):
    laid_down("a", NOWHERE)
    laid_down("b")
    result = call("sync")
    assert result.exit_code == 6
    assert "a: 0 items sent, the rest waits: " in result.stderr
    assert "127.0.0.1:9 does not answer" in result.stderr
    assert "b: 2 items sent" in result.stdout
    assert len(runs()) == 1
    assert "Traceback" not in result.output


def test_sync_of_what_is_refused_needs_attention(laid_down):
    laid_down("a").add("the bad one", Batch([Metric("bad?\n", 1.0, 1, 0)]))
    result = call("sync", "-q")
    assert result.exit_code == 4
    assert "a: 2 items sent, the rest waits: the bad one: " in result.output


def test_sync_is_impatient(laid_down, monkeypatch):
    for name in ("MAX_RETRIES", "TIMEOUT"):
        monkeypatch.delenv(f"MLFLOW_HTTP_REQUEST_{name}")
    call("sync")
    assert (os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"], os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) == (
        "2",
        "30",
    )
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    call("sync")
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"


def test_sync_status_lists_and_sends_nothing(laid_down, runs):
    assert call("sync", "--status").output.strip() == "nothing waits"
    spool = laid_down("a", NOWHERE)
    spool.refuse(spool.waiting()[0])
    result = call("sync", "--status")
    assert result.exit_code == 0
    assert result.output.startswith("a  waiting: 1 item, 1 refused, 0.0 MB, 0 seconds old, for http://127.0.0.1:9")
    assert len(spool.waiting()) == 1
    assert runs() == []


@pytest.mark.parametrize(
    ("seconds", "said"), [(5, "5 seconds"), (130, "2 minutes"), (7300, "2 hours"), (200_000, "2 days")]
)
def test_sync_status_says_how_old(laid_down, seconds, said):
    laid_down("a", NOWHERE).change(start=int((time.time() - seconds) * 1000))
    assert f"{said} old" in call("sync", "--status").output


def test_sync_prune_asks_first(laid_down):
    spool = laid_down("a", NOWHERE)
    spool.change(gone="it is deleted")
    result = call("sync", "--prune", input="n\n")
    assert "Delete all this for good?" in result.output
    assert spool.folder.exists()
    result = call("sync", "--prune", input="y\n")
    assert result.exit_code == 0
    assert "MB freed" in result.output
    assert not spool.folder.exists()


def test_sync_prune_takes_what_is_older_and_asks_no_more_if_told(laid_down):
    spool = laid_down("a", NOWHERE)
    spool.change(start=int((time.time() - 10 * 86_400) * 1000))
    assert call("sync", "--prune", "--yes").output.strip() == "nothing waits"
    assert spool.folder.exists()
    assert "MB freed" in call("sync", "--prune", "--days", "9", "-y").output
    assert not spool.folder.exists()


def test_sync_with_a_bad_number_of_days_is_bad_usage(store):
    result = call("sync", "--prune", "--days", "-1")
    assert result.exit_code == 2
    assert "--days" in result.output
