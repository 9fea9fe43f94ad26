"""How long it takes to read the metrics of many runs: of a local store and of a server, and a second time.

Beside it, MLflow's client asked for each metric of each run, on some of the runs and extrapolated to all, in the
same process. What counts is CPU time, of the server too; the machine need not be quiet.

    python benchmarks/fetch_runs.py             # 500 runs x 6 metrics x 500 points: about 10 minutes on 2 cores
    python benchmarks/fetch_runs.py --quick     # only whether it works
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import sqlalchemy
from mlflow import MlflowClient

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from servers import Process, mlflow_process  # noqa: E402

from mlflow_dlviz.reporting.bundle import Query  # noqa: E402
from mlflow_dlviz.reporting.fetching.fetch import fetch  # noqa: E402
from mlflow_dlviz.reporting.fetching.source import Reading  # noqa: E402
from mlflow_dlviz.reporting.options import Options  # noqa: E402

EXPERIMENT = "benchmark"
KEYS = ("loss", "accuracy", "mcc", "val_loss", "val_accuracy", "val_mcc")
START_MS = 1_700_000_000_000

ROW = "| {:<44} | {:>9} | {:>9} | {:>9} | {:>8} | {:>8} |"
HEADS = ("", "ours, s", "wall, s", "MLflow, s", "times", "requests")


@dataclass(frozen=True)
class Size:
    """points: of each metric of each run; sample: runs that MLflow's client is timed on."""

    runs: int = 500
    points: int = 500
    sample: int = 20


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU, here and on the server, and of wall time."""

    cpu: float
    wall: float


def fill(uri: str, folder: Path, size: Size) -> None:
    """Finished runs with random walks, written past MLflow's API, which would take an hour."""
    client = MlflowClient(uri)
    experiment = client.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
    rng = np.random.default_rng(0)
    engine = sqlalchemy.create_engine(uri)
    for number in range(size.runs):
        start = START_MS + number * 1000
        run_id = client.create_run(experiment, run_name=f"run-{number}", start_time=start).info.run_id
        client.log_param(run_id, "lr", 0.1 / (1 + number % 5))
        with engine.begin() as connection:
            for key in KEYS:
                values = np.cumsum(rng.normal(size=size.points)).tolist()
                _insert(connection, run_id, key, values, start)
        client.set_terminated(run_id, end_time=start + size.points * 1000)
    engine.dispose()


def _insert(connection: sqlalchemy.Connection, run_id: str, key: str, values: list[float], start: int) -> None:
    rows = [
        {"key": key, "value": value, "time": start + 1000 * step, "step": step, "run": run_id}
        for step, value in enumerate(values)
    ]
    told = "(key, value, timestamp, step, run_uuid, is_nan) VALUES (:key, :value, :time, :step, :run, 0)"
    connection.execute(sqlalchemy.text(f"INSERT INTO metrics {told}"), rows)
    connection.execute(sqlalchemy.text(f"INSERT INTO latest_metrics {told}"), rows[-1:])


@contextmanager
def served(folder: Path, uri: str) -> Iterator[tuple[Process, str]]:
    """A real server before the store."""
    (folder / "server").mkdir()
    server, address = mlflow_process(folder / "server", uri, str(folder / "artifacts"))
    server.start()
    try:
        yield server, address
    finally:
        server.kill()


def timed(act: Callable[[], object], server: Process | None = None) -> Cost:
    """What ``act`` costs in all threads of this process and in all processes of ``server``."""
    cpu, there, wall = time.process_time(), _server_cpu(server), time.perf_counter()
    act()
    return Cost(
        time.process_time() - cpu + _server_cpu(server) - there,
        time.perf_counter() - wall,
    )


def _server_cpu(server: Process | None) -> float:
    if server is None or server.process is None:
        return 0.0
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended in the meantime
            continue
        if int(fields[2]) == server.process.pid:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def one_by_one(client: MlflowClient, run_ids: list[str]) -> None:
    """What one would write without us."""
    for run_id in run_ids:
        for key in KEYS:
            client.get_metric_history(run_id, key)


def measure(what: str, uri: str, size: Size, server: Process | None = None) -> Iterator[str]:
    """The rows of the table for one store: read, read again, and by MLflow's client."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    run_ids = [run.info.run_id for run in client.search_runs([experiment], max_results=size.sample)]
    alone = timed(lambda: one_by_one(client, run_ids), server)
    theirs = alone.cpu * size.runs / len(run_ids)
    query = Query("", experiments=(EXPERIMENT,), limit=size.runs)
    for again, name in enumerate((f"{what}: first", f"{what}: again, nothing changed")):
        read: list = []
        with requests_of(uri, server) as requests:
            cost = timed(lambda into=read: into.append(fetch(query, Options(), Reading(uri))), server)
        check(read[0], size)
        if again and requests():
            raise SystemExit(f"{what}: {requests()} requests for histories, though nothing has changed")
        yield ROW.format(
            name, f"{cost.cpu:.1f}", f"{cost.wall:.1f}", f"{theirs:.0f}", f"{theirs / cost.cpu:.0f}", requests()
        )


def check(bundle: object, size: Size) -> None:
    """All is there."""
    points = sum(len(series.steps) for run in bundle.runs for series in run.histories.values())
    if points != size.runs * len(KEYS) * size.points or bundle.problems:
        raise SystemExit(f"{points} points were read; {bundle.problems}")


@contextmanager
def requests_of(uri: str, server: Process | None) -> Iterator[Callable[[], int]]:
    """How many requests, or queries of the table, there were for histories."""
    if server is not None:
        log = server.folder / "log"
        before = log.read_text(errors="replace").count("metrics/get-history")
        yield lambda: log.read_text(errors="replace").count("metrics/get-history") - before
        return
    engine = MlflowClient(uri)._tracking_client.store.engine
    seen: list[str] = []

    def listen(connection: object, cursor: object, statement: str, *more: object) -> None:
        if "FROM metrics" in statement:
            seen.append(statement)

    sqlalchemy.event.listen(engine, "before_cursor_execute", listen)
    try:
        yield lambda: len(seen)
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", listen)


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Small, to see whether it works.")
def main(quick: bool) -> None:
    """Fill a store, read it, print a table."""
    size = Size(runs=20, points=50, sample=5) if quick else Size()
    with tempfile.TemporaryDirectory(prefix="dlviz-fetch-") as name:
        folder = Path(name)
        os.environ["MLFLOW_DLVIZ_CACHE"] = str(folder / "cache")
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        fill(uri, folder, size)
        points = size.runs * len(KEYS) * size.points
        click.echo(f"{size.runs} runs x {len(KEYS)} metrics x {size.points} points = {points:,}; CPU seconds,")
        click.echo(f"MLflow's client timed on {size.sample} runs and extrapolated\n")
        click.echo(ROW.format(*HEADS))
        click.echo("|" + "|".join("-" * (width + 2) for width in (44, 9, 9, 9, 8, 8)) + "|")
        for row in measure("local store", uri, size):
            click.echo(row)
        with served(folder, uri) as (server, address):
            for row in measure("server, both sides", address, size, server):
                click.echo(row)


if __name__ == "__main__":
    main()
