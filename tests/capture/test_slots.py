"""A sample of a stream: by class, at random within a class, and the same wherever the stream is."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from mlflow_dlviz.capture import slots as captured
from mlflow_dlviz.capture.slots import Slots


def stream(labels, batch, size, seed=0, compile_options=None):
    """The rows kept of a stream of labels; a row is its place and its label."""
    labels = np.asarray(labels, "int64")
    places = np.arange(len(labels), dtype="float32")[:, None]
    slots = Slots([tf.TensorSpec([None, 1]), tf.TensorSpec([None], tf.int64)], size, seed)

    def offer(x, y):
        slots.offer([x, y], y)

    step = offer if compile_options is None else tf.function(offer, reduce_retracing=True, **compile_options)
    for at in range(0, len(labels), batch):
        step(places[at : at + batch], labels[at : at + batch])
    x, y = slots.read()
    return x[:, 0].astype(int), y


@settings(deadline=None, max_examples=30)
@given(
    labels=st.lists(st.integers(-1, 4), min_size=1, max_size=120).map(np.array),
    batch=st.integers(1, 50),
    size=st.integers(1, 40),
)
def test_rows_are_distinct_and_by_class_as_equal_as_the_stream_allows(labels, batch, size):
    places, kept = stream(labels, batch, size)
    np.testing.assert_array_equal(labels[places], kept)
    assert len(places) == len({*places.tolist()}) == min(size, len(labels))
    chosen, there = np.bincount(kept + 1, minlength=6), np.bincount(labels + 1, minlength=6)
    short = there > chosen
    if short.any():
        assert chosen.max() - chosen[short].min() <= 1
    assert (np.diff(kept) >= 0).all()


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}], ids=["graph", "xla"])
def test_a_class_that_comes_late_has_its_share(options):
    labels = [0] * 500 + [1] * 100 + [2] * 3
    places, kept = stream(labels, 64, 30, compile_options=options)
    assert np.bincount(kept).tolist() == [14, 13, 3]
    assert stream(labels, 64, 30, compile_options=options)[0].tolist() == places.tolist()
    assert stream(labels, 64, 30, seed=1, compile_options=options)[0].tolist() != places.tolist()


@pytest.mark.slow
def test_each_row_of_a_class_is_as_likely():
    drawn = np.zeros(40)
    for seed in range(300):
        places, _ = stream([0] * 40, 8, 10, seed)
        drawn[places] += 1
    # Ten of forty without replacement: less even than this in one of ten thousand tries.
    statistic = ((drawn - 75) ** 2 / (300 * 0.25 * 0.75)).sum() * 39 / 40
    assert statistic < chi2.ppf(0.9999, 39)


def test_after_so_many_rows_it_looks_no_more(monkeypatch):
    monkeypatch.setattr(captured, "ROWS", 20)
    slots = Slots([tf.TensorSpec([None, 1])], 4, 0)
    slots.offer([tf.zeros([16, 1])], None)
    assert slots.hungry
    slots.offer([tf.zeros([16, 1])], None)
    assert not slots.hungry


def test_nothing_offered_is_nothing_kept():
    slots = Slots([tf.TensorSpec([None, 2]), tf.TensorSpec([None], tf.string)], 4, 0)
    assert [len(value) for value in slots.read()] == [0, 0]


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "bool", "int32", "complex64", "string"])
def test_rows_of_any_kind(dtype):
    given = tf.as_string(tf.range(12)) if dtype == "string" else tf.cast(tf.range(12) % 2, dtype)
    slots = Slots([tf.TensorSpec([None, 3], dtype)], 3, 0)
    slots.offer([tf.reshape(given, [4, 3])], None)
    slots.offer([tf.reshape(given, [4, 3])], None)
    [kept] = slots.read()
    rows = tf.reshape(given, [4, 3]).numpy().tolist()
    assert len(kept) == 3
    assert all(row in rows for row in kept.tolist())


def test_rows_of_unknown_shape_are_all_of_the_first_batch():
    slots = Slots([tf.TensorSpec([None, None])], 6, 0)

    @tf.function(input_signature=[tf.TensorSpec([None, None])])
    def offer(x):
        slots.offer([x], None)

    for rows, width in ((4, 7), (4, 9)):
        offer(tf.fill([rows, width], float(width)))
    [kept] = slots.read()
    np.testing.assert_array_equal(kept, np.full((4, 7), 7.0))


def test_of_large_rows_fewer_are_kept(monkeypatch):
    monkeypatch.setattr(captured, "_BYTES", 4 * 10 * 3)
    slots = Slots([tf.TensorSpec([None, 10])], 64, 0)
    slots.offer([tf.zeros([50, 10])], None)
    assert slots.read()[0].shape == (3, 10)
