"""Counts inside Keras' own steps equal those of scikit-learn on the whole set, and nothing is left behind."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from mlflow_dlviz.capture.heads import find_head
from mlflow_dlviz.capture.watch import Watch
from mlflow_dlviz.metrics.classification import ClassificationTally, fits

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4)).astype("float32")
BINARY = (X[:, 0] + 0.5 * RNG.normal(size=150) > 0.2).astype("int32")
CLASSES = np.argmax(X[:, :3] + 0.5 * RNG.normal(size=(150, 3)), axis=1).astype("int32")
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
TRAIN, VALIDATION = slice(0, 110), slice(110, 150)


class Count(keras.callbacks.Callback):
    """Asks the watch when the recorder would."""

    def __init__(self, weighted=False):
        super().__init__()
        self.weighted = weighted
        self.training, self.validation = [], []

    def on_train_begin(self, logs=None):
        self.watch = Watch(self.model, self.make)
        self.watch.attach()

    def make(self, output):
        reason = fits(output.y.shape, output.y_pred.shape)
        if reason:
            return None, reason
        tally = ClassificationTally(from_logits=find_head(self.model).from_logits, weighted=self.weighted)
        tally.build(output.y.shape, output.y_pred.shape)
        return tally, ""

    def on_epoch_begin(self, epoch, logs=None):
        self.watch.reset("training")

    def on_test_begin(self, logs=None):
        self.watch.reset("validation")

    def on_test_end(self, logs=None):
        self.validation.append(self.watch.scores("validation").get(""))

    def on_epoch_end(self, epoch, logs=None):
        self.training.append(self.watch.scores("training").get(""))

    def on_train_end(self, logs=None):
        self.watch.detach()


def model_of(units=1, activation=None, loss="binary_crossentropy", **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, activation)])
    model.compile(keras.optimizers.Adam(0.1), loss, **options)
    return model


def fit(model, y, count, x=X, **options):
    options = {"epochs": 2, "validation_data": (x[VALIDATION], y[VALIDATION]), **options}
    return model.fit(x[TRAIN], y[TRAIN], verbose=0, batch_size=16, callbacks=[count], **options)


def predicted(model, x, threshold=0.5):
    output = model.predict(x, verbose=0)
    return (output[:, 0] > threshold).astype(int) if output.shape[1] == 1 else output.argmax(axis=1)


def sparse(**options):
    return keras.losses.SparseCategoricalCrossentropy(**options)


HEADS = {
    "sigmoid": (1, "sigmoid", "binary_crossentropy", BINARY, 0.5),
    "column": (1, "sigmoid", "binary_crossentropy", BINARY[:, None].astype("float32"), 0.5),
    "logit": (1, None, keras.losses.BinaryCrossentropy(from_logits=True), BINARY, 0),
    "two units": (2, "softmax", sparse(), BINARY, None),
    "two logits": (2, None, sparse(from_logits=True), BINARY, None),
    "sparse": (3, "softmax", sparse(), CLASSES, None),
    "one-hot": (3, "softmax", "categorical_crossentropy", ONE_HOT, None),
    "one-hot logits": (3, None, keras.losses.CategoricalCrossentropy(from_logits=True), ONE_HOT, None),
}


@pytest.mark.parametrize("head", HEADS)
def test_validation_counts_are_scikit_learns(head):
    units, activation, loss, y, threshold = HEADS[head]
    model, count = model_of(units, activation, loss), Count()
    fit(model, y, count)
    true = y.argmax(1) if y.ndim == 2 and y.shape[1] > 1 else y.ravel()
    expected = confusion_matrix(true[VALIDATION], predicted(model, X[VALIDATION], threshold))
    np.testing.assert_array_equal(count.validation[-1]["confusion"], expected)
    assert [scores["confusion"].sum() for scores in count.validation] == [40, 40]
    assert [scores["confusion"].sum() for scores in count.training] == [110, 110]


class Seen(keras.metrics.Metric):
    """What the user's own metric is given, batch by batch; only when run eagerly."""

    def __init__(self):
        super().__init__(name="seen")
        self.batches = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        weight = None if sample_weight is None else np.asarray(sample_weight)
        self.batches.append((np.asarray(y_true).ravel(), np.asarray(y_pred).argmax(axis=1), weight))

    def result(self):
        return 0.0

    def gathered(self, first, last):
        return [np.concatenate(part) for part in list(zip(*self.batches[first:last], strict=True))[:2]]


