"""How our cost grows: with the samples, the layers, the classes and the pictures of an epoch.

What is measured is our own time on the training thread for an epoch (``dlviz/training_thread_seconds``), from
the third epoch on; and how much longer a train step gets by the tally in it, and by Keras' own ``accuracy``: a
bare step and one of each take turns, so that whatever else the machine does is shared by all.

    python benchmarks/scale.py             # about half an hour on 2 cores, a third of it 500 layers
    python benchmarks/scale.py --quick     # only whether it works
    python benchmarks/scale.py --only layers
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import overhead

ROW = "| {:<30} | {:>8} | {:>8} | {:>12} | {:>8} | {:>12} | {:>9} | {:>11} |"
HEADS = ("", "ours, ms", "epoch, s", "of the epoch", "step, ms", "accuracy, ms", "tally, ms", "step slower")

TURNS_SECONDS = 60.0


@dataclass(frozen=True)
class Case:
    """samples: for training, and a quarter as many for validation; cadence: epochs between pictures; wide: units
    of each hidden layer; images: convolutions over 28 x 28 pixels instead, as in ``overhead.py``.
    """

    samples: int = 10_000
    layers: int = 5
    classes: int = 10
    cadence: int = 1
    wide: int = 64
    batch: int = 64
    images: bool = False


CASES: dict[str, Sequence[tuple[str, Case]]] = {
    "samples": [
        (f"{samples:,} samples", Case(samples=samples, batch=512))
        for samples in (1_000, 10_000, 100_000, 1_000_000)
    ],
    "layers": [(f"{layers} layers", Case(layers=layers)) for layers in (5, 20, 50, 500)],
    "classes": [(f"{classes} classes", Case(classes=classes)) for classes in (2, 10, 100, 1_000)],
    "pictures": [
        ("no picture an epoch", Case(cadence=100)),
        ("all of 5 layers", Case()),
        ("all of 16 layers", Case(layers=16)),
        ("16 layers of 512 channels", Case(layers=16, wide=512)),
    ],
    "networks": [
        ("5 dense layers, batches of 64", Case(samples=100_000)),
        ("5 dense layers, batches of 512", Case(samples=400_000, batch=512)),
        ("3 convolutions, batches of 64", Case(samples=4_000, images=True)),
    ],
}


# ---- one case, in a process of its own ----------------------------------------------------------------------


def measure(case: Case, epochs: int, steps: int) -> dict[str, float]:
    """ours: milliseconds an epoch; epoch: seconds; step: milliseconds of a bare train step; accuracy, tally:
    how many more it takes with each.
    """
    import keras
    import mlflow

    import mlflow_dlviz

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    shape = (28, 28, 1) if case.images else (32,)
    x = rng.normal(size=(case.samples + case.samples // 4, *shape)).astype("float32")
    y = rng.integers(0, case.classes, len(x))
    validation = x[case.samples :], y[case.samples :]
    step, with_accuracy, with_tally = step_times(case, x[: case.batch], y[: case.batch], steps)
    model = network(case)
    mlflow_dlviz.autolog(cadence=case.cadence, log_models=False)
    clock = make_clock()
    train = x[: case.samples], y[: case.samples]
    options: dict[str, Any] = {"batch_size": case.batch, "validation_data": validation, "verbose": 0}
    model.fit(*train, epochs=epochs, callbacks=[clock], **options)
    mlflow_dlviz.flush()
    run = mlflow.last_active_run()
    assert run is not None
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "dlviz/training_thread_seconds")
    return {
        "ours": 1000 * statistics.median(point.value for point in history[2:-1]),
        "epoch": statistics.median(clock.seconds[2:-1]),
        "step": 1000 * step,
        "accuracy": 1000 * (with_accuracy - step),
        "tally": 1000 * (with_tally - step),
    }


def step_times(case: Case, x: np.ndarray, y: np.ndarray, steps: int) -> list[float]:
    """Seconds of a train step, bare, with Keras' accuracy and with the tally: medians, taking turns step by step.

    steps: of each, fewer where they would take more than TURNS_SECONDS.

    Turns cancel what else the machine does, which whole epochs in turn do not.
    """
    import tensorflow as tf

    from mlflow_dlviz.capture.watch import Watch
    from mlflow_dlviz.metrics import ClassificationTally

    batches = iter(tf.data.Dataset.from_tensors((x, y)).repeat().prefetch(2))
    bare, usual, counting = network(case), network(case, ["accuracy"]), network(case)
    for model in (bare, usual):
        model.make_train_function()
    Watch(counting, lambda output: (ClassificationTally(), "")).attach()
    functions = [model.train_function for model in (bare, usual, counting)]
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + TURNS_SECONDS
    for number in range(steps):
        if time.perf_counter() > end and number > steps // 5:
            break
        for function, taken in zip(functions, times, strict=True):
            began = time.perf_counter()
            function(batches)
            if number > steps // 10:
                taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in times]


def make_clock() -> Any:
    """A callback with the seconds of each epoch, without what callbacks do at its end."""
    import keras

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._began = time.perf_counter()

        def on_test_end(self, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self._began)

    return Clock()


def network(case: Case, metrics: Sequence[str] = ()) -> Any:
    """As many dense layers as asked for, or three convolutions; the last a softmax."""
    import keras

    if case.images:
        model = overhead.network()
    else:
        hidden = [keras.layers.Dense(case.wide, "relu") for _ in range(case.layers - 1)]
        model = keras.Sequential([keras.Input((32,)), *hidden, keras.layers.Dense(case.classes, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=list(metrics))
    return model


# ---- the table ----------------------------------------------------------------------------------------------


@click.command()
@click.option("--quick", is_flag=True, help="Small data, one turn.")
@click.option("--only", default="", help="One group: samples, layers, classes, pictures or networks.")
@click.option("--case", "one", default="", hidden=True)
def main(quick: bool, only: str, one: str) -> None:
    """Print the table."""
    if one:
        case = Case(**json.loads(one))
        print(json.dumps(measure(case, *((5, 100) if quick else (8, 1000)))))
        return
    for group, cases in CASES.items():
        if only in group:
            click.echo(ROW.format(group, *HEADS[1:]))
            click.echo("|---|" + "---:|" * (len(HEADS) - 1))
            for name, case in cases:
                if not (quick and max(case.samples / 1e5, case.layers / 50) > 1):
                    show(name, in_a_process(case, quick))


def in_a_process(case: Case, quick: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", json.dumps(asdict(case)), *(["--quick"] if quick else [])]
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "MLFLOW_TRACKING_URI": f"sqlite:///{Path(folder, 'mlflow.db')}",
            "MLFLOW_DLVIZ_SPOOL": str(Path(folder, "spool")),
        }
        done = subprocess.run(
            command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=3000
        )
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def show(name: str, found: dict[str, float]) -> None:
    share = found["ours"] / 1000 / found["epoch"]
    epoch = (f"{found['ours']:.1f}", f"{found['epoch']:.2f}", f"{share:.1%}")
    step = (f"{found[key]:.2f}" for key in ("step", "accuracy", "tally"))
    click.echo(ROW.format(name, *epoch, *step, f"{found['tally'] / found['step']:+.1%}"))


if __name__ == "__main__":
    main()
