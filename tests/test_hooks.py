"""The seam and the wrapper where others have been at Keras too, or a fit runs within a fit."""

from __future__ import annotations

import keras
import mlflow
import numpy as np
import pytest

from mlflow_dlviz import hooks


def fit(model, table, **more):
    x, y, validation = table
    return model.fit(x, y, **{"epochs": 2, "verbose": 0, "validation_data": validation, **more})


def statuses(runs):
    return [run.info.status for run in runs()]


class Fail(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise ValueError("mine")


def put_out():
    """What another package's patch does to our wrapper when it puts back what it found."""
    keras.Model.fit = hooks._State.wrapped[-1].original


def test_a_fit_that_nobody_saw_raise_is_closed_by_the_next(dlviz, runs, binary, table):
    dlviz.autolog(log_models=False, visuals=[])
    put_out()
    model = binary()
    with pytest.raises(ValueError, match="mine"):
        fit(model, table, callbacks=[Fail()])
    assert statuses(runs) == ["RUNNING"]
    fit(model, table)
    dlviz.flush(60)
    assert statuses(runs) == ["FAILED", "FINISHED"]
    assert not {"compute_metrics", "test_step"} & vars(model).keys()
    assert mlflow.active_run() is None


class EachEpoch(keras.callbacks.Callback):
    def __init__(self, inner, table):
        super().__init__()
        self.inner, self.table = inner, table

    def on_epoch_end(self, epoch, logs=None):
        fit(self.inner, self.table)


def test_a_fit_within_one_that_nobody_watches_is_its_child(dlviz, runs, binary, table):
    dlviz.autolog(log_models=False, visuals=[])
    put_out()
    fit(binary(), table, epochs=1, callbacks=[EachEpoch(binary(), table)])
    dlviz.flush(60)
    outer, inner = runs()
    assert inner.data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert statuses(runs) == ["FINISHED", "FINISHED"]


def test_a_fit_after_one_that_nobody_saw_raise_is_no_child(dlviz, runs, binary, table):
    dlviz.autolog(log_models=False, visuals=[])
    put_out()
    with pytest.raises(ValueError, match="mine"):
        fit(binary(), table, callbacks=[Fail()])
    fit(binary(), table)
    dlviz.flush(60)
    assert len(runs()) == 2
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs())


def test_the_wrapper_is_there_again_for_the_next_fit(dlviz, runs, binary, table):
    dlviz.autolog(log_models=False, visuals=[])
    put_out()
    fit(binary(), table)
    with pytest.raises(ValueError, match="mine"):
        fit(binary(), table, callbacks=[Fail()])
    assert statuses(runs) == ["FINISHED", "FAILED"]


def test_everything_is_put_back_after_it_was_put_out(dlviz, binary, table):
    before = keras.callbacks.CallbackList.__init__, keras.Model.fit
    dlviz.autolog(log_models=False, visuals=[])
    put_out()
    fit(binary(), table)
    dlviz.autolog(disable=True)
    assert (keras.callbacks.CallbackList.__init__, keras.Model.fit) == before


class Nested(keras.callbacks.Callback):
    """Fits another model at the end of the first epoch, as a search or a probing classifier does."""

    def __init__(self, inner, table):
        super().__init__()
        self.inner, self.table = inner, table

    def on_epoch_end(self, epoch, logs=None):
        if not epoch:
            fit(self.inner, self.table)


def test_a_fit_within_a_fit_changes_neither(dlviz, runs, binary, table):
    def train():
        keras.utils.set_random_seed(0)
        inner, outer = binary(seed=1), binary()
        history = fit(outer, table, callbacks=[Nested(inner, table)]).history
        return [*inner.get_weights(), *outer.get_weights()], history

    with dlviz.paused():
        plain, _ = train()
    dlviz.autolog(log_models=False, visuals=["probabilities"])
    watched, history = train()
    dlviz.flush(60)
    for one, other in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(history["val_mcc"]) == 2
    assert {*statuses(runs)} == {"FINISHED"}
    assert mlflow.active_run() is None
    assert {run.data.tags["dlviz.status"] for run in runs()} == {"ok"}


def test_a_callback_list_of_the_users_own(dlviz, runs, binary, table):
    dlviz.autolog(log_models=False, visuals=[])
    seen, model = [], binary()
    mine = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(sorted(logs)))
    given = keras.callbacks.CallbackList([mine], add_history=True, model=model, epochs=2)
    fit(model, table, callbacks=given)
    dlviz.flush(60)
    assert len(seen) == 2
    assert statuses(runs) == ["FINISHED"]
    assert all("val_mcc" in names for names in seen)
    assert mine in given.callbacks


def test_evaluate_and_predict_are_left_alone(dlviz, runs, binary, table):
    dlviz.autolog(log_models=False)
    model = binary()
    model.evaluate(*table[:2], verbose=0)
    model.predict(table[0], verbose=0)
    model.train_on_batch(*table[:2])
    assert runs() == []


def test_options_may_change_between_fits(dlviz, runs, binary, table):
    dlviz.autolog(log_models=False, visuals=[], metrics=["mcc"])
    first = fit(binary(), table).history
    dlviz.autolog(log_models=False, visuals=[], metrics=["f1"])
    second = fit(binary(), table).history
    assert "val_mcc" in first
    assert "val_f1" not in first
    assert "val_f1" in second
    assert "val_mcc" not in second


def test_fit_looks_as_before(dlviz):
    import inspect

    before = keras.Model.fit
    dlviz.autolog()
    assert inspect.signature(keras.Model.fit) == inspect.signature(before)
    assert keras.Model.fit.__name__ == "fit"
    assert keras.Model.fit.__doc__ == before.__doc__


def test_a_subclass_with_a_fit_of_its_own(dlviz, runs, table):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(1, "sigmoid")

        def call(self, x):
            return self.head(x)

        def fit(self, x, y):
            return super().fit(x, y, epochs=1, verbose=0)

    dlviz.autolog(log_models=False, visuals=[])
    model = Own()
    model.compile("adam", "binary_crossentropy")
    assert "mcc" in model.fit(*table[:2]).history
    assert statuses(runs) == ["FINISHED"]
