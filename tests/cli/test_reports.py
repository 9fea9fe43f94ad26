"""``report``: what it writes and says, its errors and exit statuses, and that every option arrives."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import mlflow
import pytest

from cli.conftest import NOWHERE, call
from mlflow_dlviz.cli import headings, main, reports
from mlflow_dlviz.reporting import api, report
from mlflow_dlviz.reporting.command import command

DOCS = Path(__file__).parents[2] / "docs"
OPTIONS = [param for param in main.commands["report"].params if isinstance(param, headings.Option)]

ALL = {
    "run_ids": ["a" * 32, "b" * 32],
    "filter": ["metrics.loss < 1", "params.\"a b\" = 'it''s'"],
    "status": ["FINISHED", "FAILED"],
    "since": "36h",
    "order_by": ["metrics.loss ASC", "attributes.start_time DESC"],
    "limit": 7,
    "metrics": ["val_*:max", "loss", "a b:min"],
    "goal": "val_loss",
    "x": "time",
    "baseline": "a run's name",
    "group_by": "lr,depth",
    "seed_keys": ["fold", "seed"],
    "images": "activations/*",
    "epochs": "0,5,last",
    "smoothing": 0.6,
    "max_mb": 20.0,
    "redact": ["^user_", "a|b"],
}


@pytest.fixture
def torn(logged, store, tmp_path):
    """A run one of whose pictures can't be read."""
    bad = tmp_path / "a~b+step+1+timestamp+5+11111111-1111-1111-1111-111111111111.png"
    bad.write_bytes(b"not a picture")
    store.log_artifact(logged, str(bad), "images")
    store.set_tag(logged, "mlflow.loggedImages", "True")
    return logged


def written(folder):
    """What is there, but for what is kept of the reading."""
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


def asked_by(words):
    """What the library is asked for by a command line, checked."""
    told = main.commands["report"].make_context("report", list(words)).params
    experiments = told.pop("experiments")
    return api._request(experiments, **reports._asked(told))


def test_it_writes_a_file_and_says_so(logged, tmp_path):
    target = tmp_path / "out" / "r.html"
    result = call("report", "test", "-o", str(target))
    assert result.exit_code == 0, result.output
    assert f"{target}: 1 run, " in result.stdout
    assert "plain" in target.read_text()


def test_quiet_says_nothing(logged, tmp_path):
    result = call("report", "-q", "-o", str(tmp_path / "r.html"), "--log-to", "new", "--csv", str(tmp_path))
    assert (result.exit_code, result.output) == (0, "")


