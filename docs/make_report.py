"""Writes docs/example-report.html: the digits example, trained with three seeds at three learning rates.

python docs/make_report.py           trains in a temporary folder, which takes some minutes
python docs/make_report.py STORE     of the runs of "digits" in the store (a tracking URI) STORE, or trains into it

Of the same runs it makes the same file, byte by byte: its date is that of the last run's end.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import mlflow

import mlflow_dlviz

DOCS = Path(__file__).parent
EXPERIMENT = "digits"
LEARNING_RATES = (0.0003, 0.001, 0.01)
SEEDS = (0, 1, 2)
EPOCHS = 6


def train(folder: Path) -> None:
    """The runs: `mlflow run . -P learning_rate=… -P seed=…`."""
    mlflow.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
    for seed in SEEDS:
        for learning_rate in LEARNING_RATES:
            done = mlflow.projects.run(
                str(DOCS.parent),
                parameters={"learning_rate": str(learning_rate), "seed": str(seed), "epochs": str(EPOCHS)},
                experiment_name=EXPERIMENT,
                run_name=f"rate {learning_rate:g}, seed {seed}",
                env_manager="local",
            )
            # Whose machine it was made on, and where on it, is nobody's concern.
            for tag, value in (("mlflow.source.name", "examples/digits.py"), ("mlflow.user", "mlflow-dlviz")):
                mlflow.MlflowClient().set_tag(done.run_id, tag, value)


def write(path: Path) -> None:
    """The report of the current store's runs."""
    runs = mlflow.search_runs(experiment_names=[EXPERIMENT], output_format="list")
    os.environ["SOURCE_DATE_EPOCH"] = str(max(run.info.end_time for run in runs) // 1000)
    mlflow_dlviz.report(
        EXPERIMENT,
        baseline=max(runs, key=lambda run: run.data.params["learning_rate"] == "0.001").info.run_id,
        group_by="learning_rate",
        # Of each visual one leaf, at half of the epochs: the file is kept under 3 MB.
        images="*[01].*",
        epochs="0,2,last",
        output=path,
        cache=False,
    )


def main() -> None:
    """Train if there is nothing to report on, and write the page."""
    with tempfile.TemporaryDirectory() as temporary:
        mlflow.set_tracking_uri(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{temporary}/mlflow.db")
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            train(Path(temporary) if len(sys.argv) < 2 else Path.cwd())
        write(DOCS / "example-report.html")


if __name__ == "__main__":
    main()
