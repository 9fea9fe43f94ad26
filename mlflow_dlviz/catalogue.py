"""The built-in visuals, one capture joined to one plot each, and those that other packages register.

A factory's keyword arguments are the visual's options: ``autolog(visuals=[catalogue.boundary(grid=96)])``.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import entry_points
from typing import Any

from mlflow_dlviz.ledger import logger
from mlflow_dlviz.visual import Cadence, LogSpaced, Visual

GROUP = "mlflow_dlviz.visuals"
"""Entry-point group: a :class:`Visual`, or a factory of one, under the visual's name."""


def activations(*, channels: int = 64, cadence: Cadence = LogSpaced(20)) -> Visual:
    """Activation grid of the layers, from convolution to attention, on a fixed channel choice and colour scale.

    channels: at most so many of a layer, evenly spread.
    """
    from mlflow_dlviz.capture import activations as captured
    from mlflow_dlviz.plots import activations as drawn

    _check_count("activations", "channels", channels, 1)
    return Visual(
        name="activations",
        capture=captured.capture,
        freeze=partial(captured.freeze, channels=channels),
        draw=drawn.draw,
        needs=("activations",),
        metrics=("dead",),
        cadence=cadence,
        summary=_summary(activations),
    )


def probabilities(*, cadence: Cadence = LogSpaced(20)) -> Visual:
    """Histogram of the predicted probability by true class, over the whole validation set, and its evolution."""
    from mlflow_dlviz.capture import probabilities as captured
    from mlflow_dlviz.plots import probabilities as drawn

    return Visual(
        name="probabilities",
        capture=captured.capture,
        draw=drawn.draw,
        evolve=drawn.evolve,
        needs=("scores",),
        cadence=cadence,
        summary=_summary(probabilities),
    )


def boundary(
    *, grid: int = 64, feature_names: Sequence[str] | None = None, cadence: Cadence = LogSpaced(20)
) -> Visual:
    """Decision boundary on 2 features, or on the principal plane of more, with how far that plane agrees.

    grid: points along each side. feature_names: labels of the axes where there are 2 features.
    """
    from mlflow_dlviz.capture import boundary as captured
    from mlflow_dlviz.plots import boundary as drawn

    _check_count("boundary", "grid", grid, 2)
    names = None if feature_names is None else tuple(str(name) for name in feature_names)
    return Visual(
        name="boundary",
        capture=captured.capture,
        freeze=partial(captured.freeze, grid=grid, feature_names=names),
        draw=drawn.draw,
        needs=("predict",),
        metrics=("agreement",),
        cadence=cadence,
        summary=_summary(boundary),
    )


def residuals(*, cadence: Cadence = LogSpaced(20)) -> Visual:
    """Predicted against true values and the histogram of their difference, over the whole validation set."""
    from mlflow_dlviz.capture import residuals as captured
    from mlflow_dlviz.plots import residuals as drawn

    return Visual(
        name="residuals",
        capture=captured.capture,
        draw=drawn.draw,
        evolve=drawn.evolve,
        needs=("scores",),
        cadence=cadence,
        summary=_summary(residuals),
    )


BUILT_IN: dict[str, Callable[..., Visual]] = {
    "activations": activations,
    "probabilities": probabilities,
    "boundary": boundary,
    "residuals": residuals,
}


def known() -> dict[str, Callable[..., Visual]]:
    """Factories by name: the built-in ones, then the registered ones, which can't take a built-in's name."""
    registered = {point.name: partial(_load, point) for point in entry_points(group=GROUP)}
    return {**registered, **BUILT_IN}


def resolve(visuals: Sequence[str | Visual] | None) -> tuple[Visual, ...]:
    """The visuals that ``autolog(visuals=...)`` asks for; None is every known one.

    Raises TypeError or ValueError, naming the argument, its value and what was expected.
    """
    factories = known()
    if visuals is None:
        return tuple(_working(factories))
    if isinstance(visuals, str | Visual) or not isinstance(visuals, Sequence):
        raise TypeError(f"visuals={visuals!r}: expected a list of names and Visual values")
    found = tuple(_one(item, factories) for item in visuals)
    names = [visual.name for visual in found]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"visuals={visuals!r}: the name {repeated[0]!r} stands for more than one visual")
    return found


def options(factory: Callable[..., Visual]) -> dict[str, Any]:
    """A factory's options and their defaults."""
    if isinstance(factory, partial):
        return {}
    return {name: value.default for name, value in inspect.signature(factory).parameters.items()}


def describe(factory: Callable[..., Visual]) -> str:
    """One line on a visual, for a list of them; of one that can't be loaded, why."""
    if not isinstance(factory, partial):
        return _summary(factory)
    try:
        return factory().summary
    except Exception as error:
        return f"can't be loaded: {type(error).__name__}: {error}"


def _one(item: Any, factories: dict[str, Callable[..., Visual]]) -> Visual:
    if isinstance(item, Visual):
        return item
    if not isinstance(item, str):
        raise TypeError(f"visuals: {item!r} is neither a name nor a Visual")
    if item not in factories:
        close = difflib.get_close_matches(item, factories, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"visuals: unknown visual {item!r}, expected one of {sorted(factories)}{hint}")
    return factories[item]()


def _working(factories: dict[str, Callable[..., Visual]]) -> Iterator[Visual]:
    # Another package's broken visual must not take the others away from who did not ask for it by name.
    for name, factory in factories.items():
        try:
            yield factory()
        except Exception as error:
            if name in BUILT_IN:
                raise
            logger.warning("mlflow_dlviz: registered visual %r can't be loaded and is left out: %s", name, error)


def _load(point: Any) -> Visual:
    found = point.load()
    visual = found if isinstance(found, Visual) else found()
    if not isinstance(visual, Visual):
        raise TypeError(f"entry point {point.name!r} of {GROUP} gives {visual!r}, expected a Visual")
    if visual.name != point.name:
        raise ValueError(f"entry point {point.name!r} of {GROUP} gives a visual named {visual.name!r}")
    return visual


def _summary(factory: Callable[..., Visual]) -> str:
    return (factory.__doc__ or "").strip().splitlines()[0]


def _check_count(visual: str, option: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{visual}({option}={value!r}): expected a whole number of at least {least}")
