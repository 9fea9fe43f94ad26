"""The decision boundary: fills, line, data and what the text admits."""

import warnings

import numpy as np
import pytest

from mlflow_dlviz.plots import _style as style
from mlflow_dlviz.plots import boundary, encode

GRID = 40


def arguments(classes=2, samples=30, **changes):
    rng = np.random.default_rng(0)
    xs, ys = np.linspace(-2, 3, GRID), np.linspace(0, 1, GRID)
    slope = np.broadcast_to(np.linspace(0, 1, GRID), (GRID, GRID))
    given = {
        "xs": xs, "ys": ys, "probability": slope, "predicted": (slope * (classes - 0.01)).astype(int),
        "points": np.column_stack([rng.uniform(-2, 3, samples), rng.uniform(0, 1, samples)]),
        "labels": np.arange(samples) % classes, "class_names": np.array([f"class {k}" for k in range(classes)]),
        "axis_names": np.array(["height", "width"]), "agreement": np.array(np.nan),
        "explained": np.array([np.nan, np.nan]), "plane": np.array("features"), "epoch": np.array(2),
    }  # fmt: skip
    return given | changes


def draw(*args, **changes):
    return boundary.draw(**arguments(*args, **changes))


def words(figure):
    return " | ".join(line.get_text() for line in figure.texts)


def filled(figure):
    return [c for c in figure.axes[0].collections if c.get_array() is not None and len(c.get_array()) > 1]


def test_limits_are_those_of_the_grid_whatever_the_points():
    area = draw(points=np.array([[99.0, -99.0]]), labels=np.array([0])).axes[0]
    assert (area.get_xlim(), area.get_ylim()) == ((-2, 3), (0, 1))


def test_two_classes_have_fixed_levels_and_the_line_at_a_half():
    area = draw().axes[0]
    fill, line = area.collections[:2]
    np.testing.assert_allclose(fill.levels, np.linspace(0, 1, 11))
    assert fill.get_clim() == (0, 1)
    assert line.levels == [0.5]
    path = line.get_paths()[0].vertices
    np.testing.assert_allclose(path[:, 0], 0.5, atol=0.01)


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 1.0, np.nan, 7.5])
def test_constant_probability_draws_without_a_warning(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for classes in (1, 2, 3):
            encode(draw(classes, probability=np.full((GRID, GRID), value)))


def test_nan_in_part_of_the_plane_is_grey():
    probability = np.array(arguments(3)["probability"])
    probability[:5] = np.nan
    encode(draw(2, probability=probability))
    picture = draw(3, probability=probability).axes[0].images[0].get_array()
    np.testing.assert_array_equal(picture[0, 0], [0x9E] * 3)


def test_points_are_marked_by_their_true_class_in_colour_and_shape():
    given = arguments(3)
    figure = boundary.draw(**given)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert set(lines) == {"class 0", "class 1", "class 2"}
    for k in range(3):
        xy = np.column_stack(lines[f"class {k}"].get_data())
        np.testing.assert_array_equal(xy, given["points"][given["labels"] == k])
        assert lines[f"class {k}"].get_markeredgecolor() == "white"
    looks = {(style.colour(k), style.MARKERS[k % len(style.MARKERS)]) for k in range(90)}
    assert len(looks) == 90


def test_regions_take_the_predicted_classs_hue_and_pale_with_doubt():
    predicted = np.zeros((GRID, GRID), int)
    predicted[:, GRID // 2 :] = 2
    probability = np.full((GRID, GRID), 1.0)
    probability[: GRID // 2] = 1 / 3
    picture = np.asarray(
        draw(3, predicted=predicted, probability=probability).axes[0].images[0].get_array(), float
    )
    doubt, sure = picture[0, 0], picture[-1, 0]
    assert doubt.sum() > sure.sum()
    assert sure.argmax() == 2  # blue
    assert picture[-1, -1].argmax() == 1  # green


def test_the_picture_says_how_far_a_plane_can_be_trusted():
    said = words(
        draw(
            3,
            agreement=np.array(0.834),
            plane=np.array("principal"),
            explained=np.array([0.61, 0.15]),
            axis_names=np.array(["PC 1", "PC 2"]),
        )  # fmt: skip
    )
    for part in ("own prediction for 83 %", "PC 1 (61 % of variance)", "PC 2 (15 % of variance)", "epoch 2"):
        assert part in said


def test_features_have_their_names_and_no_claim():
    said = words(draw())
    assert "height" in said
    assert "variance" not in said
    assert "prediction" not in said
    assert "P(class 1)" in said


def test_a_thousand_classes_are_not_all_listed():
    figure = draw(1000, samples=2000)
    assert "+ 990 more" in words(figure)
    assert len(figure.texts) < 30
    encode(figure)


def test_degenerate_data_and_names_are_drawn():
    names = np.array(["$x$", "<b>bold</b>", "two\nlines", "👩‍👩‍👧", "y" * 500])
    encode(draw(5, class_names=names, axis_names=np.array(["$", "z" * 500])))
    encode(draw(2, points=np.empty((0, 2)), labels=np.empty(0, int)))
    encode(draw(2, points=np.full((3, 2), np.nan), labels=np.array([0, 1, 5])))
    encode(draw(1, labels=np.zeros(30, int)))
    encode(draw(2, xs=np.zeros(GRID) + 1e-12 * np.arange(GRID)))


def test_a_grid_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        draw(probability=np.zeros((3, 3)))
