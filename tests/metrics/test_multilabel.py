"""Independent labels against scikit-learn and NumPy, alone and inside Keras' own training."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    hamming_loss,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
    recall_score,
)

from mlflow_dlviz.metrics import MultiLabelTally
from mlflow_dlviz.metrics.formulas import Formulas, resolve
from mlflow_dlviz.metrics.multilabel import fits_labels, summarise_labels

pytestmark = [
    pytest.mark.filterwarnings("error:::mlflow_dlviz"),
    pytest.mark.filterwarnings("ignore:::keras"),
]


def batch(rng, samples=40, labels=4):
    y = rng.integers(0, 2, (samples, labels))
    return y, np.clip(rng.normal(0.3 + 0.4 * y, 0.3), 0, 1).astype("float32")


def counted(y, p, weight=None, **options):
    tally = MultiLabelTally(**options)
    tally.update_state(y, p, weight)
    return tally


def reference(y, found, weight=None):
    want = {
        "subset_accuracy": accuracy_score(y, found, sample_weight=weight),
        "hamming_loss": hamming_loss(y, found, sample_weight=weight),
    }
    for average in ("macro", "micro", "weighted"):
        parts = precision_recall_fscore_support(y, found, average=average, zero_division=0, sample_weight=weight)
        want |= {
            f"{name}_{average}": part for name, part in zip(("precision", "recall", "f1"), parts, strict=False)
        }
    each = recall_score(1 - y, 1 - found, average=None, zero_division=0, sample_weight=weight)
    return want | {
        "specificity_macro": each.mean(),
        "specificity_micro": recall_score(1 - y, 1 - found, average="micro", sample_weight=weight),
    }


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), labels=st.integers(1, 6), samples=st.integers(2, 40))
def test_counts_and_metrics_are_scikit_learns(seed, labels, samples):
    y, p = batch(np.random.default_rng(seed), samples, labels)
    tally = MultiLabelTally()
    for part in (slice(0, 1), slice(1, None)):
        tally.update_state(y[part], p[part])
    scores, found = tally.scores(), (p > 0.5).astype(int)
    if labels > 1:
        np.testing.assert_array_equal(scores["multilabel_confusion"], multilabel_confusion_matrix(y, found))
        got = summarise_labels(scores)
        for name, value in reference(y, found).items():
            assert got[name] == pytest.approx(value, abs=1e-12), name
        assert {name: float(value) for name, value in tally.result().items()} == pytest.approx(got, abs=1e-12)
    for k in range(labels):
        for side in (0, 1):
            want = np.histogram(p[y[:, k] == side, k].astype("float64"), 100, (0, 1))[0]
            np.testing.assert_array_equal(scores["histogram"][k, side], want)
    assert (scores["samples"], scores["skipped"]) == (samples, 0)


def test_weights_count_when_asked_for():
    rng = np.random.default_rng(1)
    y, p = batch(rng)
    weight = rng.uniform(0, 3, len(y))
    got = summarise_labels(counted(y, p, weight, weighted=True).scores())
    for name, value in reference(y, (p > 0.5).astype(int), weight).items():
        assert got[name] == pytest.approx(value, abs=1e-9), name
    np.testing.assert_equal(counted(y, p, weight).scores(), counted(y, p).scores())


def test_logits_count_as_their_probabilities():
    rng = np.random.default_rng(2)
    y, logits = batch(rng)[0], rng.normal(size=(40, 4)).astype("float32")
    got, want = counted(y, logits, from_logits=True), counted(y, np.asarray(keras.ops.sigmoid(logits)))
    np.testing.assert_equal(got.scores(), want.scores())


def test_samples_that_cannot_be_counted_are_skipped_alone():
    y, p = batch(np.random.default_rng(3))
    want = counted(y[3:], p[3:]).scores()
    y, p = y.astype("float32"), p.copy()
    y[0, 1], y[1, 0], p[2, 3] = -1, np.nan, np.inf
    got = counted(y, p).scores()
    assert got.pop("skipped") == 3
    want.pop("skipped")
    np.testing.assert_equal(got, want)


def test_labels_at_positions_count_each_position_without_the_padding():
    rng = np.random.default_rng(4)
    y, p = (part.reshape(8, 5, 4) for part in batch(rng))
    mask = np.arange(5) < rng.integers(1, 6, (8, 1))
    masked = keras.ops.convert_to_tensor(p)
    masked._keras_mask = keras.ops.convert_to_tensor(mask)
    np.testing.assert_equal(counted(y, masked).scores(), counted(y[mask], p[mask]).scores())


def test_an_own_formula_is_averaged_over_labels():
    y, p = batch(np.random.default_rng(5))
    own = Formulas(names=(), own={"miss_rate": lambda tp, tn, fp, fn: fn / (fn + tp)})
    got = summarise_labels(counted(y, p).scores(), own)
    assert set(got) == {"miss_rate_macro", "miss_rate_weighted"}
    assert got["miss_rate_macro"] == pytest.approx(1 - reference(y, (p > 0.5).astype(int))["recall_macro"])


def test_names_choose_among_what_applies():
    y, p = batch(np.random.default_rng(6))
    assert set(summarise_labels(counted(y, p).scores(), resolve(["mcc", "hamming_loss"]))) == {"hamming_loss"}


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ((None, 3), (None, 3), None),
        ((8, 5, 3), (8, 5, 3), None),
        ((8,), (8, 3), "not one for one"),
        ((8, 2), (8, 3), "not one for one"),
        ((8, 3), (8, None), "not known"),
        (None, (8, 3), "not known"),
        ((8, 70_000), (8, 70_000), "70000 labels"),
    ],
)
def test_fits_labels_says_why_not(y, p, words):
    reason = fits_labels(y, p)
    assert reason is None if words is None else words in reason
    if words is not None:
        with pytest.raises(ValueError, match=words):
            MultiLabelTally().build(y, p)


def test_bad_bins_are_named():
    with pytest.raises(ValueError, match="bins=0"):
        MultiLabelTally(bins=0)


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}], ids=str)
def test_in_fit_and_saved_it_gives_what_scikit_learn_gives(options, tmp_path):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(60, 4)).astype("float32")
    y = (x[:, :3] > 0).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "sigmoid")])
    tally = MultiLabelTally(["f1", "subset_accuracy"], bins=10)
    model.compile("adam", "binary_crossentropy", metrics=[tally], **options)
    history = model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y)).history
    want = reference(y.astype(int), (model.predict(x, verbose=0) > 0.5).astype(int))
    for name in ("f1_macro", "f1_micro", "f1_weighted", "subset_accuracy"):
        assert history[f"val_{name}"][-1] == pytest.approx(want[name], abs=1e-7)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").evaluate(x, y, verbose=0, return_dict=True)
    assert again["f1_micro"] == pytest.approx(want["f1_micro"], abs=1e-7)
