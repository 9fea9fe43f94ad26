"""The commands: their output, their errors and exit statuses, and what they do not import."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import mlflow
import pytest
from click.testing import CliRunner
from mlflow.entities import Metric

from mlflow_dlviz import __version__, catalogue
from mlflow_dlviz.cli import main
from mlflow_dlviz.ledger import Ledger
from mlflow_dlviz.store.batch import Batch, End
from mlflow_dlviz.store.deliver import close_run
from mlflow_dlviz.store.spool import Plan, begin

NOWHERE = "http://127.0.0.1:9"


def call(*words, **options):
    return CliRunner().invoke(main, list(words), prog_name="mlflow-dlviz", **options)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """``sync`` shortens MLflow's patience in its process, which here is the tests'."""
    for name in ("MAX_RETRIES", "TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "1")


@pytest.fixture
def laid_down(store, spool_root):
    """A spool of a run that is over, as a function."""

    def make(name, uri=None):
        spool = begin(
            spool_root, Plan(name * 32, uri or mlflow.get_tracking_uri(), None, "name:test", name, owned=True)
        )
        spool.add("numbers", Batch([Metric("loss", 1.0, 1, 0)]))
        spool.add("the end of the run", Batch(end=End("FINISHED", 5)))
        spool.change(closed=True)
        return spool

    return make


@pytest.fixture
def logged(store):
    """A run with a curve, of another tool."""
    run = store.create_run(store.get_experiment_by_name("test").experiment_id, run_name="plain")
    for step in range(3):
        store.log_metric(run.info.run_id, "val_loss", 1 / (step + 1), step=step)
    store.set_terminated(run.info.run_id)
    return run.info.run_id


def test_version():
    assert call("--version").output.strip() == f"mlflow-dlviz, version {__version__}"


def test_visuals_lists_every_visual_with_its_options():
    output = call("visuals").output
    for name, factory in catalogue.BUILT_IN.items():
        assert name in output
        for option in catalogue.options(factory):
            assert f"{option}=" in output


def test_report_writes_a_file_and_says_so(logged, tmp_path):
    target = tmp_path / "out" / "r.html"
    result = call("report", "test", "-o", str(target))
    assert result.exit_code == 0, result.output
    assert "1 run," in result.output
    assert "plain" in target.read_text()


def test_quiet_says_nothing(logged, tmp_path):
    result = call("report", "-q", "-o", str(tmp_path / "r.html"))
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["tset"], 2, "closest: 'test'"),
        (["test", "--filter", "metrics.val_loss <<< 3"], 2, "filter"),
        (["test", "--limit", "0"], 2, "--limit"),
        (["test", "--goal", "val_lose"], 2, "goal='val_lose'"),
        (["test", "--filter", "metrics.val_loss < -1"], 3, "no run matches"),
        (["test", "--tracking-uri", "http://127.0.0.1:9"], 6, "127.0.0.1:9"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(logged, tmp_path, words, status, said):
    result = call("report", *words, "-o", str(tmp_path / "r.html"))
    assert result.exit_code == status
    assert said in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["visuals"],
        ["report", "--help"],
        ["report", "-q"],
        ["sync"],
        ["sync", "--status"],
        ["sync", "--prune"],
        ["doctor"],
    ],
)
def test_no_command_imports_tensorflow(logged, words, tmp_path):
    script = (
        "import sys\nfrom mlflow_dlviz.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'tensorflow', 'keras'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)


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
    assert result.output.startswith(
        "a  waiting: 1 items, 1 refused, 0.0 MB, 0 seconds old, for http://127.0.0.1:9"
    )
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


def test_doctor_of_a_good_installation(store):
    result = call("doctor")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert len(lines) >= 4
    assert all(line.startswith("ok  ") for line in lines)


def test_doctor_of_one_that_needs_attention(laid_down):
    laid_down("a", NOWHERE)
    result = call("doctor")
    assert result.exit_code == 4
    [line] = [line for line in result.output.splitlines() if line.startswith("!! ")]
    assert "`mlflow-dlviz sync` sends them" in line


def test_doctor_of_a_run(run):
    ledger = Ledger()
    ledger.left_out("boundary", "the inputs are images", say=False)
    close_run(run.ref, ledger.to_json())
    result = call("doctor", run.ref.run_id)
    assert result.exit_code == 0
    assert run.ref.run_id in result.output
    assert "boundary: the inputs are images" in result.output


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["f" * 32], 2, "run_id='ffff"),
        (["f" * 32, "--tracking-uri", NOWHERE], 6, "127.0.0.1:9"),
        (["--tracking-uri", NOWHERE], 4, "!! "),
    ],
)
def test_doctor_says_in_one_line_what_it_can_not_find(store, words, status, said):
    result = call("doctor", *words)
    assert result.exit_code == status
    assert said in result.output
    assert "Traceback" not in result.output


def test_doctor_of_a_run_without_a_ledger(run):
    result = call("doctor", run.ref.run_id)
    assert result.exit_code == 2
    assert "has no dlviz/ledger.json" in result.output


def test_doctor_names_a_bad_setting(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL_MB", "lots")
    result = call("doctor")
    assert result.exit_code == 2
    assert "MLFLOW_DLVIZ_SPOOL_MB='lots': expected a number of megabytes" in result.output
