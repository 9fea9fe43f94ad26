"""What this process knows of the runs that it logs to, over all fits of each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflow_dlviz.ledger import Ledger
from mlflow_dlviz.patience import within
from mlflow_dlviz.store import names
from mlflow_dlviz.store.load import fetch_files, unpack_bytes
from mlflow_dlviz.store.runs import Opened
from mlflow_dlviz.tracked import RunLog
from mlflow_dlviz.visual import Arrays


@dataclass
class History:
    """One run. next_epoch: where the next ``fit`` goes on; fits: the settings of each, written to fits_path; best:
    the best epoch and its logs; frozen: by visual, what its first ``fit`` froze.
    """

    run: RunLog
    next_epoch: int = 0
    fits: list[Mapping[str, str]] = field(default_factory=list)
    best: tuple[int, Mapping[str, float]] | None = None
    frozen: dict[str, Arrays] = field(default_factory=dict)
    fits_path: str = names.FITS


_HISTORIES: dict[str, History] = {}


def history_of(opened: Opened, visuals: tuple[str, ...], seconds: float) -> History:
    """The history of a run; of one that another process began, as much as its server tells in that time."""
    key = opened.ref.run_id or opened.ref.spool_id
    if key not in _HISTORIES:
        _HISTORIES[key] = History(RunLog(opened.spool()))
        if names.NEXT_EPOCH_TAG in opened.tags:
            _resume(_HISTORIES[key], opened, visuals, seconds)
    return _HISTORIES[key]


def forget_all() -> None:
    """After a fork: what the child logs to a run is its own."""
    _HISTORIES.clear()


def _resume(history: History, opened: Opened, visuals: tuple[str, ...], seconds: float) -> None:
    history.next_epoch = whole(opened.tags.get(names.NEXT_EPOCH_TAG))
    history.best = _best(opened.metrics)
    frozen = {name: names.frozen_path(name) for name in visuals}
    try:
        paths = [names.FITS, names.LEDGER, *frozen.values()]
        found = within(seconds, lambda: fetch_files(opened.ref, paths))
        if names.FITS in found:
            history.fits = list(json.loads(found[names.FITS]))
        if names.LEDGER in found:
            history.run.ledger = Ledger.from_json(found[names.LEDGER].decode())
        history.frozen = {name: unpack_bytes(found[path]) for name, path in frozen.items() if path in found}
    except Exception as error:
        # What the other process wrote is not to be overwritten by what does not know it.
        history.fits_path = names.FITS.replace(".json", f"-{opened.ref.spool_id[:8]}.json")
        history.run.ledger_path = names.LEDGER.replace(".json", f"-{opened.ref.spool_id[:8]}.json")
        history.run.ledger.left_out("what an earlier process wrote of this run", str(error), say=False)


def _best(metrics: Mapping[str, float]) -> tuple[int, Mapping[str, float]] | None:
    logs = {name.removeprefix("best_"): value for name, value in metrics.items() if name.startswith("best_")}
    epoch = logs.pop("epoch", None)
    return None if epoch is None else (int(epoch), logs)


def whole(tag: str | None) -> int:
    """A tag as a whole number, 0 if it is none: anybody can edit a tag."""
    return int(tag) if tag is not None and tag.isdecimal() else 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_all)
