"""Writes docs/cli.md from --help, and the gallery's pictures from runs of the examples.

python docs/make_pages.py            the command line's page
python docs/make_pages.py STORE      also the pictures, from the store (a tracking URI) that holds runs of the
                                     experiments "digits", "moons" and "imbalanced"; a run of "diabetes" is made
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
from click.testing import CliRunner
from PIL import Image

import mlflow_dlviz
from mlflow_dlviz import cli

DOCS = Path(__file__).parent

PICTURES = {
    "activations-conv": ("digits", "activations", "01.conv2d_1", "last"),
    "activations-dense": ("digits", "activations", "03.dense", "last"),
    "probabilities": ("imbalanced", "probabilities", "validation", "last"),
    "boundary-first": ("moons", "boundary", "plane", "first"),
    "boundary-last": ("moons", "boundary", "plane", "last"),
    "residuals": ("diabetes", "residuals", "validation", "last"),
}


def cli_page() -> str:
    """The text of docs/cli.md."""
    parts = [
        "# Command line",
        "",
        "Written by `python docs/make_pages.py`; a test holds it equal to `--help`.",
        "",
    ]
    for name, text in _helps():
        parts += [f"## `{name}`", "", "```text", text.rstrip(), "```", ""]
    return "\n".join(parts)


def save_pictures(store: str) -> None:
    """Draw the gallery's pictures again, from the stored numbers."""
    mlflow.set_tracking_uri(store)
    train_regression()
    for name, (experiment, visual, leaf, which) in PICTURES.items():
        [run, *_] = mlflow.search_runs(experiment_names=[experiment], output_format="list")
        frames = mlflow_dlviz.load(run.info.run_id, visual)[leaf]
        arrays = frames[min(frames) if which == "first" else max(frames)]
        _save(name, mlflow_dlviz.plots.plot_for(visual)(**arrays))
        evolve = mlflow_dlviz.catalogue.BUILT_IN[visual]().evolve
        if evolve is not None:
            stacked = {key: [frame[key] for frame in frames.values()] for key in arrays}
            _save(f"{name}-evolution", evolve(**stacked))


def train_regression() -> None:
    """A run of the experiment "diabetes": no example of ours predicts values."""
    import keras
    from sklearn.datasets import load_diabetes
    from sklearn.preprocessing import scale

    mlflow.set_experiment("diabetes")
    x, y = load_diabetes(return_X_y=True)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(32, "relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    mlflow_dlviz.autolog(log_models=False, visuals=["residuals"])
    model.fit(scale(x), y, epochs=60, verbose=0, validation_split=0.3)
    mlflow_dlviz.autolog(disable=True)
    mlflow_dlviz.flush()


def _save(name: str, figure: object) -> None:
    picture = Image.open(io.BytesIO(mlflow_dlviz.plots.encode(figure)))
    picture.quantize(96).save(DOCS / f"{name}.png", optimize=True)


def _helps() -> Iterator[tuple[str, str]]:
    for words in ([], *([name] for name in sorted(cli.main.commands))):
        told = CliRunner().invoke(cli.main, [*words, "--help"], prog_name="mlflow-dlviz", terminal_width=80)
        yield " ".join(["mlflow-dlviz", *words]), told.output


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(cli_page())
    if len(sys.argv) > 1:
        save_pictures(sys.argv[1])