def test_training_counts_are_of_the_predictions_made_while_training():
    seen, count = Seen(), Count()
    model = model_of(3, "softmax", sparse(), metrics=[seen], run_eagerly=True)
    fit(model, CLASSES, count, validation_data=None)
    for epoch in range(2):
        expected = confusion_matrix(*seen.gathered(7 * epoch, 7 * epoch + 7))
        np.testing.assert_array_equal(count.training[epoch]["confusion"], expected)
    # Not what the model would predict of them now.
    now = confusion_matrix(CLASSES[TRAIN], predicted(model, X[TRAIN]))
    assert not np.array_equal(count.training[0]["confusion"], now)


WEIGHTS = RNG.uniform(0.1, 3, 150).astype("float32")


def test_sample_weights_are_counted_when_asked_for():
    model, count, plain = model_of(activation="sigmoid"), Count(weighted=True), Count()
    data = (X[VALIDATION], BINARY[VALIDATION], WEIGHTS[VALIDATION])
    for each in (count, plain):
        fit(model, BINARY, each, epochs=1, validation_data=data, sample_weight=WEIGHTS[TRAIN])
    guessed = predicted(model, X[VALIDATION])
    np.testing.assert_array_equal(plain.validation[-1]["confusion"], confusion_matrix(BINARY[VALIDATION], guessed))
    assert count.training[-1]["confusion"].sum() == pytest.approx(WEIGHTS[TRAIN].sum(), rel=1e-5)
    assert count.validation[-1]["confusion"].sum() == pytest.approx(WEIGHTS[VALIDATION].sum(), rel=1e-5)


def test_weighted_validation_counts_are_scikit_learns():
    model, count = model_of(activation="sigmoid"), Count(weighted=True)
    fit(model, BINARY, count, validation_data=(X[VALIDATION], BINARY[VALIDATION], WEIGHTS[VALIDATION]))
    guessed, weight = predicted(model, X[VALIDATION]), WEIGHTS[VALIDATION]
    expected = confusion_matrix(BINARY[VALIDATION], guessed, sample_weight=weight)
    np.testing.assert_allclose(count.validation[-1]["confusion"], expected, rtol=1e-5)


def test_class_weights_are_sample_weights():
    model, count = model_of(activation="sigmoid"), Count(weighted=True)
    fit(model, BINARY, count, class_weight={0: 1.0, 1: 5.0})
    true = np.bincount(BINARY[TRAIN])
    np.testing.assert_allclose(count.training[-1]["confusion"].sum(axis=1), true * [1, 5])
    np.testing.assert_allclose(count.validation[-1]["confusion"].sum(axis=1), np.bincount(BINARY[VALIDATION]))


def test_several_steps_per_execution_miss_nothing():
    count = Count()
    fit(model_of(activation="sigmoid", steps_per_execution=3), BINARY, count)
    assert [scores["confusion"].sum() for scores in count.training] == [110, 110]
    assert [scores["confusion"].sum() for scores in count.validation] == [40, 40]


def test_validation_now_and_then_is_counted_then():
    count = Count()
    fit(model_of(activation="sigmoid"), BINARY, count, epochs=3, validation_freq=2)
    assert len(count.validation) == 1
    assert len(count.training) == 3


def test_an_evaluation_in_mid_epoch_disturbs_nothing():
    class Evaluate(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                # Keras resets its own metrics here, so what follows is the user's affair; ours go on.
                self.model.evaluate(X[:50], BINARY[:50], verbose=0)

    model, count = model_of(activation="sigmoid"), Count()
    model.fit(
        X[TRAIN],
        BINARY[TRAIN],
        verbose=0,
        epochs=2,
        batch_size=16,
        validation_data=(X[VALIDATION], BINARY[VALIDATION]),
        callbacks=[count, Evaluate()],
    )
    assert [scores["confusion"].sum() for scores in count.training] == [110, 110]
    expected = confusion_matrix(BINARY[VALIDATION], predicted(model, X[VALIDATION]))
    np.testing.assert_array_equal(count.validation[-1]["confusion"], expected)


def test_it_leaves_the_model_as_it_was():
    model = model_of(activation="sigmoid")
    model.fit(X, BINARY, verbose=0)
    before, functions = {*vars(model)}, (model.train_function, model.test_function)
    watch = Watch(model, lambda output: (None, "not now"))
    watch.attach()
    assert (model.train_function, model.test_function) != functions
    watch.detach()
    watch.detach()
    assert {*vars(model)} == before
    assert (model.train_function, model.test_function) == functions


def test_steps_of_the_users_own_are_put_back():
    model, count, called = model_of(activation="sigmoid"), Count(), []
    original_step, original_metrics = model.test_step, model.compute_metrics

    def test_step(data):
        called.append("step")
        return original_step(data)

    def compute_metrics(x, y, y_pred, sample_weight=None):
        called.append("metrics")
        return original_metrics(x, y, y_pred, sample_weight)

    model.test_step, model.compute_metrics = test_step, compute_metrics
    fit(model, BINARY, count)
    assert {*called} == {"step", "metrics"}
    assert model.test_step is test_step
    assert model.compute_metrics is compute_metrics
    assert count.validation[-1]["confusion"].sum() == 40


class Bypassing(keras.Model):
    """Trains without ``compute_metrics``."""

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(1, "sigmoid")

    def call(self, x):
        return self.head(x)

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.losses.binary_crossentropy(y[:, None], self(x, training=True)))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


