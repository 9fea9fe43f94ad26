"""What a person wants to know when something is missing: of one run, or of the installation."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from mlflow_dlviz import __version__, syncing
from mlflow_dlviz.ledger import COUNTS
from mlflow_dlviz.patience import within
from mlflow_dlviz.store import names
from mlflow_dlviz.store.images import names_are_known
from mlflow_dlviz.store.load import fetch_files
from mlflow_dlviz.store.room import default_root, limit_bytes, used_bytes
from mlflow_dlviz.store.runs import RunRef
from mlflow_dlviz.store.server import check_reachable, connect, public_uri
from mlflow_dlviz.words import count

_PACKAGES = ("mlflow", "keras", "tensorflow", "jax", "torch", "numpy", "matplotlib", "scikit-learn", "bokeh")
_ANSWER_SECONDS = 15.0


class NoLedger(LookupError):
    """The run has none: mlflow_dlviz did not log to it, or it is still training."""


def of_run(run_id: str, tracking_uri: str | None = None) -> Iterator[str]:
    """What the ledger of a run says, line by line.

    Raises NoLedger without one, ServerUnreachable, and LookupError if there is no such run.
    """
    client = connect(tracking_uri)
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise LookupError(f"run_id={run_id!r}: {error.message.splitlines()[0]}") from error
    ref = RunRef(client.tracking_uri, run_id)
    found = fetch_files(ref, [names.LEDGER])
    if names.LEDGER not in found:
        raise NoLedger(f"run {run_id} has no {names.LEDGER}: mlflow_dlviz did not log to it, or has not finished")
    yield f"run {run.info.run_name} ({run_id}): {run.info.status}"
    for line in _ledger_lines(json.loads(found[names.LEDGER])):
        # What stands in a ledger comes from others, and a terminal would obey it.
        yield "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def of_installation(tracking_uri: str | None = None) -> Iterator[tuple[bool, str]]:
    """Versions, the tracking server and the spool, line by line; False for what needs attention."""
    yield True, f"mlflow_dlviz {__version__}, Python {platform.python_version()} on {platform.system()}"
    yield True, ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))
    uri = tracking_uri or mlflow.get_tracking_uri()
    try:
        check_reachable(uri)
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiments = within(_ANSWER_SECONDS, lambda: len(client.search_experiments(max_results=1000)))
        yield True, f"tracking server {public_uri(uri)}: answers, {count(experiments, 'experiment')}"
    except (MlflowException, OSError) as error:  # no answer, none in time, or no such store
        yield False, f"tracking server {public_uri(uri)}: {str(error).splitlines()[0]}"
    if not names_are_known():
        yield False, "this MLflow names its images in a new way: pictures are logged by its own slower calls"
    yield from _spool_lines()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _spool_lines() -> Iterator[tuple[bool, str]]:
    root = default_root()
    waiting = syncing.waiting(root)
    size = f"{used_bytes(root) / 2**20:.1f} of {limit_bytes() >> 20} MB"
    if not _writable(root):
        yield False, f"spool {root}: can't be written to; what is logged waits in memory"
    held = [found for found in waiting if found.state != "training"]
    if not held:
        yield True, f"spool {root}: {size}, nothing waits"
        return
    items = sum(found.items + found.refused for found in held)
    oldest = max(found.age for found in held) / 86400
    yield (
        False,
        (
            f"spool {root}: {size}, not sent: {count(items, 'item')} of {count(len(held), 'run')}, the oldest "
            f"for {oldest:.1f} days; `mlflow-dlviz sync` sends what is left"
        ),
    )


def _writable(root: Path) -> bool:
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = root / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError:
        return False
    return True


def _ledger_lines(ledger: dict[str, Any]) -> Iterator[str]:
    counts = ledger.get("counts", {})
    written, late, dropped, failed = (counts.get(name, 0) for name in COUNTS)
    drawn = f"{count(written, 'picture')} written, {late} of them after fit had returned"
    yield f"status {ledger.get('status')}; {drawn}; {dropped} dropped, {failed} failed"
    entries = ledger.get("entries", [])
    if not entries:
        yield "nothing is missing"
    for kind, title in (("failed", "failed"), ("left_out", "does not apply, or was left out")):
        chosen = [entry for entry in entries if entry["kind"] == kind]
        if chosen:
            yield f"{title}:"
        for entry in chosen:
            at = "" if entry["step"] is None else f" (epoch {entry['step']})"
            yield f"  {entry['what']}{at}: {entry['why']}"
            yield from (f"      {line}" for line in entry["traceback"].splitlines()[-3:])
