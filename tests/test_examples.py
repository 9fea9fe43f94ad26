"""Every example is run as a user runs it, and leaves what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
WITH_OPTIONS = ["digits", "moons", "imbalanced", "autoencoder"]
LINK = r"http://127\.0\.0\.1:5000/#/experiments/(\d+)/runs/(\w{32})\?workflowType=machine_learning"


def start(folder, *command):
    """Run ``command`` in ``folder``, with nothing of MLflow's or TensorFlow's set, and `python` being ours."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "TF_CPP"))}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def all_runs(folder):
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = client.search_experiments()
    names = {experiment.experiment_id: experiment.name for experiment in experiments}
    return client, names, client.search_runs(list(names))


def assert_recorded(client, run, visuals):
    assert run.info.status == "FINISHED"
    assert run.data.tags["dlviz.status"] == "ok"
    pictures = [item.path for item in client.list_artifacts(run.info.run_id, "images")]
    first = [re.match(r"images/(\w+)~.*\+step\+0\+.*\.png", path) for path in pictures]
    assert {match.group(1) for match in first if match} >= visuals
    assert "report.html" in [item.path for item in client.list_artifacts(run.info.run_id)]


VISUALS = {
    "digits": {"activations", "probabilities"},
    "moons": {"activations", "probabilities", "boundary"},
    "imbalanced": {"activations", "probabilities", "boundary"},
    "autoencoder": {"activations", "reconstructions"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_example(name, tmp_path):
    done = start(tmp_path, sys.executable, str(EXAMPLES / f"{name}.py"), "--epochs", "1")
    client, names, runs = all_runs(tmp_path)
    assert [names[run.info.experiment_id] for run in runs] == [name]
    assert_recorded(client, runs[0], VISUALS[name])
    assert "now start: mlflow ui\n" in done.stdout
    assert re.search(LINK, done.stdout).groups() == (runs[0].info.experiment_id, runs[0].info.run_id)
    # TensorFlow's chatter.
    assert "oneDNN" not in done.stderr
    assert "cuInit" not in done.stderr


@pytest.mark.slow
def test_quickstart(tmp_path):
    start(tmp_path, sys.executable, str(EXAMPLES / "quickstart.py"))
    client, _, runs = all_runs(tmp_path)
    assert len(runs) == 1
    assert_recorded(client, runs[0], {"activations", "probabilities", "boundary"})


def test_quickstart_is_the_users_own_script():
    source = (EXAMPLES / "quickstart.py").read_text()
    assert "_show" not in source
    assert source.count("mlflow_dlviz.") == 1


@pytest.mark.slow
def test_mlflow_run(tmp_path):
    """`mlflow run` makes a run; training goes into it, and so does the report."""
    mlflow_run = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local"]
    done = start(tmp_path, *mlflow_run, "-P", "epochs=1", "--experiment-name", "tried")
    client, names, runs = all_runs(tmp_path)
    assert [names[run.info.experiment_id] for run in runs] == ["tried"]
    assert_recorded(client, runs[0], VISUALS["digits"])
    assert re.search(LINK, done.stdout).groups() == (runs[0].info.experiment_id, runs[0].info.run_id)
    assert f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db\n" in done.stdout

    output = tmp_path / "both.html"
    report = ["-e", "report", "-P", "experiments=tried, Default", "-P", f"output={output}"]
    done = start(tmp_path, *mlflow_run, *report)
    assert "both.html: 1 run," in done.stdout
    client, names, runs = all_runs(tmp_path)
    reports = [run for run in runs if names[run.info.experiment_id] == "Default"]
    assert len(reports) == len(runs) - 1 == 1
    assert [item.path for item in client.list_artifacts(reports[0].info.run_id)] == ["both.html"]
    assert reports[0].info.status == "FINISHED"
    assert reports[0].data.tags["dlviz.report"] == "true"
    link = f"/runs/{reports[0].info.run_id}/artifacts/both.html?workflowType=machine_learning"
    assert link in done.stdout
    assert "tried" in output.read_text()


class TestShow:
    @pytest.fixture
    def helper(self, monkeypatch):
        monkeypatch.syspath_prepend(str(EXAMPLES))
        import _show

        return _show

    def test_a_server_needs_no_command(self, helper):
        assert helper.directions("https://tracking.example/", "7", "abc") == [
            "https://tracking.example/#/experiments/7/runs/abc?workflowType=machine_learning",
            "https://tracking.example/#/experiments/7/runs/abc/artifacts/report.html?workflowType=machine_learning",
        ]

    def test_the_folders_own_store_needs_no_option(self, helper, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert helper.ui_command(f"sqlite:///{tmp_path}/mlflow.db") == "mlflow ui"
        elsewhere = f"sqlite:///{tmp_path}/my runs.db"
        assert helper.ui_command(elsewhere) == f"mlflow ui --backend-store-uri '{elsewhere}'"

    def test_mlflow_runs_experiment_is_kept(self, helper, store, monkeypatch):
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        helper.use_experiment("another")
        assert store.get_experiment_by_name("another") is None
        monkeypatch.delenv("MLFLOW_RUN_ID")
        monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
        helper.use_experiment("another")
        assert store.get_experiment_by_name("another") is not None

    @pytest.mark.parametrize(
        ("ending", "shown"), [("pass", ""), ("raise SystemExit('broken')", "chatter\nbroken\n")]
    )
    def test_what_was_kept_quiet_is_shown_after_an_error(self, ending, shown):
        code = f"import os, _show\nwith _show._quiet_stderr():\n    os.write(2, b'chatter\\n')\n    {ending}"
        environment = {**os.environ, "PYTHONPATH": str(EXAMPLES)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.stderr == shown