def test_a_step_that_bypasses_the_metrics_counts_nothing_and_says_so():
    model, count = Bypassing(), Count()
    model.compile("adam", "binary_crossentropy")
    fit(model, BINARY, count, validation_data=None)
    assert count.training == [None, None]
    assert "does not call compute_metrics" in count.watch.reason


@pytest.mark.parametrize("made", ["reason", "error"])
def test_what_can_not_be_counted_does_not_stop_training(made):
    class Unfit(Count):
        def make(self, output):
            if made == "reason":
                return None, "my reason"
            raise RuntimeError("my mistake")

    count, plain = Unfit(), model_of(activation="sigmoid")
    fit(plain, BINARY, keras.callbacks.Callback())
    model = model_of(activation="sigmoid")
    fit(model, BINARY, count)
    np.testing.assert_array_equal(model.get_weights()[0], plain.get_weights()[0])
    assert count.training == [None, None]
    assert "my" in count.watch.reasons[""]


def test_labels_that_do_not_fit_the_head_say_why():
    x, y = RNG.normal(size=(150, 5, 4)).astype("float32"), RNG.normal(size=(150, 3, 5, 4))
    count = Count()
    model = keras.Sequential([keras.Input((5, 4)), keras.layers.Dense(4, "softmax")])
    model.compile("adam", lambda y, p: keras.ops.mean((y - p[:, None]) ** 2))
    history = fit(model, y, count, x=x).history
    assert len(history["val_loss"]) == 2
    assert count.training == count.validation == [None, None]
    assert "not one class per sample" in count.watch.reasons[""]


class Twofold(Count):
    """Counts the outputs by their own losses; one of them has none."""

    def make(self, output):
        return (None, "no loss") if output.loss is None else super().make(output)

    def on_epoch_end(self, epoch, logs=None):
        self.training.append(self.watch.scores("training"))


def test_several_outputs_are_counted_apart():
    x = keras.Input((4,))
    outputs = {name: keras.layers.Dense(3, "softmax", name=name)(x) for name in ("a", "b", "c")}
    model, count = keras.Model(x, outputs), Twofold()
    model.compile("adam", {"a": sparse(), "b": sparse()})
    y = {"a": CLASSES[TRAIN], "b": 0 * CLASSES[TRAIN]}
    model.fit(X[TRAIN], y, epochs=1, verbose=0, callbacks=[count])
    [scores] = count.training
    assert {name: arrays["confusion"].sum(axis=1).tolist() for name, arrays in scores.items()} == {
        "a": np.bincount(CLASSES[TRAIN]).tolist(),
        "b": [110, 0, 0],
    }
    assert "not one array" in count.watch.reasons["c"]


class OwnMaker(keras.Sequential):
    """Makes its train function itself, without knowing of ``force``; perhaps not at all."""

    fails = False

    def make_train_function(self):
        if self.fails:
            raise RuntimeError("not now")
        return super().make_train_function()


@pytest.mark.parametrize("fails", [False, True])
def test_a_train_function_of_the_users_own_making(fails):
    model = OwnMaker([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    count = Count()
    count.set_model(model)
    watch = Watch(model, count.make)
    model.fails = fails
    if fails:
        with pytest.raises(RuntimeError, match="not now"):
            watch.attach()
    else:
        watch.attach()
        model.fit(X, BINARY, verbose=0)
        assert watch.scores("training")[""]["confusion"].sum() == len(X)
    watch.detach()
    assert not {"compute_metrics", "test_step"} & {*vars(model)}
    assert model.train_function is None
