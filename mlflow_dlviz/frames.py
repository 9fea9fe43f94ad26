"""The frames of one ``fit``: which visuals are due, what they capture, and its way to the writer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from mlflow.entities import Metric

from mlflow_dlviz.capture.moment import Moment, NotShown
from mlflow_dlviz.drawing import Picture
from mlflow_dlviz.plots import encode_both
from mlflow_dlviz.process import writer
from mlflow_dlviz.store import names
from mlflow_dlviz.store.batch import SCHEMA_KEY, Batch, TimedImage, pack
from mlflow_dlviz.tracked import RunLog
from mlflow_dlviz.visual import Arrays, Visual

CAPTURE_SECONDS = 10.0
"""What a capture may take, or a tenth of the epoch where that is more; six times as much the first time, when it
compiles. A visual that takes longer is left out from then on.
"""

# An evolution shows no more frames than this.
_STORY = 200

# What one capture may hand on: up to 512 pictures wait to be drawn, each with its arrays.
_MOST_BYTES = 256 * 2**20

# Names that would not come back from the file as they went in: numpy's own arguments, and the schema.
_RESERVED = ("file", "allow_pickle", SCHEMA_KEY)


class Frames:
    """Captures what is due and hands on the numbers, then the pictures.

    A visual that fails is said once and left out from then on; so is one that does not apply.
    frozen: by visual, what earlier fits of the run froze; what this one does is added.
    """

    def __init__(self, visuals: Sequence[Visual], run: RunLog, frozen: dict[str, Arrays] | None = None) -> None:
        self._visuals = list(visuals)
        self._run = run
        self._earlier = {} if frozen is None else frozen
        self._frozen: dict[str, Arrays] = {}
        self._stories: dict[tuple[str, str], list[Arrays]] = {}
        self._last: dict[str, int] = {}
        self._ready: list[Callable[[], None]] = []

    def due(self, epoch: int, epochs: int) -> list[Visual]:
        """The visuals due at ``epoch`` of ``epochs``, both counted within this ``fit``."""
        return [visual for visual in list(self._visuals) if self._is_due(visual, epoch, epochs)]

    def behind(self, step: int) -> list[Visual]:
        """The visuals without a frame at ``step``: due when training ended earlier than planned."""
        return [visual for visual in self._visuals if self._last.get(visual.name) != step]

    def take(self, visuals: Sequence[Visual], moment: Moment, epoch_seconds: float = 0.0) -> None:
        """Capture ``visuals`` at ``moment``. epoch_seconds: what the epoch took."""
        try:
            self._capture(visuals, moment, epoch_seconds)
        finally:
            self._hand_on()

    def finish(self) -> None:
        """Queue the evolutions of what was captured; each stands at the step of its first frame."""
        evolve = {visual.name: visual.evolve for visual in self._visuals if visual.evolve is not None}
        for (name, leaf), frames in self._stories.items():
            if name in evolve:
                key = names.image_key(name, f"{leaf}-evolution")
                self._draw(partial(_evolved, evolve[name], frames), key, {}, int(frames[0]["epoch"]))
        self._stories = {}
        self._hand_on()

    def _capture(self, visuals: Sequence[Visual], moment: Moment, epoch_seconds: float) -> None:
        for visual in visuals:
            patience = max(CAPTURE_SECONDS, epoch_seconds / 10) * (1 if visual.name in self._last else 6)
            began = time.monotonic()
            try:
                self._take(visual, moment)
                self._judge(visual, time.monotonic() - began, patience)
            except NotShown as reason:
                self._leave_out(visual)
                self._run.ledger.left_out(visual.name, str(reason), say=False)
            except Exception as error:
                self._leave_out(visual)
                self._run.ledger.failed(f"visual {visual.name!r}", moment.epoch, error)

    def _is_due(self, visual: Visual, epoch: int, epochs: int) -> bool:
        try:
            return bool(visual.cadence.due(epoch, epochs))
        except Exception as error:
            self._leave_out(visual)
            self._run.ledger.failed(f"cadence of visual {visual.name!r}", epoch, error)
            return False

    def _leave_out(self, visual: Visual) -> None:
        self._visuals = [other for other in self._visuals if other is not visual]

    def _judge(self, visual: Visual, took: float, patience: float) -> None:
        if took > patience:
            self._leave_out(visual)
            why = f"its capture took {took:.0f} s of the training's time, more than {patience:.0f} s"
            self._run.ledger.left_out(f"visual {visual.name!r} from then on", why)

    def _take(self, visual: Visual, moment: Moment) -> None:
        frozen = self._freeze(visual, moment)
        leaves = _checked(visual, visual.capture(moment, frozen))
        files, metrics, now = {}, [], _now()
        for leaf, arrays in leaves.items():
            files[names.numbers_path(visual.name, leaf, moment.epoch)] = arrays
            metrics += [
                Metric(names.metric_key(visual.name, leaf, name), value, now, moment.epoch)
                for name in visual.metrics
                if name in arrays and np.isfinite(value := float(arrays[name]))
            ]
            self._remember(visual, leaf, moment.epoch, arrays)
        self._store(visual, moment.epoch, files, metrics)
        for leaf, arrays in leaves.items():
            self._draw(visual.draw, names.image_key(visual.name, leaf), arrays, moment.epoch)
        if leaves:
            self._last[visual.name] = moment.epoch

    def _freeze(self, visual: Visual, moment: Moment) -> Arrays:
        if visual.freeze is None:
            return {}
        if visual.name not in self._frozen:
            earlier = self._earlier.get(visual.name, {})
            frozen = _frozen(visual, visual.freeze(replace(moment, earlier=earlier)))
            # What an earlier fit of the run froze stays in its own file.
            path = names.frozen_path(visual.name, moment.epoch if earlier else None)
            self._store(visual, moment.epoch, {path: frozen}, [])
            self._frozen[visual.name], self._earlier[visual.name] = frozen, {**earlier, **frozen}
        return self._frozen[visual.name]

    def _store(self, visual: Visual, epoch: int, arrays: Mapping[str, Arrays], metrics: Sequence[Metric]) -> None:
        def batch() -> Batch:
            # Compressing takes longer than capturing did, so it is left to the writer.
            return Batch(metrics=metrics, files={path: pack(values) for path, values in arrays.items()})

        what = f"numbers of {visual.name!r} at epoch {epoch}"
        self._ready.append(lambda: writer().send(self._run, what, batch))

    def _remember(self, visual: Visual, leaf: str, epoch: int, arrays: Arrays) -> None:
        if visual.evolve is None:
            return
        frames = self._stories.setdefault((visual.name, leaf), [])
        frames.append({**arrays, "epoch": np.asarray(epoch)})
        if len(frames) > _STORY:
            # Every second one, the first and the newest kept: the story stays whole, only coarser.
            frames[:] = [*frames[:-1:2], frames[-1]]

    def _draw(self, draw: Callable[..., Any], key: str, arrays: Arrays, step: int) -> None:
        now = _now()

        def drawn() -> Batch:
            # Copies: a draw may well work in place.
            figure = draw(**{name: value.copy() for name, value in arrays.items()})
            png, webp = _encoded(figure)
            return Batch(images=[TimedImage(key, step, now, png, webp)])

        picture = Picture(self._run, f"picture {key!r}", step, drawn)
        self._ready.append(lambda: writer().draw(picture))

    def _hand_on(self) -> None:
        # Once all is captured: the writer's threads would take turns with the capture, which training waits for.
        ready, self._ready = self._ready, []
        for hand_on in ready:
            hand_on()


def _checked(visual: Visual, leaves: Any) -> dict[str, dict[str, np.ndarray]]:
    """What a capture returned, as arrays. Raises TypeError or ValueError unless it is leaf -> name -> array."""
    if not isinstance(leaves, Mapping) or not all(isinstance(arrays, Mapping) for arrays in leaves.values()):
        raise TypeError(f"{visual.name!r} captured {type(leaves).__name__}, expected {{leaf: {{name: array}}}}")
    _check_apart(visual, leaves)
    plain = {str(leaf): _kept(f"{visual.name}/{leaf}", arrays) for leaf, arrays in leaves.items()}
    size = sum(value.nbytes for arrays in plain.values() for value in arrays.values())
    if size > _MOST_BYTES:
        raise ValueError(
            f"{visual.name!r} captured {size >> 20} MB, more than {_MOST_BYTES >> 20}: reduce what it hands on"
        )
    return plain


def _check_apart(visual: Visual, leaves: Mapping[Any, Any]) -> None:
    """Raises ValueError where two pictures would have one key, so that the second would overwrite the first."""
    pictures = [str(leaf) for leaf in leaves]
    if visual.evolve is not None:
        pictures += [f"{leaf}-evolution" for leaf in pictures]
    by_key: dict[str, str] = {}
    for picture in pictures:
        key = names.clean_leaf(picture)
        if key in by_key:
            raise ValueError(f"{visual.name!r} captured leaves {by_key[key]!r} and {picture!r}: both are {key!r}")
        by_key[key] = picture


def _frozen(visual: Visual, arrays: Any) -> dict[str, np.ndarray]:
    if not isinstance(arrays, Mapping):
        raise TypeError(f"{visual.name!r} froze {type(arrays).__name__}, expected {{name: array}}")
    return _kept(f"{visual.name}, frozen", arrays)


def _kept(where: str, arrays: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """Copies that nobody can change: they are stored and drawn later, on other threads.

    Raises TypeError or ValueError for what can't be stored under its name without pickling.
    """
    kept = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"{where}: {name!r} is no name of an array, expected text")
        if name in _RESERVED:
            raise ValueError(f"{where}: an array can't be named {name!r}")
        array = np.array(value)
        if array.dtype.hasobject:
            raise TypeError(f"{where}: array {name!r} has dtype object, expected numbers or text")
        array.flags.writeable = False
        kept[name] = array
    return kept


def _encoded(figure: Any) -> tuple[bytes, bytes]:
    """A figure as a picture and its thumbnail. Raises TypeError for anything else."""
    if not callable(getattr(figure, "savefig", None)):
        raise TypeError(f"draw returned {type(figure).__name__}, expected a matplotlib Figure")
    try:
        return encode_both(figure)
    finally:
        # pyplot keeps the figures that it made, and with them all their data, until they are closed.
        if hasattr(figure, "number") and (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
            pyplot.close(figure)


def _evolved(evolve: Callable[..., Any], frames: Sequence[Arrays]) -> Any:
    return evolve(**{name: np.stack([frame[name] for frame in frames]) for name in frames[0]})


def _now() -> int:
    return int(time.time() * 1000)
