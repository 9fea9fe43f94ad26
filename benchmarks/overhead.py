"""What autolog costs: our time beside MLflow's own autologging and a hand-written callback, on one network.

Every measurement is a fresh process, the variants take turns, and medians are compared: what one leaves
behind neither helps nor hurts another, and a busy minute hits all of them. Run it on a quiet machine.

    python benchmarks/overhead.py                  # about 15 minutes on 2 cores
    python benchmarks/overhead.py --quick          # only whether it works
    python benchmarks/overhead.py --memory         # resident memory after 20 and after 100 epochs
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

VARIANTS = {
    "bare": "fit alone",
    "stock": "mlflow.keras.autolog",
    "ours": "mlflow_dlviz.autolog",
    "by_hand": "a hand-written callback",
}
ROW = "{:<44}{:>10}{:>10}  {}"


# ---- the network and its data -------------------------------------------------------------------------------


def digits(samples: int, validation: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Digits enlarged and repeated with noise: x (N, 28, 28, 1) in [0, 1], y (N,), and the same for validation."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    images, labels = load_digits(return_X_y=True)
    rows = np.resize(rng.permutation(len(images)), samples + validation)
    large = np.kron(images[rows].reshape(-1, 8, 8) / 16, np.ones((3, 3)))
    x = np.pad(large, ((0, 0), (2, 2), (2, 2)))[..., None]
    x = np.clip(x + rng.normal(0, 0.05, x.shape), 0, 1).astype("float32")
    y = labels[rows]
    return x[:samples], y[:samples], x[samples:], y[samples:]


def network() -> Any:
    """Convolutions of 32, 64 and 64 channels, and a dense layer of 64."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def small_network() -> Any:
    """One hidden layer: few pictures an epoch, so that memory is measured over many epochs in minutes."""
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(32, "relu"), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# ---- the variants: set up, and give the callbacks and what waits for the rest --------------------------------

Prepared = tuple[list, Callable[[], Any]]


def bare(model: Any, x_val: np.ndarray, y_val: np.ndarray) -> Prepared:
    return [], lambda: None


def stock(model: Any, x_val: np.ndarray, y_val: np.ndarray) -> Prepared:
    import mlflow

    mlflow.keras.autolog(log_models=False)
    return [], mlflow.flush_async_logging


def ours(model: Any, x_val: np.ndarray, y_val: np.ndarray) -> Prepared:
    import mlflow_dlviz

    mlflow_dlviz.autolog(cadence=1, log_models=False)
    return [], mlflow_dlviz.flush