def test_verbose_says_how_it_was_read(logged, store, tmp_path):
    # Over for so long that what is read of it is kept.
    store.set_terminated(logged, end_time=1_700_000_000_000)
    first, again = (call("report", "-v", "-o", str(tmp_path / "r.html")).stdout for _ in range(2))
    assert re.search(r"built in \d+\.\d s", first)
    assert "asked of the server: metrics 1\n" in first
    assert "asked of the server: the list of runs alone\n" in again


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["tset"], 2, "closest: 'test'"),
        (["test", "--filter", "metrics.val_loss <<< 3"], 2, "filter"),
        (["test", "--order-by", "metrics.val_loss SIDEWAYS"], 2, "order_by"),
        (["test", "--limit", "0"], 2, "--limit"),
        (["test", "--goal", "val_lose"], 2, "goal='val_lose'"),
        (["test", "--goal", "val_lose"], 2, "there are val_loss"),
        (["test", "--metric", "val_loss:maxx"], 2, "expected ':min' or ':max'"),
        (["test", "--metric", "nothing*"], 2, "metrics='nothing*'"),
        (["test", "--run-id", "deadbeef", "--strict"], 4, "deadbeef could not be read"),
        (["test", "--group-by", "learning_rat"], 2, "group_by='learning_rat'"),
        (["test", "--baseline", "nobody"], 2, "baseline='nobody'"),
        (["test", "--since", "yesterday"], 2, "since='yesterday': expected an age"),
        (["test", "--epochs", "first"], 2, "epochs='first'"),
        (["test", "--redact", "("], 2, "redact='('"),
        (["test", "--status", "lost"], 2, "--status"),
        (["test", "--x", "weeks"], 2, "--x"),
        (["test", "--smoothing", "1"], 2, "--smoothing"),
        (["test", "--jobs", "100"], 2, "jobs=100"),
        (["test", "--log-to", "f" * 32], 2, "log_to='ffff"),
        (["test", "--log-to", "../new"], 2, "log_to='../new': expected 'new' or the id of a run"),
        (["test", "--no-cache", "--refresh"], 2, "--no-cache and --refresh exclude each other"),
        (["test", "-q", "-v"], 2, "--quiet and --verbose exclude each other"),
        (["test", "--filter", "metrics.val_loss < -1"], 3, "no run matches"),
        (["test", "--status", "failed"], 3, "no run matches"),
        (["test", "--tracking-uri", NOWHERE], 6, "127.0.0.1:9"),
        (["test", "--tracking-uri", NOWHERE, "--dry-run"], 6, "127.0.0.1:9"),
        (["test", "--filter", "metrics.val_loss < -1", "--dry-run"], 3, "runs: 0"),
        (["test", "--tracking-uri", NOWHERE, "--log-to", "f" * 32], 6, "127.0.0.1:9"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(logged, tmp_path, words, status, said):
    result = call("report", *words, "-o", str(tmp_path / "r.html"))
    assert result.exit_code == status, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "r.html").exists()


def test_a_partial_report_is_written_and_told(torn, tmp_path):
    result = call("report", "test", "-o", str(tmp_path / "r.html"), "--csv", str(tmp_path / "numbers"))
    assert result.exit_code == 4
    assert "partial: 1 picture could not be read" in result.stderr
    assert (tmp_path / "r.html").exists()
    assert (tmp_path / "numbers" / "runs.csv").exists()


def test_strictly_nothing_partial_is_written(torn, tmp_path):
    words = ["-o", "r.html", "--csv", "numbers", "--md", "r.md", "--png", "pictures", "--log-to", torn]
    before = written(tmp_path)
    result = call("report", "test", "--strict", *words)
    assert result.exit_code == 4
    assert "not everything could be read, so nothing is written: 1 picture" in result.stderr
    assert written(tmp_path) == before


def test_all_forms_are_written_and_named(logged, tmp_path):
    result = call("report", "test", "--csv", "numbers", "--md", "r.md", "--png", "pictures")
    assert result.exit_code == 0, result.output
    written = ["numbers/runs.csv", "numbers/metrics.csv", "numbers/groups.csv", "r.md", "pictures/curves-loss.png"]
    for name in ["report.html", *written]:
        assert (tmp_path / name).stat().st_size
        assert name in result.stdout


def test_a_dry_run_says_what_would_be_read_and_writes_nothing(logged, tmp_path):
    before = written(tmp_path)
    result = call("report", "test", "--dry-run", "--csv", "numbers", "--log-to", "new")
    assert result.exit_code == 0, result.output
    assert "runs: 1 (FINISHED 1)" in result.stdout
    assert "runs that have them: val_loss 1" in result.stdout
    assert written(tmp_path) == before


def test_logged_to_a_new_run_it_is_no_run_to_compare(logged, store, runs):
    result = call("report", "test", "--log-to", "new", "-o", "both.html")
    assert result.exit_code == 0, result.output
    [made] = [run for run in runs() if run.info.run_id != logged]
    assert made.info.status == "FINISHED"
    assert (made.data.tags["dlviz.report"], made.data.tags["mlflow.project.entryPoint"]) == ("true", "report")
    assert [item.path for item in store.list_artifacts(made.info.run_id)] == ["both.html"]
    link = f"/#/experiments/{made.info.experiment_id}/runs/{made.info.run_id}/artifacts/both.html"
    assert f"{link}?workflowType=machine_learning" in result.stdout
    again = report("test", progress=False)
    assert [run.id for run in again.bundle.runs] == [logged]
    assert [(run.id, run.reason) for run in again.bundle.excluded] == [(made.info.run_id, "holds a report")]


