"""Activation grids: the channels, the scale and the values, on arrays that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_dlviz.capture import activations
from mlflow_dlviz.capture.activations import _shrunk, _spread
from mlflow_dlviz.capture.moment import NotShown
from mlflow_dlviz.capture.passes import Activation

RNG = np.random.default_rng(0)


def layer(values, index=0, path="conv", kind="Conv2D", function="relu", channels_first=False):
    return Activation(index, path, kind, function, np.asarray(values, "float32"), channels_first)


@pytest.fixture
def shown(moment):
    """The captured leaves of layers, and what was frozen."""

    def capture(*layers, frozen_from=None, channels=64, x=None, labels=None):
        def at(found):
            values = {"activations": {each.path: each for each in found}}
            samples = np.zeros((len(found[0].values) if found else 4, 4)) if x is None else x
            return moment(samples, labels, values=values)

        frozen = activations.freeze(at(frozen_from or layers), channels=channels)
        return activations.capture(at(layers), frozen), frozen

    return capture


def test_maps_of_the_first_sample(shown):
    values = RNG.uniform(0, 1, (5, 6, 7, 3))
    leaves, _ = shown(layer(values))
    frame = leaves["00.conv"]
    assert frame["axes"] == "channel,row,column"
    np.testing.assert_allclose(frame["values"], np.moveaxis(values[0], -1, 0), atol=1e-3)
    assert frame["total"] == 3
    assert frame["layer"] == "conv"
    assert frame["kind"] == "Conv2D"
    assert frame["epoch"] == 3


def test_channels_first_is_turned(shown):
    values = RNG.uniform(0, 1, (5, 3, 6, 7))
    leaves, _ = shown(layer(values, channels_first=True))
    np.testing.assert_allclose(leaves["00.conv"]["values"], values[0], atol=1e-3)


def test_sequences_are_channel_by_position(shown):
    leaves, _ = shown(layer(RNG.uniform(0, 1, (5, 9, 4)), kind="Conv1D"))
    assert leaves["00.conv"]["axes"] == "channel,position"
    assert leaves["00.conv"]["values"].shape == (4, 9)


def test_dense_layers_show_all_samples_with_their_classes(shown):
    labels = np.array([0, 0, 1, 1, 1])
    values = RNG.normal(size=(5, 4))
    leaves, _ = shown(layer(values, path="dense", kind="Dense"), labels=labels)
    frame = leaves["00.dense"]
    assert frame["axes"] == "sample,unit"
    np.testing.assert_allclose(frame["values"], values, rtol=1e-3)
    np.testing.assert_array_equal(frame["labels"], labels)
    assert frame["class_names"].tolist() == ["0", "1"]


def test_the_scale_is_of_the_first_frame(shown):
    first = RNG.uniform(0, 1, (5, 40))
    leaves, frozen = shown(layer(first * 100), frozen_from=[layer(first)])
    limit = 4 * np.percentile(first.astype("float32"), 99.5)
    assert frozen["00.conv:limit"] == pytest.approx(limit)
    assert leaves["00.conv"]["limit"] == pytest.approx(limit)
    assert leaves["00.conv"]["low"] == 0
    assert leaves["00.conv"]["clipped"] == pytest.approx((first * 100 > limit).mean(), abs=0.01)


@pytest.mark.parametrize(
    ("function", "low", "limit"), [("softmax", 0, 1), ("sigmoid", 0, 1), ("tanh", -1, 1), ("", None, None)]
)
def test_known_bounds_are_the_scale(shown, function, low, limit):
    _, frozen = shown(layer(RNG.normal(size=(5, 4)), function=function))
    if limit is None:
        assert frozen["00.conv:low"] == -frozen["00.conv:limit"]
    else:
        assert (frozen["00.conv:low"], frozen["00.conv:limit"]) == (low, limit)


def test_a_silent_layer_has_a_scale_and_is_dead(shown):
    leaves, frozen = shown(layer(np.zeros((5, 4))))
    assert frozen["00.conv:limit"] == 1
    assert leaves["00.conv"]["dead"] == 1


def test_dead_is_the_share_of_silent_channels(shown):
    values = RNG.uniform(0.1, 1, (5, 4, 4, 8))
    values[..., :2] = 0
    assert shown(layer(values))[0]["00.conv"]["dead"] == 0.25


def test_nan_is_shown_and_not_in_the_scale(shown):
    values = RNG.uniform(0, 1, (5, 4))
    values[0, 0] = np.nan
    leaves, frozen = shown(layer(values), layer(np.full((5, 4), np.nan), index=1, path="all"))
    assert np.isfinite(frozen["00.conv:limit"])
    assert frozen["01.all:limit"] == 1
    assert np.isnan(leaves["00.conv"]["values"][0, 0])


def test_large_values_keep_their_range(shown):
    leaves, _ = shown(layer(np.full((5, 4), 1e6)))
    assert leaves["00.conv"]["values"].max() == 1e6
    assert leaves["00.conv"]["values"].dtype == np.float32


@given(total=st.integers(1, 600), most=st.integers(1, 100))
def test_channels_are_evenly_spread(total, most):
    chosen = _spread(total, most)
    assert len(chosen) == min(total, most)
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] == 0
    if most > 1:
        assert chosen[-1] == total - 1
    if len(chosen) > 1:
        assert np.ptp(np.diff(chosen)) <= 1


def test_the_choice_of_channels_is_frozen(shown):
    leaves, frozen = shown(layer(RNG.uniform(0, 1, (2, 4, 4, 200))), channels=10)
    assert len(frozen["00.conv:channels"]) == 10
    assert leaves["00.conv"]["values"].shape == (10, 4, 4)
    assert leaves["00.conv"]["total"] == 200


def test_huge_maps_are_averaged():
    maps = RNG.uniform(0, 1, (8, 401, 403))
    small = _shrunk(maps)
    assert small.size <= 2**18
    assert small[0, 0, 0] == pytest.approx(maps[0, : 401 // small.shape[1], : 403 // small.shape[2]].mean())
    few = RNG.uniform(0, 1, (8, 40, 40))
    assert _shrunk(few) is few


def test_narrow_maps_keep_their_size_when_averaged():
    assert _shrunk(np.ones((64, 2**14, 1))).shape[2] == 1


def test_shapes_that_are_no_picture_are_left_out(shown, moment):
    leaves, _ = shown(layer(np.zeros((5, 4))), layer(np.zeros((5, 2, 2, 2, 4)), index=1, path="volume"))
    assert list(leaves) == ["00.conv"]
    with pytest.raises(NotShown, match="no layer of a kind that is shown"):
        activations.freeze(moment(np.zeros((5, 4)), values={"activations": {}}))


def test_the_input_is_shown_where_it_is_numbers(shown):
    image = RNG.uniform(0, 1, (5, 8, 8, 1))
    np.testing.assert_array_equal(shown(layer(np.ones((5, 4))), x=image)[0]["00.conv"]["input"], image[0])
    words = np.asarray([["a"], ["b"], ["c"], ["d"], ["e"]])
    assert shown(layer(np.ones((5, 4))), x=words)[0]["00.conv"]["input"].size == 0


def test_the_input_of_a_channels_first_layer_is_turned(shown):
    image = RNG.uniform(0, 1, (5, 2, 8, 9))
    one = layer(RNG.uniform(0, 1, (5, 3, 6, 7)), channels_first=True)
    np.testing.assert_array_equal(shown(one, x=image)[0]["00.conv"]["input"], np.moveaxis(image[0], 0, -1))


@pytest.mark.parametrize(
    ("shape", "most"), [((3000, 2000, 3), 2**18), ((3000, 2000), 2**18), ((100_003,), 2**13)], ids=str
)
def test_a_large_input_is_averaged(shown, shape, most):
    x = RNG.uniform(0, 1, (1, *shape)).astype("float32")
    found = shown(layer(np.ones((1, 4))), x=x)[0]["00.conv"]["input"]
    assert found.ndim == len(shape)
    assert found.size <= most
    assert found.mean() == pytest.approx(x.mean(), abs=0.01)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("error")
def test_values_that_are_not_finite_are_no_trouble(shown, strange):
    values = RNG.normal(size=(3, 40, 40, 200))
    values[0, 3] = strange
    frame = shown(layer(values))[0]["00.conv"]
    assert np.isfinite(frame["limit"])
    assert not np.isfinite(frame["values"]).all()
    dense = shown(layer(np.full((5, 4), strange)))[0]["00.conv"]
    assert dense["dead"] == 0


def test_ids_are_no_row_of_a_table(moment):
    import dataclasses

    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(5, 2)])
    for build, size in ((model, 0), (None, 3)):
        at = moment(np.zeros((5, 3), "int64"), values={"activations": {"conv": layer(np.ones((5, 3, 2)))}})
        at = dataclasses.replace(at, model=build)
        assert activations.capture(at, activations.freeze(at))["00.conv"]["input"].size == size


def test_a_layer_that_appears_later_is_left_out(shown):
    one, two = layer(np.ones((5, 4))), layer(np.ones((5, 4)), index=1, path="late")
    assert list(shown(one, two, frozen_from=[one])[0]) == ["00.conv"]


def test_without_a_probe_it_is_not_shown(moment):
    with pytest.raises(NotShown, match="probe"):
        activations.freeze(moment(values={}))
