"""Formulas in the config of a saved metric: those that Keras knows by a registered name."""

from __future__ import annotations

from typing import Any

import keras

from mlflow_dlviz.metrics.formulas import Formulas


def saved(formulas: Formulas) -> dict[str, Any]:
    """What :func:`restored` makes the formulas from, without those that have no registered name."""
    own = {name: _registered_name(formula) for name, formula in formulas.own.items()}
    names = None if formulas.names is None else list(formulas.names)
    return {"names": names, "own": {name: known for name, known in own.items() if known}}


def restored(config: dict[str, Any]) -> Formulas:
    """The formulas that were saved. Raises ValueError for one whose module was not imported."""
    own = {name: _registered(name, known) for name, known in config["own"].items()}
    return Formulas(None if config["names"] is None else tuple(config["names"]), own)


def _registered_name(formula: Any) -> str | None:
    if not hasattr(formula, "__name__"):
        return None
    name = keras.saving.get_registered_name(formula)
    return name if keras.saving.get_registered_object(name) is formula else None


def _registered(name: str, known: str) -> Any:
    formula = keras.saving.get_registered_object(known)
    if formula is None:
        raise ValueError(f"the formula {name!r} was saved as {known!r}: import the module that registers it first")
    return formula
