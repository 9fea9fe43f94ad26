"""The tally against scikit-learn and NumPy, alone and inside Keras' own training."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    jaccard_score,
    matthews_corrcoef,
)

from mlflow_dlviz.metrics import ClassificationTally, fits
from mlflow_dlviz.metrics.counting import every_nth
from mlflow_dlviz.metrics.formulas import summarise

pytestmark = [
    pytest.mark.filterwarnings("error:::mlflow_dlviz"),
    # Keras' own words about NumPy's and TensorFlow's versions are not ours to judge.
    pytest.mark.filterwarnings("ignore:::keras"),
]


def softmax(logits):
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def batch(rng, samples=50, classes=3):
    y = rng.integers(0, classes, samples)
    p = softmax(2 * rng.normal(size=(samples, classes)) + np.eye(classes)[y])
    return y, p.astype("float32")


def counted(y, p, weight=None, **options):
    tally = ClassificationTally(**options)
    tally.update_state(y, p, weight)
    return tally


def histogram(y, scores, bins, weight=None):
    """(K, 2, bins) by NumPy, with edges in float64; scores (N, K)."""
    scores = scores.astype("float64")
    weight = np.ones(len(y)) if weight is None else weight
    return np.array(
        [
            [np.histogram(scores[y_k, k], bins, (0, 1), weights=weight[y_k])[0] for y_k in (y != k, y == k)]
            for k in range(scores.shape[1])
        ]
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), classes=st.integers(2, 6), bins=st.sampled_from([1, 7, 100]))
def test_counts_are_as_scikit_learn_and_numpy(seed, classes, bins):
    rng = np.random.default_rng(seed)
    y, p = batch(rng, 40, classes)
    tally = ClassificationTally(bins=bins)
    tally.update_state(y[:15], p[:15])
    tally.update_state(y[15:], p[15:])
    scores = tally.scores()
    np.testing.assert_array_equal(scores["confusion"], confusion_matrix(y, p.argmax(1), labels=range(classes)))
    np.testing.assert_array_equal(scores["histogram"], histogram(y, p, bins))
    np.testing.assert_array_equal(scores["edges"], np.histogram([], bins, (0, 1))[1])
    result = {name: float(value) for name, value in tally.result().items()}
    assert result == pytest.approx(summarise(scores["confusion"]), abs=1e-12)
    assert result["mcc"] == pytest.approx(matthews_corrcoef(y, p.argmax(1)), abs=1e-12)
    assert result["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, p.argmax(1)), abs=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_score_on_an_edge_counts_above_it(dtype):
    near_edges = (np.arange(101) / 100).astype(dtype)
    got = counted(np.ones(101), near_edges[:, None]).scores()["histogram"][1, 1]
    want = np.histogram(near_edges.astype("float64"), 100, (0, 1))[0]
    # Products of doubles may round up to an edge; those of singles are exact.
    assert abs(got.cumsum() - want.cumsum()).max() <= (0 if dtype == "float32" else 1)


def test_a_score_outside_the_bins_counts_at_their_end():
    assert counted([1, 0], [[1.5], [-0.5]], bins=10).scores()["histogram"][1].tolist()[1][-1] == 1


def test_one_unit_two_units_and_logits_count_alike():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 60)
    logit = (3 * rng.normal(size=60) + 2 * (y - 0.5)).astype("float32")
    p = np.asarray(keras.ops.sigmoid(logit))
    both = np.stack([np.zeros_like(logit), logit], 1)
    tallies = [
        counted(y, p[:, None]),
        counted(y[:, None], p),
        counted(y, logit[:, None], from_logits=True),
        counted(y, np.stack([1 - p, p], 1)),
        counted(np.eye(2)[y], both, from_logits=True),
        counted(2 * y - 1, p[:, None]),
    ]
    for tally in tallies:
        scores = tally.scores()
        np.testing.assert_array_equal(scores["confusion"], confusion_matrix(y, p > 0.5))
        # softmax and sigmoid may differ in the last bit, which moves a score on an edge by a bin.
        assert abs(scores["histogram"].cumsum(-1) - tallies[0].scores()["histogram"].cumsum(-1)).max() <= 1
        assert float(tally.result()["f1"]) == pytest.approx(f1_score(y, p > 0.5), abs=1e-12)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float16", "float32", "float64"])
def test_labels_of_any_type_and_one_hot_count_alike(dtype):
    y, p = batch(np.random.default_rng(2))
    want = counted(y, p).scores()
    for labels in (y.astype(dtype), y[:, None].astype(dtype), np.eye(3, dtype=dtype)[y]):
        np.testing.assert_equal(counted(labels, p).scores(), want)


def test_binary_labels_may_be_bool():
    got = counted(np.array([True, False, True]), np.array([[0.9], [0.2], [0.3]])).scores()
    assert got["confusion"].tolist() == [[1, 0], [1, 1]]


def test_soft_one_hot_labels_count_as_their_greatest():
    soft = 0.9 * np.eye(3) + 0.1 / 3
    assert counted(soft, np.eye(3)).scores()["confusion"].tolist() == np.eye(3).tolist()


def test_half_precision_is_binned_in_single():
    y, p = batch(np.random.default_rng(3))
    p = p.astype("float16")
    got = counted(y, keras.ops.convert_to_tensor(p)).scores()
    np.testing.assert_array_equal(got["histogram"], histogram(y, p.astype("float32"), 100))


def test_counts_are_exact_beyond_single_precision():
    tally = ClassificationTally(classes=2)
    tally.confusion.assign([[2**40, 0], [0, 2**24]])
    tally.update_state([0, 1, 1], [[0.1], [0.9], [0.2]])
    assert tally.scores()["confusion"].tolist() == [[2**40 + 1, 0], [1, 2**24 + 1]]
    result = tally.result()
    assert float(result["tp"]) == 2**24 + 1
    assert float(result["mcc"]) == pytest.approx(summarise(tally.scores()["confusion"])["mcc"], rel=1e-12)


@pytest.mark.parametrize("column", [False, True])
def test_weighted_counts_sample_weights(column):
    rng = np.random.default_rng(4)
    y, p = batch(rng)
    weight = rng.uniform(0, 3, len(y)).astype("float32")
    tally = counted(y, p, weight[:, None] if column else weight, weighted=True)
    scores, predicted = tally.scores(), p.argmax(1)
    np.testing.assert_allclose(
        scores["confusion"], confusion_matrix(y, predicted, sample_weight=weight), rtol=1e-6
    )
    np.testing.assert_allclose(scores["histogram"], histogram(y, p, 100, weight), rtol=1e-6)
    want = matthews_corrcoef(y, predicted, sample_weight=weight)
    assert float(tally.result()["mcc"]) == pytest.approx(want, abs=1e-6)
    assert scores["confusion"].dtype == np.float64


def test_weights_are_ignored_unless_asked_for():
    y, p = batch(np.random.default_rng(5))
    np.testing.assert_equal(counted(y, p, np.full(len(y), 9.0)).scores(), counted(y, p).scores())
    assert counted(y, p, weighted=True).scores()["confusion"].sum() == len(y)


def test_samples_that_cannot_be_counted_are_skipped_alone():
    y, p = batch(np.random.default_rng(6))
    want = counted(y[5:], p[5:]).scores()
    y, p = y.astype("float32"), p.copy()
    p[0, 1], p[1, 2] = np.nan, np.inf
    y[2:5] = -1, 3, 1.5
    got = counted(y, p).scores()
    assert got.pop("skipped") == 5
    assert want.pop("skipped") == 0
    np.testing.assert_equal(got, want)


@pytest.mark.parametrize(
    ("y", "p"),
    [
        ([np.nan, 255, -3, 1], np.full((4, 1), 0.7)),
        ([0, 0, 0, 1], [[np.nan], [np.inf], [-np.inf], [0.7]]),
        ([[0, 0], [1, 1], [np.nan, 1], [0, 1]], np.full((4, 2), [0.3, 0.7])),
    ],
)
def test_labels_that_are_no_class_are_skipped(y, p):
    got = counted(np.array(y), np.array(p)).scores()
    assert got["skipped"] == 3
    assert got["confusion"].tolist() == [[0, 0], [0, 1]]
    assert got["histogram"].sum() == 2


def test_a_weight_that_is_no_number_skips_its_sample():
    got = counted([0, 1], [[0.1], [0.9]], [np.nan, 2], weighted=True).scores()
    assert got["skipped"] == 1
    assert got["confusion"].tolist() == [[0, 0], [0, 2]]


def test_reset_forgets_and_nothing_counted_is_no_error():
    tally = ClassificationTally()
    assert tally.result() == {}
    assert tally.scores() == {}
    tally.reset_state()
    tally.update_state([0, 1], [[0.2], [0.7]])
    tally.reset_state()
    assert {float(value) for value in tally.result().values()} == {0.0}
    assert tally.scores()["histogram"].sum() == 0


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ((None,), (None, 10), None),
        ((None, 1), (None, 10), None),
        ((None, 10), (None, 10), None),
        ((8, 1), (8, 1), None),
        ((8,), (None, 1), None),
        ((8,), (8,), None),
        ((8, 4, 5), (8, 4, 5, 3), None),
        ((8, 4, 5, 1), (8, 4, 5, 3), None),
        ((None, None, None, 3), (None, None, None, 3), None),
        ((8, 4, 5), (8, 4, 5, 1), None),
        ((8, 4, 5), (8, 4, 6, 3), "not of the same samples"),
        ((8, 4, 5, 2), (8, 4, 5, 3), "neither classes nor one-hot"),
        ((8, 4, 5, 3), (8, 4, 3), "not one class per sample"),
        ((8,), (8, 5, 3), "not one class per sample"),
        ((8, 3), (8, 1), "neither classes nor one-hot"),
        ((8, 3), (8, 4), "neither classes nor one-hot"),
        ((8,), (9, 4), "not of the same samples"),
        ((8,), (8, None), "not known"),
        ((8, None), (8, 3), "not known"),
        (None, (8, 3), "not known"),
        ((8,), (8, 50_000), "50000 classes"),
    ],
)
def test_fits_says_why_not(y, p, words):
    reason = fits(y, p)
    assert reason is None if words is None else words in reason


def test_what_does_not_fit_fails_in_words():
    with pytest.raises(ValueError, match=r"labels of shape \(2, 4\) and predictions of shape \(2, 5, 3\)"):
        ClassificationTally().update_state(np.zeros((2, 4)), np.zeros((2, 5, 3)))
    with pytest.raises(ValueError, match="are of 3 classes, not of 2"):
        ClassificationTally(classes=2).update_state([0, 1], np.zeros((2, 3)))
    with pytest.raises(ValueError, match="bins=0"):
        ClassificationTally(bins=0)
    with pytest.raises(ValueError, match="classes=1"):
        ClassificationTally(classes=1)


# Positions


def pixels(rng, classes=3):
    y = rng.integers(0, classes, (6, 5, 4))
    p = softmax(2 * rng.normal(size=(6, 5, 4, classes)) + np.eye(classes)[y])
    return y, p.astype("float32")


@pytest.mark.parametrize("form", ["sparse", "column", "one-hot"])
def test_each_pixel_counts_as_a_sample(form):
    y, p = pixels(np.random.default_rng(8))
    labels = {"sparse": y, "column": y[..., None], "one-hot": np.eye(3)[y]}[form]
    got = counted(labels, p)
    np.testing.assert_equal(got.scores(), counted(y.ravel(), p.reshape(-1, 3)).scores())
    result = {name: float(value) for name, value in got.result().items()}
    true, guessed = y.ravel(), p.reshape(-1, 3).argmax(-1)
    assert result["iou_macro"] == pytest.approx(jaccard_score(true, guessed, average="macro"), abs=1e-12)
    assert result["iou_weighted"] == pytest.approx(jaccard_score(true, guessed, average="weighted"), abs=1e-12)
    keras_own = keras.metrics.MeanIoU(3)
    keras_own.update_state(true, guessed)
    assert result["iou_macro"] == pytest.approx(float(keras_own.result()), abs=1e-6)


@pytest.mark.parametrize("from_logits", [False, True])
def test_binary_masks_of_one_unit(from_logits):
    rng = np.random.default_rng(9)
    y, logit = rng.integers(0, 2, (6, 5, 4)), 3 * rng.normal(size=(6, 5, 4, 1)).astype("float32")
    p = logit if from_logits else np.asarray(keras.ops.sigmoid(logit))
    got = counted(y, p, from_logits=from_logits)
    want = jaccard_score(y.ravel(), logit.ravel() > 0)
    assert float(got.result()["iou"]) == pytest.approx(want, abs=1e-12)
    np.testing.assert_array_equal(got.scores()["confusion"], confusion_matrix(y.ravel(), logit.ravel() > 0))


def test_weights_may_be_of_samples_or_of_pixels():
    rng = np.random.default_rng(10)
    y, p = pixels(rng)
    for weight in (rng.uniform(0, 2, 6), rng.uniform(0, 2, (6, 1)), rng.uniform(0, 2, y.shape)):
        every = np.broadcast_to(weight if weight.ndim == 3 else weight.reshape(6, 1, 1), y.shape).ravel()
        want = confusion_matrix(y.ravel(), p.reshape(-1, 3).argmax(-1), sample_weight=every)
        np.testing.assert_allclose(counted(y, p, weight, weighted=True).scores()["confusion"], want, rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_padding_that_a_mask_hides_counts_nowhere(weighted):
    rng = np.random.default_rng(11)
    y, p = rng.integers(0, 3, (6, 5)), softmax(rng.normal(size=(6, 5, 3))).astype("float32")
    mask = np.arange(5) < rng.integers(1, 6, (6, 1))
    y[~mask] = -1
    masked = keras.ops.convert_to_tensor(p)
    masked._keras_mask = keras.ops.convert_to_tensor(mask)
    got = counted(y, masked, np.ones(6), weighted=weighted).scores()
    np.testing.assert_array_equal(got["confusion"], confusion_matrix(y[mask], p[mask].argmax(-1)))
    assert got["skipped"] == 0
    assert got["histogram"][0].sum() == mask.sum()


def test_an_ignored_class_counts_nowhere():
    y, p = pixels(np.random.default_rng(12))
    y[0], y[1, 0] = 255, -1
    got = counted(y, p, ignore_class=255).scores()
    kept = (y >= 0) & (y < 3)
    np.testing.assert_array_equal(got["confusion"], confusion_matrix(y[kept], p[kept].argmax(-1)))
    assert got["skipped"] == 4


def test_of_large_images_the_histogram_takes_every_nth_pixel():
    rng = np.random.default_rng(13)
    y = rng.integers(0, 2, (4, 120, 100))
    p = rng.uniform(size=(4, 120, 100, 1)).astype("float32")
    got = counted(y, p).scores()
    step = every_nth((None, 120, 100, 1))
    assert step > 1
    assert np.gcd(step, 120 * 100) == 1
    assert got["confusion"].sum() == y.size
    assert got["histogram"][1].sum() == len(y.ravel()[::step]) <= 4 * 4096 + 4
    scores = np.stack([1 - p, p], -1).reshape(-1, 2)[::step]
    np.testing.assert_array_equal(got["histogram"][1], histogram(y.ravel()[::step], scores, 100)[1])


# Many classes


def test_a_thousand_classes_count_exactly():
    rng = np.random.default_rng(14)
    y, p = batch(rng, 64, 1000)
    tally = ClassificationTally()
    for half in (slice(0, 40), slice(40, 64)):
        tally.update_state(y[half], p[half])
    got = tally.scores()
    assert got["histogram"].shape == (1000, 2, 20)
    np.testing.assert_array_equal(got["confusion"], confusion_matrix(y, p.argmax(1), labels=range(1000)))
    np.testing.assert_array_equal(got["histogram"], histogram(y, p, 20))
    tally.reset_state()
    assert not tally.scores()["confusion"].any()


# Inside Keras


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}], ids=str)
def test_many_classes_are_counted_however_the_step_is_compiled(options):
    rng = np.random.default_rng(15)
    x, y = rng.normal(size=(40, 4)).astype("float32"), rng.integers(0, 300, 40)
    tally = ClassificationTally()
    model = compiled(tally, units=300, **options)
    model.evaluate(x, y, verbose=0)
    want = confusion_matrix(y, model.predict(x, verbose=0).argmax(1), labels=range(300))
    np.testing.assert_array_equal(tally.scores()["confusion"], want)


def problem(classes=3, samples=96):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(samples, 4)).astype("float32")
    return x, (x @ rng.normal(size=(4, classes))).argmax(1)


def compiled(tally, units=3, activation="softmax", **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units, activation=activation, dtype="float32")]
    )
    loss = "binary_crossentropy" if units == 1 else "sparse_categorical_crossentropy"
    model.compile("adam", loss, metrics=[tally], **options)
    return model


@pytest.mark.parametrize(
    "options",
    [
        {"jit_compile": False},
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
        {"run_eagerly": True},
        pytest.param({"steps_per_execution": 4}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_in_fit_the_logs_hold_what_scikit_learn_gives(options):
    x, y = problem()
    tally = ClassificationTally({"miss_rate": lambda tp, tn, fp, fn: fn / (fn + tp)})
    model = compiled(tally, **options)
    history = model.fit(x, y, batch_size=10, epochs=2, validation_data=(x[:50], y[:50]), verbose=0).history
    predicted = model.predict(x[:50], verbose=0).argmax(1)
    assert history["val_mcc"][-1] == pytest.approx(matthews_corrcoef(y[:50], predicted), abs=1e-7)
    assert history["val_f1_macro"][-1] == pytest.approx(
        f1_score(y[:50], predicted, average="macro", labels=range(3)), abs=1e-7
    )
    assert history["val_miss_rate_macro"][-1] == pytest.approx(1 - history["val_recall_macro"][-1])
    assert tally.scores()["confusion"].sum() == 50
    assert set(history) == {name for own in tally.result() for name in (own, f"val_{own}")} | {
        "loss",
        "val_loss",
    }


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_unit_in_fit_under_mixed_precision(activation):
    x, y = problem(classes=2)
    tally = ClassificationTally(from_logits=activation is None)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation, dtype="mixed_float16")])
    loss = keras.losses.BinaryCrossentropy(from_logits=activation is None)
    model.compile("sgd", loss, metrics=[tally])
    model.fit(x, y, batch_size=16, verbose=0)
    got = model.evaluate(x, y, verbose=0, return_dict=True)
    positive = model.predict(x, verbose=0)[:, 0] > (0.5 if activation else 0)
    assert got["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, positive))
    assert got["tp"] + got["tn"] + got["fp"] + got["fn"] == len(y)


def test_early_stopping_watches_it():
    x, y = problem()
    model = compiled(ClassificationTally(["mcc"]), steps_per_execution=2)
    model.optimizer.learning_rate = 0.0
    stop = keras.callbacks.EarlyStopping(monitor="val_mcc", mode="max", patience=1)
    history = model.fit(x, y, validation_split=0.5, epochs=9, callbacks=[stop], verbose=0).history
    assert len(history["val_mcc"]) == 2


def test_a_formula_that_cannot_be_compiled_is_named():
    model = compiled(ClassificationTally({"cost": lambda tp, tn, fp, fn: np.log1p(float(fn))}), units=2)
    with pytest.raises(ValueError, match=r"formula 'cost' failed .* compiled step"):
        model.fit(*problem(classes=2), verbose=0)


@keras.saving.register_keras_serializable("test_tallies")
def miss_rate(tp, tn, fp, fn):
    return fn / (fn + tp)


def test_a_saved_model_keeps_the_tally_and_the_formulas_that_keras_knows(tmp_path):
    x, y = problem()
    own = {"miss_rate": miss_rate, "cost": lambda tp, tn, fp, fn: fn}
    model = compiled(ClassificationTally(own, bins=20))
    model.fit(x, y, verbose=0)
    want = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    got = loaded.evaluate(x, y, verbose=0, return_dict=True)
    assert set(want) - set(got) == {"cost_macro", "cost_weighted"}
    assert got == pytest.approx({name: want[name] for name in got})


def test_the_config_makes_the_same_tally():
    tally = ClassificationTally(["mcc", "f1"], classes=3, bins=7, from_logits=True, weighted=True, name="mine")
    again = ClassificationTally.from_config(tally.get_config())
    assert again.get_config() == tally.get_config()
    assert again.formulas == tally.formulas
    config = tally.get_config()
    config["metrics"]["own"] = {"cost": "nowhere>cost"}
    with pytest.raises(ValueError, match="import the module that registers it"):
        ClassificationTally.from_config(config)
