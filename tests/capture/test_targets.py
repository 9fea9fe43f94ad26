"""What is known of targets before training."""

import numpy as np
import pandas
import pytest
import tensorflow as tf

from mlflow_dlviz.capture.targets import look_at

RNG = np.random.default_rng(0)


def test_mean_and_spread_of_each_output():
    y = 1e6 + RNG.normal(size=(500, 3)) * [1, 10, 100]
    got = look_at(y, 3)
    np.testing.assert_allclose(got.mean, y.mean(0))
    np.testing.assert_allclose(got.std, y.std(0))
    assert not got.labels
    assert not got.between


@pytest.mark.parametrize("wrap", [np.asarray, pandas.Series, tf.constant, lambda y: y[:, None]])
def test_one_output_in_every_form(wrap):
    y = RNG.normal(size=50)
    got = look_at(wrap(y), 1)
    assert got.mean == pytest.approx([y.mean()])


def test_images_are_samples_at_every_pixel():
    y = RNG.uniform(size=(10, 4, 4, 3))
    np.testing.assert_allclose(look_at(y, 3).mean, y.mean((0, 1, 2)))
    assert look_at(y[..., 0], 1).mean == pytest.approx([y[..., 0].mean()])


@pytest.mark.parametrize(
    ("y", "labels", "between"),
    [
        ([0, 1, 1], True, False),
        ([True, False, True], True, False),
        ([0, 1, np.nan], True, False),
        ([0, 0.5, 1], False, True),
        ([0, 1, -1], False, False),
        ([0, 1, 2], False, False),
    ],
)
def test_labels_and_values_are_told_apart(y, labels, between):
    got = look_at(np.array(y), 1)
    assert (got.labels, got.between) == (labels, between)


@pytest.mark.parametrize(
    "y", [None, tf.data.Dataset.range(3), iter([]), np.array(["a"]), np.zeros((0, 2)), np.full(3, np.nan), [1, 2]]
)
def test_what_cannot_be_seen_is_none(y):
    assert look_at(y, 1) is None


def test_of_many_samples_an_even_choice_is_looked_at():
    y = np.arange(100_000.0)
    got = look_at(y, 1)
    assert got.mean == pytest.approx([y.mean()], rel=1e-3)
    assert got.std == pytest.approx([y.std()], rel=1e-3)