def by_hand(model: Any, x_val: np.ndarray, y_val: np.ndarray) -> Prepared:
    """What is usually written: pyplot figures and scikit-learn's metrics at the end of each epoch."""
    import keras
    import matplotlib as mpl
    import mlflow

    mpl.use("Agg")
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    shown = keras.Model(model.inputs, [layer.output for layer in layers])
    names = [layer.name for layer in layers]

    class Pictures(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            mlflow.log_metrics({**logs, **scores(self.model, x_val, y_val, epoch)}, step=epoch)
            for name, maps in zip(names, shown.predict(x_val[:1], verbose=0), strict=True):
                log_grid(maps[0], f"activations/{name}/{epoch:03d}.png")

    mlflow.start_run()
    return [Pictures()], mlflow.end_run


def scores(model: Any, x_val: np.ndarray, y_val: np.ndarray, epoch: int) -> dict[str, float]:
    import matplotlib.pyplot as plt
    import mlflow
    from sklearn import metrics

    probability = model.predict(x_val, verbose=0)
    predicted = probability.argmax(axis=1)
    figure = plt.figure()
    for k in range(10):
        plt.hist(probability[y_val == k, k], bins=20, range=(0, 1), alpha=0.4, label=str(k))
    plt.legend()
    mlflow.log_figure(figure, f"probabilities/{epoch:03d}.png")
    plt.close(figure)
    return {
        "val_precision": metrics.precision_score(y_val, predicted, average="macro", zero_division=0),
        "val_recall": metrics.recall_score(y_val, predicted, average="macro", zero_division=0),
        "val_f1": metrics.f1_score(y_val, predicted, average="macro", zero_division=0),
        "val_mcc": metrics.matthews_corrcoef(y_val, predicted),
    }


def log_grid(maps: np.ndarray, path: str) -> None:
    """Log maps (H, W, C) with a subplot each."""
    import matplotlib.pyplot as plt
    import mlflow

    figure, axes = plt.subplots(maps.shape[-1] // 8, 8, figsize=(8, maps.shape[-1] // 8))
    for channel, area in enumerate(axes.ravel()):
        area.imshow(maps[..., channel], cmap="viridis")
        area.axis("off")
    mlflow.log_figure(figure, path)
    plt.close(figure)


# ---- one measurement, in a process of its own ---------------------------------------------------------------


def measure(variant: str, epochs: int, samples: int, validation: int) -> dict[str, float]:
    """Seconds from the start of fit to its return, and until everything is logged; for ours our share."""
    import mlflow

    x, y, x_val, y_val = digits(samples, validation)
    model = network()
    callbacks, drain = {"bare": bare, "stock": stock, "ours": ours, "by_hand": by_hand}[variant](
        model, x_val, y_val
    )
    # The store is made before the clock runs: creating its tables is no part of a training.
    mlflow.set_experiment("overhead")
    began = time.perf_counter()
    model.fit(x, y, 64, epochs=epochs, verbose=0, validation_data=(x_val, y_val), callbacks=callbacks)
    returned = time.perf_counter()
    drain()
    found = {"fit": returned - began, "drained": time.perf_counter() - began}
    return {**found, **our_share()} if variant == "ours" else found


def our_share() -> dict[str, float]:
    """Our seconds on the training thread as a share of the epochs', from the third epoch on, and pictures made."""
    import mlflow

    client, run = mlflow.MlflowClient(), mlflow.last_active_run().info.run_id
    spent, took = (
        sum(point.value for point in client.get_metric_history(run, key) if point.step >= 2)
        for key in ("dlviz/training_thread_seconds", "epoch_seconds")
    )
    metrics = client.get_run(run).data.metrics
    pictures = {name: metrics.get(f"dlviz/pictures_{name}", 0.0) for name in ("written", "dropped", "failed")}
    return {"share": spent / took if took else float("nan"), **pictures}


def measure_memory(epochs: int) -> dict[str, float]:
    """Resident memory in MB after a fifth and after all of the epochs, and pyplot's open figures."""
    import keras

    import mlflow_dlviz

    found: dict[str, float] = {}

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch + 1 in (max(1, epochs // 5), epochs):
                # What waits to be drawn is a backlog, not a leak.
                mlflow_dlviz.flush()
                found["early" if "early" not in found else "late"] = resident()

    x, y, x_val, y_val = digits(256, 128)
    mlflow_dlviz.autolog(cadence=1, log_models=False)
    model = small_network()
    model.fit(x, y, epochs=epochs, verbose=0, validation_data=(x_val, y_val), callbacks=[Watch()])
    pyplot = sys.modules.get("matplotlib.pyplot")
    return {**found, "figures": float(len(pyplot.get_fignums())) if pyplot else 0.0}


def resident() -> float:
    """Resident memory in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# ---- many measurements --------------------------------------------------------------------------------------


def in_process(**task: Any) -> dict[str, float]:
    """``measure`` or ``measure_memory`` in a fresh process with a fresh store."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        }
        command = [sys.executable, str(Path(__file__).resolve()), "--task", json.dumps(task)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{task}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def alternate(repeat: int, **size: int) -> dict[str, list[dict[str, float]]]:
    """All variants in turn, the order reversed every other time."""
    found: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for turn in range(repeat):
        for variant in list(VARIANTS)[:: 1 if turn % 2 == 0 else -1]:
            found[variant].append(in_process(variant=variant, **size))
            click.echo(f"  {turn + 1}/{repeat} {VARIANTS[variant]}: {found[variant][-1]['fit']:.1f} s", err=True)
    return found


def print_times(found: dict[str, list[dict[str, float]]]) -> None:
    def median(variant: str, key: str) -> float:
        return statistics.median(result[key] for result in found[variant])

    click.echo(ROW.format("seconds, median", "fit", "drained", ""))
    for variant, title in VARIANTS.items():
        fits = [result["fit"] for result in found[variant]]
        spread = f"fit from {min(fits):.1f} to {max(fits):.1f}"
        click.echo(ROW.format(title, f"{median(variant, 'fit'):.1f}", f"{median(variant, 'drained'):.1f}", spread))
    made = {name: median("ours", name) for name in ("written", "dropped", "failed")}
    click.echo("pictures: " + ", ".join(f"{count:.0f} {name}" for name, count in made.items()))
    click.echo(ROW.format("\nratio", "measured", "target", ""))
    print_ratio("ours / mlflow.keras.autolog, fit", median("ours", "fit") / median("stock", "fit"), 1.10)
    print_ratio(
        "ours / mlflow.keras.autolog, drained", median("ours", "drained") / median("stock", "drained"), 1.25
    )
    print_ratio("our share of the training thread", median("ours", "share"), 0.03)
    print_ratio("ours / fit alone, fit", median("ours", "fit") / median("bare", "fit"))
    print_ratio("by hand / ours, drained", median("by_hand", "drained") / median("ours", "drained"))


def print_memory(epochs: int) -> None:
    found = in_process(memory=epochs)
    early = max(1, epochs // 5)
    click.echo(f"resident after {early} epochs {found['early']:.0f} MB, after {epochs} {found['late']:.0f} MB")
    click.echo(ROW.format("ratio", "measured", "target", ""))
    print_ratio(f"memory after {epochs} / after {early} epochs", found["late"] / found["early"], 1.05)
    print_ratio("open pyplot figures", found["figures"], 0)


def print_ratio(title: str, value: float, target: float | None = None) -> None:
    wanted = "" if target is None else f"≤ {target:.2f}"
    verdict = "" if target is None else "ok" if value <= target else "MISSED"
    click.echo(ROW.format(title, f"{value:.3f}", wanted, verdict))


@click.command()
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1), help="Measurements per variant.")
@click.option("--epochs", default=10, show_default=True, type=click.IntRange(3), help="Per measurement.")
@click.option("--quick", is_flag=True, help="A small data set, once: whether it works, not how fast.")
@click.option("--memory", is_flag=True, help="Measure memory over 100 epochs instead (25 with --quick).")
@click.option("--task", hidden=True, help="One measurement, as JSON; for the processes that this one starts.")
def main(repeat: int, epochs: int, quick: bool, memory: bool, task: str | None) -> None:
    """Compare the cost of mlflow_dlviz.autolog() with MLflow's own autologging and a hand-written callback."""
    if task is not None:
        what = json.loads(task)
        click.echo(json.dumps(measure_memory(what["memory"]) if "memory" in what else measure(**what)))
    elif memory:
        print_memory(25 if quick else 100)
    elif quick:
        print_times(alternate(1, epochs=3, samples=512, validation=128))
    else:
        print_times(alternate(repeat, epochs=epochs, samples=8000, validation=2000))


if __name__ == "__main__":
    main()
