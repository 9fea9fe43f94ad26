"""Which of several processes logs. They train one model, so they make one run, and one of them writes it.

Read from the environment each time, as some launchers set it after Python has started. SLURM's and MPI's task
numbers are not read: a step of several tasks may as well be several trainings. Where ``jax.distributed`` was
initialised from them, its process index says what is meant.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import keras

from mlflow_dlviz.ledger import logger

_CHIEFS = ("chief", "master")


def is_chief() -> bool:
    """Whether this process logs: the only one, or the chief of several.

    In this order: ``jax.process_index()`` on Keras' JAX backend, once ``jax.distributed`` is initialised;
    ``TF_CONFIG``, where the chief is the task "chief", or without one worker 0, and never "ps" or "evaluator";
    ``RANK`` where ``WORLD_SIZE`` is more than 1.  What can't be read is said once and taken for one process.
    """
    if keras.backend.backend() == "jax" and (found := _jax_chief()) is not None:
        return found
    for read, names in ((_tensorflow_chief, ("TF_CONFIG",)), (_ranked_chief, ("RANK", "WORLD_SIZE"))):
        given = {name: os.environ[name] for name in names if os.environ.get(name)}
        try:
            found = read(given)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _warn(", ".join(f"{name}={value!r}" for name, value in given.items()), str(error))
            continue
        if found is not None:
            return found
    return True


def _tensorflow_chief(given: Mapping[str, str]) -> bool | None:
    if not given:
        return None
    config = json.loads(given["TF_CONFIG"])
    cluster, task = config.get("cluster") or {}, config.get("task") or {}
    if not task:
        return None
    kind, index = task["type"], int(task.get("index", 0))
    if any(chief in cluster for chief in _CHIEFS) or kind in _CHIEFS:
        return kind in _CHIEFS
    return kind == "worker" and index == 0


def _ranked_chief(given: Mapping[str, str]) -> bool | None:
    if "RANK" not in given or "WORLD_SIZE" not in given:
        return None
    rank, size = int(given["RANK"]), int(given["WORLD_SIZE"])
    if not 0 <= rank < max(1, size):
        raise ValueError(f"expected a rank from 0 to {size - 1}")
    return rank == 0


def _jax_chief() -> bool | None:
    jax: Any = sys.modules.get("jax")
    initialised = getattr(getattr(jax, "distributed", None), "is_initialized", None)
    return jax.process_index() == 0 if initialised is not None and initialised() else None


@functools.cache
def _warn(setting: str, why: str) -> None:
    logger.warning("mlflow_dlviz: %s is not understood (%s); this process logs as the only one", setting, why)
