"""What a tracking server's faults cost a training, and what of it is lost.

A real ``mlflow server`` stands behind a proxy that fails as told. Each training is a process of its own: 20
epochs of 1.2 s, pictures at every epoch, the server failing after epoch 5.

    python benchmarks/faults.py                      # about 12 minutes
    python benchmarks/faults.py --quick              # only whether it works
    python benchmarks/faults.py --backend postgres   # PostgreSQL and S3 (moto) behind the server
    python benchmarks/faults.py --stock              # mlflow.keras.autolog beside it: half an hour a fault
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from servers import Process, Proxy, backend  # noqa: E402

ROW = "| {:<46} | {:>9} | {:>7} | {:>13} | {:>10} |"


@dataclass(frozen=True)
class Fault:
    """before: the proxy's mode from the start; after: from the end of epoch 5 on; back: seconds until it works
    again, None for never; killed: whether the server itself is killed, or, with "training", the training.
    """

    name: str
    before: str = "pass"
    after: str = "pass"
    back: float | None = None
    killed: str = ""
    spool: str = ""


FAULTS = (
    Fault("none"),
    Fault("server absent from the start", before="gone", after="gone"),
    Fault("server killed", killed="server"),
    Fault("server killed, back after 10 s", killed="server", back=10),
    Fault("hangs without answering", after="hang"),
    Fault("hangs, well again after 10 s", after="hang", back=10),
    Fault("answers 500", after="500"),
    Fault("answers 429 for 10 s", after="429", back=10),
    Fault("answers 413", after="413"),
    Fault("loses every connection in mid-upload", after="cut"),
    Fault("spool folder can't be written, server well", spool="none"),
    Fault("spool folder can't be written, server gone 10 s", spool="none", after="gone", back=10),
    Fault("training killed by kill -9", killed="training"),
)


# ---- the training, in a process of its own ------------------------------------------------------------------


def train(flavour: str, epochs: int, pause: float) -> None:
    """Print ``epoch N`` after each, then the seconds that ``fit`` took."""
    import keras
    from sklearn.datasets import load_digits

    if flavour == "stock":
        import mlflow

        mlflow.keras.autolog()
    elif flavour == "ours":
        import mlflow_dlviz

        mlflow_dlviz.autolog(cadence=1)

    class Tell(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            time.sleep(pause)
            print("epoch", epoch, flush=True)

    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    layers = [keras.layers.Dense(32, "relu"), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((64,)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy")
    began = time.perf_counter()
    model.fit(x / 16, y, epochs=epochs, validation_split=0.2, verbose=0, callbacks=[Tell()])
    print("fit", time.perf_counter() - began, flush=True)


# ---- one fault ----------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """The server and the way to it. epochs, pause: of the training."""

    server: Process
    proxy: Proxy
    folder: Path
    flavour: str
    epochs: int
    pause: float

    def run(self, fault: Fault) -> dict[str, Any]:
        """fit: seconds, None if it never came back; script: seconds; missing, after: items of the run."""
        spool = self.folder / fault.name.replace(" ", "_")
        if fault.spool:
            spool = Path("/dev/null/spool")
        self.proxy.mode = fault.before
        experiment = f"{self.flavour} {fault.name}"
        child = self._start(spool, experiment)
        began = time.perf_counter()
        fit = self._follow(child, fault)
        child.wait(timeout=3000)
        took = time.perf_counter() - began
        if self.server.process is None:
            self.server.start()
        self.proxy.mode = "pass"
        before = self.items(experiment)
        if self.flavour == "ours" and not fault.spool:
            sync = [sys.executable, "-m", "mlflow_dlviz", "sync", "-q"]
            subprocess.run(
                sync, env=self._environment(spool, experiment), check=True, timeout=600, cwd=self.folder
            )
        return {"fit": fit, "script": took, "before": before, "after": self.items(experiment)}

    def _environment(self, spool: Path, experiment: str) -> dict[str, str]:
        return {
            **os.environ,
            "MLFLOW_TRACKING_URI": self.proxy.address,
            "MLFLOW_EXPERIMENT_NAME": experiment,
            "MLFLOW_DLVIZ_SPOOL": str(spool),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def _start(self, spool: Path, experiment: str) -> subprocess.Popen:
        command = [sys.executable, __file__, "--train", self.flavour, str(self.epochs), str(self.pause)]
        with open(self.folder / "training.log", "ab") as log:
            environment = self._environment(spool, experiment)
            return subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def _follow(self, child: subprocess.Popen, fault: Fault) -> float | None:
        """Let the fault happen, and give the seconds that ``fit`` took."""
        due: float | None = None
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("epoch") and int(line.split()[1]) == 5:
                self._strike(child, fault)
                due = None if fault.back is None else time.monotonic() + fault.back
            if due is not None and time.monotonic() >= due:
                due = None
                self._mend()
            if line.startswith("fit"):
                return float(line.split()[1])
        return None

    def _strike(self, child: subprocess.Popen, fault: Fault) -> None:
        if fault.killed == "training":
            child.kill()
        elif fault.killed == "server":
            self.server.kill()
        elif fault.after != self.proxy.mode:
            self.proxy.mode = fault.after

    def _mend(self) -> None:
        if self.server.process is None:
            self.server.start()
        self.proxy.mode = "pass"

    def items(self, experiment: str) -> int:
        """How many metric values, parameters, files and models the experiment's runs have."""
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=self.proxy.address)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return 0
        total = 0
        for run in client.search_runs([found.experiment_id]):
            run_id = run.info.run_id
            total += sum(len(client.get_metric_history(run_id, key)) for key in run.data.metrics)
            total += len(run.data.params) + len(run.outputs.model_outputs) + len(run.inputs.dataset_inputs)
            total += sum(1 for _ in files(client, run_id, ""))
        return total


