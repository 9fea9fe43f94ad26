"""The mosaic and the heat maps of activations."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots import activations, encode
from mlflow_dlviz.plots._style import HEIGHT, WIDTH

MAPS, SERIES, SAMPLES = "channel,row,column", "channel,position", "sample,unit"


def arguments(values, axes=MAPS, **changes):
    values = np.asarray(values)
    chosen = values.shape[-1 if axes == SAMPLES else 0]
    given = {
        "values": values, "axes": np.array(axes), "limit": np.array(1.0), "low": np.array(0.0),
        "channels": np.arange(chosen), "total": np.array(chosen), "input": np.zeros((8, 8, 1), np.uint8),
        "layer": np.array("conv2d"), "kind": np.array("Conv2D"), "epoch": np.array(3),
        "dead": np.array(0.25), "clipped": np.array(0.001),
    }  # fmt: skip
    return given | changes


def draw(values, axes=MAPS, **changes):
    return activations.draw(**arguments(values, axes, **changes))


def images(figure):
    return {image.get_label(): image for area in figure.axes for image in area.images}


def words(figure):
    return " | ".join(line.get_text() for line in figure.texts)


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 3))
def test_mosaic_has_every_value_of_every_channel_at_its_place(count, height, width, columns, gap):
    tiles = np.arange(count * height * width, dtype=float).reshape(count, height, width)
    sheet = activations.mosaic(tiles, columns, gap)
    rows = -(-count // columns)
    assert sheet.shape == (rows * (height + gap) - gap, columns * (width + gap) - gap)
    for c, row, column in np.ndindex(tiles.shape):
        y, x = (c // columns) * (height + gap) + row, (c % columns) * (width + gap) + column
        assert sheet[y, x] == tiles[c, row, column]
    assert np.isfinite(sheet).sum() == tiles.size


@given(st.integers(1, 600), st.integers(1, 300), st.integers(1, 300))
def test_tiling_fits_its_room(count, height, width):
    room = (396, 490)
    columns, scale = activations.tiling(count, height, width, room)
    rows = -(-count // columns)
    assert scale > 0
    assert rows * scale * height + (rows - 1) * activations.GAP <= room[0] + 1e-6
    assert columns * scale * width + (columns - 1) * activations.GAP <= room[1] + 1e-6


@given(st.integers(1, 6), st.integers(1, 6), st.floats(1, 9))
def test_enlarging_repeats_and_invents_nothing(height, width, scale):
    tiles = np.arange(2.0 * height * width).reshape(2, height, width)
    large = activations.resize(tiles, scale)
    np.testing.assert_array_equal(np.unique(large), np.unique(tiles))
    rows = np.arange(large.shape[1]) * height // large.shape[1]
    np.testing.assert_array_equal(large[:, :, 0], tiles[:, rows, 0])


def test_shrinking_averages_and_keeps_nan():
    tiles = np.arange(32.0).reshape(2, 4, 4)
    np.testing.assert_allclose(activations.resize(tiles, 0.5)[0], [[2.5, 4.5], [10.5, 12.5]])
    tiles[1, 0, 0] = np.nan
    assert np.isnan(activations.resize(tiles, 0.5)[1, 0, 0])


def test_colours_have_the_frozen_limits_and_the_map_says_the_sign():
    one_sided = images(draw(np.full((4, 3, 3), 0.5), limit=np.array(2.5)))["activations"]
    signed = images(draw(np.full((4, 3, 3), 0.5), low=np.array(-2.5), limit=np.array(2.5)))["activations"]
    assert (one_sided.get_clim(), signed.get_clim()) == ((0, 2.5), (-2.5, 2.5))
    assert (one_sided.cmap, signed.cmap) == (style.SEQUENTIAL, style.DIVERGING)


def test_pixels_of_the_mosaic_are_whole_and_inside_the_picture():
    image = images(draw(np.random.default_rng(0).random((64, 7, 5))))["activations"]
    left, right, bottom, top = image.get_extent()
    assert (bottom - top, right - left) == image.get_array().shape
    assert left >= 16
    assert top >= style.TOP
    assert right <= WIDTH - 100
    assert bottom <= HEIGHT


def test_text_says_layer_kind_epoch_subset_dead_and_clipped():
    said = words(draw(np.zeros((4, 3, 3)), total=np.array(32)))
    for part in ("conv2d · Conv2D", "epoch 3", "4 of 32 channels", "25 % dead", "<1 % clipped"):
        assert part in said
    assert "finite" not in said


def test_values_that_are_not_finite_are_grey_and_counted():
    values = np.zeros((2, 2, 2))
    values[1] = np.nan, np.inf
    figure = draw(values)
    image = images(figure)["activations"]
    tile = image.to_rgba(image.get_array())
    assert "50 % not finite (grey)" in words(figure)
    grey = np.array([0x9E, 0x9E, 0x9E, 255]) / 255
    np.testing.assert_allclose(tile[-1, -1], grey)
    assert not np.allclose(tile[0, 0], grey)
    encode(figure)


@pytest.mark.parametrize("limit", [0, np.nan, np.inf, -1])
def test_a_layer_dead_from_the_start_is_drawn(limit):
    encode(draw(np.zeros((4, 3, 3)), limit=np.array(limit)))


@pytest.mark.parametrize(
    ("sample", "drawn"),
    [
        (np.zeros((8, 8), np.uint8), "input"),
        (np.ones((8, 8, 1)), "input"),
        (np.full((300, 20, 3), -7.5), "input"),
        (np.full((8, 8, 3), np.nan), "input"),
        (np.zeros((8, 8, 8, 1)), None),
        (np.zeros((8, 8, 5)), "input, mean of 5"),
        (np.full((8, 8, 2), np.nan), "input, mean of 2"),
        (np.full((9, 8, 4), 7, np.uint8), "input, mean of 4"),
        (np.zeros((8, 8, 0)), None),
        (np.empty(0), None),
        (np.array("a text"), None),
    ],
)
def test_input_is_shown_when_it_is_an_image(sample, drawn):
    figure = draw(np.zeros((4, 3, 3)), input=sample)
    assert ("input" in images(figure)) == (drawn is not None)
    assert drawn is None or drawn in words(figure)
    encode(figure)


def test_input_image_keeps_its_aspect_and_range():
    image = images(draw(np.zeros((4, 3, 3)), input=np.array([[-3.0, 5.0]] * 3)))["input"]
    left, right, bottom, top = image.get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2 / 3)
    assert (image.get_array().min(), image.get_array().max()) == (0, 1)


def test_of_an_image_of_many_channels_the_mean_is_drawn():
    sample = np.random.default_rng(0).uniform(2, 9, (6, 7, 8))
    image = images(draw(np.zeros((4, 3, 3)), input=sample))["input"]
    unit = (sample - sample.min()) / np.ptp(sample)
    np.testing.assert_allclose(image.get_array(), unit.mean(axis=2))


@pytest.mark.parametrize("features", [np.array([1.0, -2, 0.5]), np.zeros(3), np.array([np.nan, np.inf, 1])])
def test_input_row_of_a_table_is_a_bar_per_feature(features):
    figure = draw(np.zeros((4, 3, 3)), input=features)
    bars = next(patch for patch in figure.axes[0].patches if patch.get_label() == "input")
    assert len(bars.get_data().values) == 3
    encode(figure)


def test_series_have_a_row_per_channel_named_by_its_number():
    values = np.random.default_rng(0).random((3, 50))
    figure = draw(values, SERIES, channels=np.array([2, 7, 40]), total=np.array(64), input=np.arange(50.0))
    image = images(figure)["activations"]
    np.testing.assert_array_equal(image.get_array(), values)
    assert [label.get_text() for label in image.axes.get_yticklabels()] == ["2", "7", "40"]
    assert "position" in words(figure)


def test_long_series_are_averaged_not_skipped():
    values = np.zeros((2, 20_000))
    values[:, ::2] = 1
    shown = images(draw(values, SERIES))["activations"].get_array()
    assert shown.shape[1] < WIDTH
    np.testing.assert_allclose(shown, 0.5, atol=0.02)


def test_dense_layers_show_samples_sorted_by_class():
    labels = np.array([1, 0, 2, 0])
    values = np.arange(8.0).reshape(4, 2) / 8
    names = np.array(["a $ sign", "<b>", "line\nbreak"])
    figure = draw(values, SAMPLES, labels=labels, class_names=names)
    np.testing.assert_array_equal(images(figure)["activations"].get_array(), values[[1, 3, 0, 2]])
    assert images(figure)["classes"].get_array().shape == (4, 1, 3)
    for name in (r"a \$ sign", "<b>", "line break"):
        assert name in words(figure)
    assert "2 units" in words(figure)


def test_labels_that_are_no_class_are_named_by_their_number():
    labels, names = np.array([0, 255, -1, 1]), np.array(["first", "last"])
    figure = draw(np.zeros((4, 2)), SAMPLES, labels=labels, class_names=names)
    assert {"255", "-1", "first", "last"} <= {*words(figure).split()}


def test_dense_layers_without_labels_keep_their_order():
    values = np.random.default_rng(0).random((5, 3))
    figure = draw(values, SAMPLES)
    np.testing.assert_array_equal(images(figure)["activations"].get_array(), values)
    assert "probe sample" in words(figure)


def test_a_thousand_classes_are_not_all_named():
    figure = draw(
        np.zeros((2000, 4)), SAMPLES, labels=np.arange(2000) % 1000, class_names=np.arange(1000).astype(str)
    )
    assert len(figure.texts) < 30


@pytest.mark.parametrize("shape", [(1, 1, 1), (512, 14, 14), (3, 1, 400), (2, 400, 1), (5, 700, 900)])
def test_any_shape_is_drawn_quickly(shape):
    given = arguments(np.random.default_rng(0).random(shape))
    start = time.thread_time()
    encode(activations.draw(**given))
    assert time.thread_time() - start < 2


@pytest.mark.parametrize(
    ("shape", "axes", "match"),
    [
        ((0, 3, 3), MAPS, "shape"),
        ((3, 3), MAPS, "shape"),
        ((0, 4), SAMPLES, "shape"),
        ((2, 2), "rows", "axes='rows'"),
    ],
)
def test_what_cannot_be_drawn_is_said(shape, axes, match):
    with pytest.raises(ValueError, match=match):
        draw(np.zeros(shape), axes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, bool])
def test_any_kind_of_number_is_drawn(dtype):
    encode(draw(np.ones((2, 3, 3), dtype)))


@pytest.mark.parametrize("limit", [5e-324, 1e-40, 1e300])
@pytest.mark.parametrize("sign", [0, -1])
def test_extreme_numbers_are_drawn_without_a_warning(limit, sign):
    given = {"limit": np.array(limit), "low": np.array(sign * limit), "input": np.array([[1e308, -1e308]])}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(draw(np.full((2, 3, 3), limit / 2), **given))
        encode(draw(np.full((2, 900, 900), limit), **given))
        encode(draw(np.full((2, 5000), limit), SERIES, **given))


def test_long_names_leave_room_for_the_epoch():
    figure = draw(np.zeros((2, 3, 3)), layer=np.array("a_layer/" * 20), kind=np.array("SeparableConvolution2D"))
    encode(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    title, epoch = (line.get_window_extent(renderer) for line in figure.texts[:2])
    assert title.x1 < epoch.x0
