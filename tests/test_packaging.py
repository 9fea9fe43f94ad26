"""The files that others' tools read agree with each other and with the scripts."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "conda.yaml").read_text())
ENTRY_POINTS = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]

# What takes seconds to import, and what only training needs.
HEAVY = {"tensorflow", "keras"}


def conda_pip():
    return next(item["pip"] for item in CONDA["dependencies"] if isinstance(item, dict))


def script_of(command):
    return re.match(r"python (examples/(\w+)\.py)", command)


@pytest.fixture
def load_command(monkeypatch):
    """The click command of an entry point's script."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))

    def load(name):
        module = script_of(ENTRY_POINTS[name]["command"]).group(2)
        monkeypatch.delitem(sys.modules, module, raising=False)
        return importlib.import_module(module).main

    return load


def test_conda_installs_what_pyproject_lists():
    assert sorted(conda_pip()) == sorted(PROJECT["dependencies"])


def test_conda_python_is_exact_and_supported():
    version = next(item for item in CONDA["dependencies"] if str(item).startswith("python="))
    minor = re.fullmatch(r"python=3\.(\d+)\.\d+", version)
    assert minor, "pyenv compiles a Python for anything less exact"
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    assert int(low) <= int(minor.group(1)) < int(high)


def test_no_uv_lock_is_committed():
    # With one at the root, `mlflow run --env-manager uv` ignores conda.yaml.
    assert "uv.lock" in (ROOT / ".gitignore").read_text().split()


@pytest.mark.parametrize("name", ENTRY_POINTS)
class TestEntryPoint:
    def test_its_script_exists(self, name):
        assert (ROOT / script_of(ENTRY_POINTS[name]["command"]).group(1)).is_file()

    def test_it_passes_every_parameter_on(self, name):
        entry = ENTRY_POINTS[name]
        passed = dict(re.findall(r"--([\w-]+) \{(\w+)\}", entry["command"]))
        assert {option.replace("-", "_"): value for option, value in passed.items()} == {
            parameter: parameter for parameter in entry["parameters"]
        }

    def test_its_script_has_the_same_defaults(self, name, load_command):
        defaults = {option.name: str(option.default) for option in load_command(name).params}
        declared = {key: str(value["default"]) for key, value in ENTRY_POINTS[name]["parameters"].items()}
        assert defaults == declared

    def test_help_explains_every_parameter(self, name, load_command):
        command = load_command(name)
        shown = CliRunner().invoke(command, ["--help"]).output
        for option in command.params:
            assert option.help.endswith(".")
            assert option.opts[0] in shown
        assert shown.count("[default:") == len(command.params)


@pytest.mark.parametrize("value", ["two", "-1"])
@pytest.mark.parametrize("name", sorted(set(ENTRY_POINTS) - {"report"}))
def test_a_wrong_value_is_refused_in_words(name, load_command, value):
    result = CliRunner().invoke(load_command(name), ["--epochs", value])
    assert result.exit_code == 2
    assert "--epochs" in result.output
    assert value in result.output


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "mlflow_dlviz", "--help"],
        ["-m", "mlflow_dlviz", "report", "--help"],
        ["-m", "mlflow_dlviz", "report", "no-such-experiment"],
        ["examples/digits.py", "--help"],
        ["examples/report.py", "--help"],
    ],
    ids=lambda command: " ".join(command),
)
def test_imports_no_tensorflow(command, tmp_path):
    """-X importtime names every module that is imported."""
    arguments = [str(ROOT / item) if item.endswith(".py") else item for item in command]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == (2 if "no-such-experiment" in command else 0), done.stderr[-2000:]
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "mlflow_dlviz" in imported
    assert not imported & HEAVY