def files(client: Any, run_id: str, folder: str) -> Iterator[str]:
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from files(client, run_id, item.path)
        else:
            yield item.path


# ---- the table ----------------------------------------------------------------------------------------------


@click.command()
@click.option("--backend", "kind", default="sqlite", type=click.Choice(["sqlite", "postgres"]), show_default=True)
@click.option("--quick", is_flag=True, help="8 short epochs.")
@click.option("--stock", is_flag=True, help="mlflow.keras.autolog instead of mlflow_dlviz.")
@click.option("--only", default="", help="Faults whose name contains this.")
@click.option("--train", "training", nargs=3, type=(str, int, float), hidden=True)
def main(kind: str, quick: bool, stock: bool, only: str, training: tuple[str, int, float] | None) -> None:
    """Print the table: each fault, what fit took, and what was missing of the run then and after sync."""
    if training is not None:
        train(*training)
        return
    flavour = "stock" if stock else "ours"
    with tempfile.TemporaryDirectory(prefix="faults-") as name, backend(kind, Path(name)) as (server, address):
        proxy = Proxy(int(address.rsplit(":")[-1]))
        bench = Bench(server, proxy, Path(name), flavour, *((8, 0.3) if quick else (20, 1.2)))
        print_table(bench, [fault for fault in FAULTS if only in fault.name])


def print_table(bench: Bench, faults: list[Fault]) -> None:
    undisturbed = bench.run(FAULTS[0])
    whole = undisturbed["after"]
    click.echo(f"an undisturbed run: {whole} items")
    click.echo(ROW.format("fault", "fit, s", "ratio", "missing then", "after sync"))
    click.echo("|---|---:|---:|---:|---:|")
    results: list[tuple[Fault, dict[str, Any]]] = [(FAULTS[0], undisturbed)]
    show(*results[0], undisturbed)
    for fault in faults:
        if fault is not FAULTS[0]:
            results.append((fault, bench.run(fault)))
            show(*results[-1], undisturbed)
    lost = [fault.name for fault, found in results if fault.killed != "training" and found["after"] < whole]
    click.echo(f"lost for good in: {', '.join(lost) or 'none'}")


def show(fault: Fault, found: dict[str, Any], undisturbed: dict[str, Any]) -> None:
    fit = found["fit"]
    whole = undisturbed["after"]
    missing, after = whole - found["before"], whole - found["after"]
    if fault.killed == "training":
        # What epochs that never ran would have logged is not lost.
        after_text = f"{found['after']} there"
        click.echo(ROW.format(fault.name, "–", "–", f"{found['before']} there", after_text))
        return
    click.echo(ROW.format(fault.name, f"{fit:.1f}", f"{fit / undisturbed['fit']:.2f}", missing, after))


if __name__ == "__main__":
    main()