def test_logged_to_a_given_run(logged, store, runs):
    result = call("report", "test", "--log-to", logged)
    assert result.exit_code == 0, result.output
    assert [item.path for item in store.list_artifacts(logged)] == ["report.html"]
    assert len(runs()) == 1
    assert "dlviz.report" not in runs()[0].data.tags


def test_what_can_not_be_logged_is_written_all_the_same(logged, tmp_path):
    # Artifacts that only a server could take.
    mlflow.create_experiment("served", artifact_location="mlflow-artifacts:/served")
    words = ["report", "served", "--run-id", logged, "--log-to", "new"]
    result = call(*words)
    assert result.exit_code == 4
    assert "report.html is written, but could not be logged: " in result.stderr
    assert (tmp_path / "report.html").exists()


def test_a_run_that_is_deleted_before_it_is_logged_to(logged, store, tmp_path, monkeypatch):
    other = store.create_run(store.get_run(logged).info.experiment_id).info.run_id
    monkeypatch.setattr("mlflow_dlviz.reporting.check_run", lambda run_id, uri: store.delete_run(run_id))
    result = call("report", "test", "--log-to", other)
    assert result.exit_code == 4, result.output
    assert "report.html is written, but could not be logged: " in result.stderr
    assert "this run is deleted" in result.stderr
    assert (tmp_path / "report.html").exists()


def test_every_option_arrives():
    found = asked_by(_words(ALL))
    expected = api._request(("digits", "moons"), **ALL, tracking_uri=None, jobs=4, cache=True, refresh=False)
    assert found == expected
    told = asked_by(["--tracking-uri", "http://host", "--jobs", "9", "--no-cache"]).reading
    assert (told.tracking_uri, told.jobs, told.cache, told.refresh) == ("http://host", 9, False, False)
    assert asked_by(["--refresh"]).reading.refresh


def test_the_command_on_the_page_asks_for_the_same():
    found = asked_by(_words(ALL))
    program, name, *words = shlex.split(command(found.query, found.options))
    assert (program, name) == ("mlflow-dlviz", "report")
    again = asked_by(words)
    assert (again.query, again.options) == (found.query, found.options)


def test_the_command_and_the_call_have_the_same_defaults():
    signature = inspect.signature(report).parameters
    for name, value in reports._asked(main.commands["report"].make_context("report", []).params).items():
        default = signature[name].default
        assert value == default or (not value and not default), name


def test_every_argument_of_the_call_can_be_given():
    names = set(reports._ASKED) | {"cache", "experiments", "output", "strict", "progress"}
    assert names == set(inspect.signature(report).parameters)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.opts[-1])
def test_every_option_is_explained_and_documented(option):
    assert option.help.rstrip(")").endswith("."), option.help
    for name in option.opts:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", (DOCS / "report.md").read_text()), name


def test_help_lists_the_options_under_headings():
    shown = call("report", "--help", terminal_width=100).output
    headings_shown = re.findall(r"^([A-Z][a-z ]+):$", shown, flags=re.MULTILINE)
    assert headings_shown == ["Which runs", "What is shown", "Where it goes", "How it is read", "Help"]
    for option in OPTIONS:
        assert option.opts[-1] in shown


def test_a_terminal_is_not_told_what_to_do(logged, store, tmp_path):
    store.set_tag(logged, "mlflow.runName", "\x1b[2Jcleared")
    result = call("report", "test", "--filter", "metrics.val_loss > 9", "--run-id", "\x1b[2J")
    assert "\x1b" not in result.output


def _words(asked):
    names = {parameter.name: parameter.opts[-1] for parameter in OPTIONS}
    words = ["digits", "moons"]
    for name, value in asked.items():
        for each in value if isinstance(value, list) else [value]:
            words += [names[name], str(each)]
    return words
