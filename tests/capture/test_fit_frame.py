"""The data and the settings of the running ``fit``, as Keras itself sees them."""

import keras
import numpy as np
import pytest

from mlflow_dlviz.capture.fit_frame import find_fit

X, Y = np.zeros((20, 4), "float32"), np.arange(20) % 2


class Look(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.call = find_fit(self.model)


@pytest.fixture
def look(binary):
    model = binary(run_eagerly=True)

    def fit(*args, **options):
        seen = Look()
        model.fit(*args, **{"verbose": 0, "callbacks": [seen], "steps_per_epoch": 1, **options})
        return seen.call

    return fit


def test_data_and_settings_are_what_was_given(look):
    call = look(X, Y, batch_size=5, validation_data=(X[:3], Y[:3]), epochs=2)
    assert call.train == (X, Y) or call.train[0] is X
    assert call.validation[0].shape == (3, 4)
    assert call.settings["batch_size"] == 5
    assert call.settings["epochs"] == 2
    assert call.settings["shuffle"] is True
    assert not {"x", "y", "self", "callbacks", "validation_data", "sample_weight"} & call.settings.keys()


def test_a_split_has_been_applied(look):
    call = look(X, Y, validation_split=0.25)
    assert len(call.train[0]) == 15
    assert len(call.validation[0]) == 5
    assert len(call.validation[1]) == 5


def test_no_validation_is_none(look):
    assert look(X, Y).validation is None


@pytest.mark.parametrize("wrap", [tuple, list])
def test_validation_data_with_weights_or_without_targets(look, wrap):
    call = look(X, Y, validation_data=wrap((X, Y, np.ones(20))))
    assert call.validation[0] is X
    assert call.validation[1] is Y


def test_a_data_set_has_no_targets_of_its_own(look):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((X, Y[:, None])).batch(4)
    call = look(data, validation_data=data)
    assert call.train == (data, None)
    assert call.validation == (data, None)


def test_another_models_fit_is_not_ours(binary):
    other, seen = binary(run_eagerly=True), []
    callback = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(find_fit(other)))
    binary(run_eagerly=True).fit(X, Y, verbose=0, steps_per_epoch=1, callbacks=[callback])
    assert seen == [None]


def test_outside_of_any_fit_there_is_none(binary):
    assert find_fit(binary()) is None
