"""The commands: their output, their errors and exit statuses, and what they do not import."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from mlflow_dlviz import __version__, catalogue
from mlflow_dlviz.cli import main


def call(*words):
    return CliRunner().invoke(main, list(words), prog_name="mlflow-dlviz")


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


@pytest.mark.parametrize("words", [["--help"], ["visuals"], ["report", "--help"], ["report", "-q"]])
def test_no_command_imports_tensorflow(logged, words, tmp_path):
    script = (
        "import sys\nfrom mlflow_dlviz.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'tensorflow', 'keras'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
