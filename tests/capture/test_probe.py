"""The probe: a small fixed sample, by class, of what ``fit`` was given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_dlviz.capture.heads import Head
from mlflow_dlviz.capture.moment import NotShown
from mlflow_dlviz.capture.probe import _choose, class_labels, find_source, name_classes, take_probe

BINARY, OTHER = Head("binary"), Head("other", reason="a regression")


def rng(seed=0):
    return np.random.default_rng(seed)


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=300).map(np.array),
    size=st.integers(1, 90),
    seed=st.integers(0, 99),
)
def test_rows_are_distinct_and_by_class_as_equal_as_the_data_allow(labels, size, seed):
    rows = _choose(labels, len(labels), size, rng(seed))
    assert len(rows) == len({*rows.tolist()}) == min(size, len(labels))
    chosen = np.bincount(labels[rows], minlength=6)
    there = np.bincount(labels, minlength=6)
    assert (chosen <= there).all()
    # A class gets fewer than another only when it has no more, or by the one that is left over.
    short = there > chosen
    if short.any():
        assert chosen.max() - chosen[short].min() <= 1
    assert (np.diff(labels[rows]) >= 0).all()


@given(total=st.integers(1, 200), size=st.integers(1, 90))
def test_without_labels_rows_are_distinct_and_in_order(total, size):
    rows = _choose(None, total, size, rng())
    assert len(rows) == min(size, total)
    assert (np.diff(rows) > 0).all()


def test_the_seed_decides(call):
    x, y = np.arange(500.0)[:, None], np.tile([0, 1], 250)
    probes = [take_probe(call((x, y)), BINARY, 20, rng(seed)).x for seed in (0, 0, 1)]
    np.testing.assert_array_equal(probes[0], probes[1])
    assert not np.array_equal(probes[0], probes[2])


def test_validation_data_come_first(call):
    train, validation = (np.zeros((9, 2)), np.zeros(9)), (np.ones((9, 2)), np.ones(9))
    probe = take_probe(call(train, validation), BINARY, 4, rng())
    assert probe.subset == "validation"
    assert probe.x.min() == 1
    assert take_probe(call(train), BINARY, 4, rng()).subset == "training"


def test_samples_and_targets_belong_together(call):
    x, y = np.arange(100.0)[:, None], np.arange(100) % 3
    probe = take_probe(call((x, y)), Head("multiclass"), 12, rng())
    np.testing.assert_array_equal(probe.x[:, 0] % 3, probe.y)
    np.testing.assert_array_equal(probe.labels, probe.y)
    assert np.bincount(probe.labels).tolist() == [4, 4, 4]
    assert len(probe) == 12


def test_fewer_samples_than_asked_for_are_all_taken(call):
    probe = take_probe(call((np.arange(5.0)[:, None], np.array([0, 1, 0, 1, 1]))), BINARY, 64, rng())
    assert sorted(probe.x[:, 0]) == [0, 1, 2, 3, 4]


def test_the_probe_is_a_copy(call):
    x, y = np.zeros((8, 2)), np.zeros(8)
    probe = take_probe(call((x, y)), BINARY, 4, rng())
    x[:], y[:] = 7, 1
    assert probe.x.max() == probe.y.max() == 0


def test_frames_of_pandas_are_tables(call):
    x = pd.DataFrame({"a": np.arange(30.0), "b": 1.0}, index=np.arange(30)[::-1])
    y = pd.Series(np.arange(30) % 2, index=x.index)
    probe = take_probe(call((x, y)), BINARY, 6, rng())
    assert isinstance(probe.x, np.ndarray)
    np.testing.assert_array_equal(probe.x[:, :1] % 2, probe.y)  # a column, as Keras takes a Series
    assert np.bincount(probe.labels).tolist() == [3, 3]


def test_several_inputs_are_sampled_alike(call):
    values = np.arange(30.0)
    for x in ({"a": values, "b": values + 100}, [values, values + 100], (values, values + 100)):
        probe = take_probe(call((x, values % 2)), BINARY, 6, rng())
        assert type(probe.x) is type(x)
        first, second = probe.x.values() if isinstance(x, dict) else probe.x
        np.testing.assert_array_equal(first + 100, second)
        np.testing.assert_array_equal(first % 2, probe.y)


def test_no_targets_and_several_targets_leave_labels_out(call):
    x = np.zeros((9, 2))
    assert take_probe(call((x, None)), BINARY, 4, rng()).labels is None
    several = take_probe(call((x, {"a": np.zeros(9), "b": np.zeros(9)})), OTHER, 4, rng())
    assert several.y is several.labels is None
    assert take_probe(call((x, np.zeros(9))), OTHER, 4, rng()).labels is None


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (iter([1]), "validation data is a list_iterator"),
        ((row for row in [1]), "validation data is a generator"),
        (np.zeros((0, 4)), "validation data has no samples"),
        ({"a": iter([1])}, "only arrays can be sampled"),
        (tf.ragged.constant([[1.0], [2.0, 3.0]]), "has a RaggedTensor; only dense"),
        ([np.zeros((3, 4)), tf.sparse.eye(3)], "has a SparseTensor; only dense"),
        (scipy.sparse.eye_array(3, format="csr"), "has a csr_array; only dense"),
    ],
    ids=["iterator", "generator", "empty", "dict", "ragged", "sparse", "scipy"],
)
def test_what_can_not_be_sampled_is_not_shown(call, x, words):
    with pytest.raises(NotShown, match=words):
        take_probe(call(validation=(x, None)), BINARY, 4, rng())


def test_a_generator_is_not_consumed(call):
    generator = iter([1, 2])
    with pytest.raises(NotShown):
        take_probe(call((generator, None)), BINARY, 4, rng())
    assert next(generator) == 1


@pytest.mark.parametrize(
    ("validation", "settings", "subset"),
    [
        (np.zeros((3, 2)), {}, "validation"),
        (np.zeros((3, 2)), {"validation_freq": 2}, "validation"),
        (iter([]), {}, "validation"),
        (iter([]), {"validation_freq": 2}, "training"),
        (iter([]), {"validation_freq": 2, "initial_epoch": 1}, "validation"),
        (iter([]), {"validation_freq": [1, 4]}, "validation"),
        (iter([]), {"validation_freq": [3]}, "training"),
    ],
    ids=["arrays", "arrays-2", "stream", "stream-2", "stream-2-from-1", "stream-at-1", "stream-at-3"],
)
def test_the_source_is_there_when_the_first_frame_is_due(call, validation, settings, subset):
    given = call((np.zeros((9, 2)), None), (validation, None), **settings)
    assert find_source(given)[0] == subset


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        ([0, 2, 1], [0, 2, 1]),
        ([[0.0], [2.0], [1.0]], [0, 2, 1]),
        ([[1, 0, 0], [0, 0, 1], [0, 1, 0]], [0, 2, 1]),
        ([[0.9, 0.05, 0.05], [0.05, 0.05, 0.9], [0.05, 0.9, 0.05]], [0, 2, 1]),
        ([[0, 2, 1], [1, 1, 2]], None),
        ([True, False, True], [1, 0, 1]),
        (["a", "b", "c"], None),
        (np.zeros((3, 2, 2)), None),
        (np.asarray([None, 1, 2], dtype=object), None),
    ],
    ids=["sparse", "column", "one-hot", "smoothed", "positions", "bool", "text", "maps", "objects"],
)
def test_class_labels_of_any_target(y, labels):
    found = class_labels(np.asarray(y))
    assert (found is None) == (labels is None)
    if labels is not None:
        assert found.tolist() == labels


def test_classes_are_named_by_the_user_or_by_index():
    assert name_classes(3, None) == ("0", "1", "2")
    assert name_classes(2, ["cat", "dog"]) == ("cat", "dog")
    with pytest.raises(NotShown, match="3 names, the model has 2 classes"):
        name_classes(2, ["a", "b", "c"])


def test_what_no_class_can_be_is_none():
    labels = class_labels(np.array([0, 2, -1, np.nan, np.inf, 1e30, 255]))
    assert labels.tolist() == [0, 2, -1, -1, -1, -1, 255]
