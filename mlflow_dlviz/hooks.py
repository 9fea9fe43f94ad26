"""The two places where we hook into Keras, and what happens there when ``fit`` is called.

``keras.callbacks.CallbackList.__init__`` is the seam that is there whoever else has patched ``fit``, in any
order of enabling: only ``fit`` asks it for a History.  The wrapper around ``keras.Model.fit`` does what a
callback can't: it sees ``fit`` raise, and it hands wrappers under it a callback list of their own to change.

Both are plain assignments. MLflow's ``safe_patch`` would take the unwrapped ``fit`` for the original and so
put out every other flavour's patch, and be put out by them.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from mlflow_dlviz import nesting
from mlflow_dlviz.callback import Closing, Opening, Session
from mlflow_dlviz.capture.fit_frame import find_fit
from mlflow_dlviz.cluster import is_chief
from mlflow_dlviz.ledger import logger
from mlflow_dlviz.options import Options
from mlflow_dlviz.process import call_at_exit

# The sessions of a fit whose wrapper another package's patch has put out: nobody sees that fit raise. With their
# threads, where their fit can be found on the stack, or None.
_UNWATCHED: list[tuple[Session, int | None]] = []


@dataclass(frozen=True)
class _Wrapped:
    """A wrapper of ours around ``fit``. inherited: whether ``keras.Model`` had no ``fit`` of its own before."""

    wrapper: Callable[..., Any]
    original: Callable[..., Any]
    inherited: bool


class _State:
    options: Options | None = None
    init: Callable[..., None] | None = None
    wrapped: list[_Wrapped] = []


def _options() -> Options | None:
    """The options of a fit that begins here and now, None if it is to be left alone."""
    return _State.options if not nesting.PAUSED.get() and is_chief() else None


def install(options: Options) -> None:
    """Hook in with ``options``, or change them where we are hooked in already."""
    _State.options = options
    if _State.init is None:
        _State.init = keras.callbacks.CallbackList.__init__
        keras.callbacks.CallbackList.__init__ = _seam(_State.init)
    _wrap_fit()


def remove() -> None:
    """Put Keras back as it was."""
    _State.options = None
    if _State.init is not None:
        keras.callbacks.CallbackList.__init__ = _State.init
        _State.init = None
    while _State.wrapped:
        last = _State.wrapped.pop()
        if keras.Model.fit is not last.wrapper:
            _forget_in_mlflow(last)
        elif last.inherited:
            del keras.Model.fit
        else:
            keras.Model.fit = last.original


def _wrap_fit() -> None:
    if _State.wrapped and keras.Model.fit is _State.wrapped[-1].wrapper:
        return
    original = keras.Model.fit
    keras_own = "fit" not in vars(keras.Model)
    wrapper = _wrapper(original)
    keras.Model.fit = wrapper
    _State.wrapped.append(_Wrapped(wrapper, original, keras_own))


def _forget_in_mlflow(ours: _Wrapped) -> None:
    """Take our wrapper out of what MLflow puts back when a flavour enabled after us is turned off.

    MLflow keeps what it patched, and its patch, under these names (utils/gorilla.py, seen in 3.17.2). Where
    they are absent our wrapper stays below, and passes every call through.
    """
    kept, active = "_gorilla_original_fit", "_gorilla_active_patch_fit"
    if vars(keras.Model).get(kept) is ours.wrapper:
        setattr(keras.Model, kept, ours.original)
        patch = vars(keras.Model).get(active)
        if ours.inherited and hasattr(patch, "is_inplace_patch"):
            patch.is_inplace_patch = False


def _seam(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def __init__(self: Any, callbacks: Any = None, add_history: bool = False, *args: Any, **kwargs: Any) -> None:
        original(self, callbacks, add_history, *args, **kwargs)
        options = _options()
        # A list that the user made has no model yet, and we no part in it.
        model = getattr(self, "_model", None)
        if add_history and options is not None and getattr(model, "compiled", False):
            try:
                _join(self, options)
            except Exception as error:
                logger.warning("mlflow_dlviz: this fit is not recorded: %s: %s", type(error).__name__, error)

    return __init__


def _join(callback_list: Any, options: Options) -> None:
    """Put our two callbacks at the ends of the list, which is Keras' own copy of the user's."""
    _close_unwatched(callback_list.model)
    # Of those of this thread that are left, the fit goes on.
    nested = nesting.is_within() or any(thread == threading.get_ident() for _, thread in _UNWATCHED)
    session = Session(callback_list.model, options, tuple(callback_list.callbacks), nested=nested)
    opening, closing = Opening(session), Closing(session)
    for ours in (opening, closing):
        ours.set_model(callback_list.model)
        ours.set_params(callback_list.params)
    callback_list.callbacks.insert(0, opening)
    callback_list.callbacks.append(closing)
    if not nesting.add(session):
        # Our wrapper was put out; it is there again for the next fit.
        seen = find_fit(callback_list.model) is not None
        _UNWATCHED.append((session, threading.get_ident() if seen else None))
        _wrap_fit()


def _wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    names = list(inspect.signature(original).parameters)[1:]

    @functools.wraps(original)
    def fit(model: Any, *args: Any, **kwargs: Any) -> Any:
        if _options() is None:
            return original(model, *args, **kwargs)
        args, kwargs = _with_own_list(names, args, kwargs)
        with nesting.closing():
            return original(model, *args, **kwargs)

    return fit


def _with_own_list(
    names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of ``fit`` with ``callbacks`` by keyword and a new list.

    MLflow's Keras autologging needs it by keyword, needs a list, and appends to the one that it gets.
    """
    if "callbacks" not in names:
        return args, kwargs
    place = names.index("callbacks")
    by_name = {**dict(zip(names[place:], args[place:], strict=False)), **kwargs}
    given = by_name.get("callbacks")
    if isinstance(given, keras.callbacks.CallbackList):
        return args, kwargs
    own = [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
    return args[:place], {**by_name, "callbacks": own}


def _close_unwatched(model: Any = None) -> None:
    """Close the fits that have raised: as this model is fitted again, their frame is gone, or Python ends."""
    for item in list(_UNWATCHED):
        session, thread = item
        if not session.is_open:
            _UNWATCHED.remove(item)
            continue
        gone = thread == threading.get_ident() and find_fit(session.model) is None
        if model is None or session.model is model or gone:
            _UNWATCHED.remove(item)
            session.close("FAILED")


call_at_exit(_close_unwatched)
if hasattr(os, "register_at_fork"):
    # The fits of the parent are not the child's to close.
    os.register_at_fork(after_in_child=_UNWATCHED.clear)
