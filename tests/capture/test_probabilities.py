"""The histogram behind the picture is that of the model's predictions on the whole set."""

import dataclasses

import numpy as np
import pytest

from mlflow_dlviz.capture import probabilities
from mlflow_dlviz.capture.moment import NotShown

SCORES = {"histogram": np.ones((2, 2, 100)), "edges": np.linspace(0, 1, 101), "confusion": np.eye(2)}


@pytest.mark.parametrize("units", [1, 2])
def test_it_equals_numpys_histogram_of_predict(dlviz, runs, binary, table, units):
    x, y, (val_x, val_y) = table
    dlviz.autolog(log_models=False, visuals=["probabilities"], cadence=dlviz.AtEnd(), probe=4)
    model = binary(units=units)
    model.fit(x, y, epochs=2, verbose=0, validation_data=(val_x, val_y))
    dlviz.flush(60)
    frames = dlviz.load(runs()[0].info.run_id, "probabilities")["validation"]
    assert list(frames) == [1]
    positive = model.predict(val_x, verbose=0)[:, -1].astype("float64")
    for label in (0, 1):
        expected = np.histogram(positive[val_y == label], frames[1]["edges"])[0]
        np.testing.assert_array_equal(frames[1]["counts"][1, label], expected)
    assert frames[1]["counts"].sum() == 2 * len(val_y)


def test_without_a_validation_set_it_is_the_training_set(moment):
    both = {"training": SCORES, "validation": SCORES}
    assert list(probabilities.capture(moment(values={"scores": both}), {})) == ["validation"]
    [(leaf, arrays)] = probabilities.capture(moment(values={"scores": {"training": SCORES}}), {}).items()
    assert leaf == "training"
    assert arrays["subset"] == "training"
    assert arrays["epoch"] == 3


def test_several_outputs_and_labels_have_a_leaf_each(moment):
    labels = {"histogram": np.ones((3, 2, 4)), "edges": np.linspace(0, 1, 5), "multilabel_confusion": np.ones(3)}
    values = {"scores": {"validation.a": SCORES, "validation.b": labels, "validation.c": {"residuals": 0}}}
    got = probabilities.capture(moment(values=values), {})
    assert list(got) == ["validation.a", "validation.b"]
    assert [bool(arrays["multilabel"]) for arrays in got.values()] == [False, True]
    assert got["validation.b"]["class_names"].tolist() == ["0", "1", "2"]


def test_an_epoch_without_validation_shows_nothing(moment):
    validates = dataclasses.replace(moment(values={"scores": {"training": SCORES}}), validates=True)
    assert probabilities.capture(validates, {}) == {}


def test_values_have_no_probabilities(moment):
    with pytest.raises(NotShown, match="no output predicts classes or labels"):
        probabilities.capture(moment(values={"scores": {"validation": {"residuals": 0}}}), {})


def test_without_counts_it_is_not_shown(moment):
    with pytest.raises(NotShown, match="nothing was counted"):
        probabilities.capture(moment(values={"scores": {}}), {})
