"""From the spool to the server: in order, in groups, and what the server refuses kept aside."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import mlflow
import requests
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from mlflow_dlviz.store import names
from mlflow_dlviz.store.batch import Batch, End, merge
from mlflow_dlviz.store.put import put
from mlflow_dlviz.store.runs import SPOOL_TAG, RunRef, make_run
from mlflow_dlviz.store.server import check_reachable
from mlflow_dlviz.store.spool import Item, Plan, Spool

MakePage = Callable[[str, str], Mapping[str, bytes]]
"""``(tracking_uri, run_id) -> files``: the run's own page, from what the server has by then."""

_ITEMS_A_GROUP = 64
_BYTES_A_GROUP = 16 * 2**20
_ASK_SECONDS = 5.0

# Of the 4xx these say nothing about what was sent: try again, perhaps after logging in.
_NOT_ITS_FAULT = (401, 403, 407, 408, 425, 429)


class Unavailable(Exception):
    """The server can't take anything now; what was to be sent stays where it is."""


class Gone(Exception):
    """The run is deleted, or not on this server: nothing more can be sent to it as it is."""


@dataclass
class Delivered:
    """What came of it. refused: what the server would not have, and why."""

    items: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


def deliver(
    spool: Spool, *, page: MakePage, seconds: float | None = None, sent: Callable[[int], None] | None = None
) -> Delivered:
    """Send what waits in ``spool``, as long as nothing stands in the way; the caller holds its lock.

    seconds: begin no new group after so many. sent: called with the number of items after each group.
    Raises Unavailable and Gone.
    """
    ref = _with_run(spool)
    outcome = Delivered()
    began = time.monotonic()
    while items := _group(spool.waiting()):
        _check_line(ref)
        count = _send_group(spool, ref, items, page, outcome)
        outcome.items += count
        if sent is not None:
            sent(count)
        if seconds is not None and time.monotonic() - began > seconds:
            break
    return outcome


def close_run(ref: RunRef, ledger: str, *, path: str = names.LEDGER, end: End | None = None) -> None:
    """Send the ledger, behind everything else. end: of a run whose process ended without closing it.

    Raises Unavailable and Gone.
    """
    document = json.loads(ledger)
    now, step, counts = int(time.time() * 1000), document["step"], document["counts"]
    batch = Batch(
        metrics=[Metric(f"dlviz/pictures_{name}", float(count), now, step) for name, count in counts.items()],
        tags={names.STATUS_TAG: document["status"]},
        # What can't be encoded is escaped, which is JSON's own way to write it.
        files={path: json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")},
        end=end,
    )
    with _told(ref):
        put(ref, batch)


def takes(tracking_uri: str, plan: Plan) -> bool:
    """Whether what ``plan`` is of can go to this server: a run that none knows yet, or one that it knows, too."""
    if plan.run_id is None:
        return True
    try:
        check_reachable(tracking_uri, _ASK_SECONDS)
        mlflow.MlflowClient(tracking_uri=tracking_uri).get_run(plan.run_id)
    except (ConnectionError, MlflowException):
        return False
    return True


def _with_run(spool: Spool) -> RunRef:
    """The run of the spool, made on its server where it is not there yet."""
    plan = spool.plan
    ref = RunRef(plan.tracking_uri, plan.run_id, plan.spool_id)
    if plan.run_id is not None:
        return ref
    _check_line(ref)
    with _told(ref):
        to = mlflow.MlflowClient(tracking_uri=plan.tracking_uri)
        experiment = _experiment(to, plan)
        found = to.search_runs([experiment], f"tags.`{SPOOL_TAG}` = '{plan.spool_id}'", max_results=1)
        run = found[0] if found else make_run(plan, experiment)
    spool.change(run_id=run.info.run_id)
    return replace(ref, run_id=run.info.run_id)


def _experiment(to: mlflow.MlflowClient, plan: Plan) -> str:
    if not plan.experiment.startswith("name:"):
        return plan.experiment or "0"
    name = plan.experiment.removeprefix("name:")
    found = to.get_experiment_by_name(name)
    return found.experiment_id if found is not None else to.create_experiment(name)


def _group(items: Sequence[Item]) -> list[Item]:
    """The first of them, as many as are sent together."""
    taken: list[Item] = []
    size = 0
    for item in items[:_ITEMS_A_GROUP]:
        size += item.size
        if taken and size > _BYTES_A_GROUP:
            break
        taken.append(item)
    return taken


def _send_group(spool: Spool, ref: RunRef, items: list[Item], page: MakePage, outcome: Delivered) -> int:
    """How many of them the server has taken or refused."""
    try:
        _send(spool, ref, items, page, outcome)
        return len(items)
    except (Unavailable, Gone):
        raise
    except Exception as error:
        if len(items) == 1:
            outcome.refused.append((items[0].what, f"{type(error).__name__}: {error}"))
            spool.refuse(items[0])
            return 1
    # One bad item must not take the others with it.
    return sum(_send_group(spool, ref, [item], page, outcome) for item in items)


def _send(spool: Spool, ref: RunRef, items: list[Item], page: MakePage, outcome: Delivered) -> None:
    with tempfile.TemporaryDirectory(prefix="dlviz-") as scratch:
        batch = merge([item.read(Path(scratch, str(item.number))) for item in items])
        with _told(ref):
            refused = put(ref, batch)
    outcome.refused += [(sentence.split(" = ")[0], sentence) for sentence in refused]
    if batch.page:
        send_page(ref, page, outcome)
    for item in items:
        spool.done(item)


def send_page(ref: RunRef, page: MakePage, outcome: Delivered) -> None:
    """Make the run's own page and send it. Raises Unavailable and Gone."""
    try:
        files = page(ref.tracking_uri, ref.known_id)
    except Exception as error:  # of drawing or of reading: the numbers are there all the same
        _check_line(ref)
        outcome.refused.append(("the run's page", f"{type(error).__name__}: {error}"))
        return
    with _told(ref):
        put(ref, Batch(files=files))


def _check_line(ref: RunRef) -> None:
    try:
        check_reachable(ref.tracking_uri, _ASK_SECONDS)
    except ConnectionError as error:
        raise Unavailable(str(error)) from error


@contextmanager
def _told(ref: RunRef) -> Iterator[None]:
    """Turn what sending raises into Unavailable or Gone; what is left is the fault of what was sent."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError):
        raise
    except Exception as error:
        status = _http_status(error)
        if status is None or status >= 500 or status in _NOT_ITS_FAULT:
            raise Unavailable(f"{type(error).__name__}: {_first_line(error)}") from error
        if ref.run_id is not None:
            _check_run(ref)
        raise


def _check_run(ref: RunRef) -> None:
    try:
        run = mlflow.MlflowClient(tracking_uri=ref.tracking_uri).get_run(ref.known_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise Gone(f"run {ref.run_id} does not exist on its server") from error
        raise Unavailable(_first_line(error)) from error
    if run.info.lifecycle_stage == "deleted":
        raise Gone(f"run {ref.run_id} is deleted; `mlflow runs restore` brings it back")


def _http_status(error: Exception) -> int | None:
    """What a server answered, or would have; None where it was not asked."""
    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return error.response.status_code
    if isinstance(error, requests.exceptions.RequestException):
        return None
    if isinstance(error, MlflowException):
        # Of a status that MLflow has no error code for, such as 413, only the text tells.
        said = re.search(r"failed with error code (\d{3})", str(error))
        return int(said[1]) if said else error.get_http_status_code()
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]
