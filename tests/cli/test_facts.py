"""``visuals`` and ``doctor``, and what no command does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cli.conftest import NOWHERE, call
from mlflow_dlviz import __version__, catalogue
from mlflow_dlviz.ledger import Ledger
from mlflow_dlviz.store.deliver import close_run


def test_version():
    assert call("--version").output.strip() == f"mlflow-dlviz, version {__version__}"


def test_visuals_lists_every_visual_with_its_options():
    output = call("visuals").output
    for name, factory in catalogue.BUILT_IN.items():
        assert name in output
        for option in catalogue.options(factory):
            assert f"{option}=" in output


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
    assert "`mlflow-dlviz sync` sends what is left" in line


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
