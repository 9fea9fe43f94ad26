"""What MLflow keeps of the current thread besides its public functions (private names, seen in mlflow 3.17.2).

Each function does without where the names have changed: then MLflow's public way is taken, which may ask the
server and wait for it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mlflow
from mlflow.tracking import fluent


def leave_run(run_id: str, status: str) -> None:
    """Take the run off this thread's stack of active runs, without a word to the server.

    ``mlflow.end_run`` would wait four minutes for one that is gone; that the run has ended is sent by us.
    """
    try:
        stack = fluent._active_run_stack.get()
        if stack and stack[-1].info.run_id == run_id:
            stack.pop()
            fluent._last_active_run_id.set(run_id)
            monitor = fluent.run_id_to_system_metrics_monitor.pop(run_id, None)
            if monitor is not None:
                monitor.finish()
    except AttributeError:
        active = mlflow.active_run()
        if active is not None and active.info.run_id == run_id:
            mlflow.end_run(status)


def last_run_id() -> str | None:
    """The id of the run that was active last in this thread, unasked."""
    try:
        return fluent._last_active_run_id.get()
    except AttributeError:
        return None


def experiment_id() -> str:
    """The experiment that a new run would belong to; may ask the server, and make it there."""
    try:
        return fluent._get_experiment_id() or "0"
    except AttributeError:
        return os.environ.get("MLFLOW_EXPERIMENT_ID") or "0"


def experiment_unasked() -> str:
    """The same without asking: an id, or ``name:<name>`` to be looked up later."""
    # `mlflow.set_experiment` leaves the id in the environment, for processes that it starts.
    given, name = os.environ.get("MLFLOW_EXPERIMENT_ID"), os.environ.get("MLFLOW_EXPERIMENT_NAME")
    return given or (f"name:{name}" if name else "0")


def context_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """``tags`` with what MLflow adds to each run: user, source, commit."""
    try:
        from mlflow.tracking.context import registry

        return registry.resolve_tags(dict(tags))
    except (ImportError, AttributeError):
        return dict(tags)


def random_name(fallback: str) -> str:
    """A name for a run, as MLflow makes them up."""
    try:
        from mlflow.utils.name_utils import _generate_random_name
    except ImportError:
        return fallback
    with _random_untouched():
        return _generate_random_name()


@contextmanager
def _random_untouched() -> Iterator[Any]:
    # MLflow draws names from Python's global generator, which Keras' PyDataset shuffles with: opening a run
    # must not change the weights that a seeded script arrives at.
    state = random.getstate()
    random.seed()
    try:
        yield
    finally:
        random.setstate(state)
