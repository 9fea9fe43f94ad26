"""Histograms of probabilities: what each bar is, and fixed scales."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_dlviz.plots import encode, probabilities

HARD = ["$x$", "<b>bold</b>", "two\nlines", "👩‍👩‍👧", "y" * 500]


def arguments(counts, names=None):
    counts = np.asarray(counts)
    classes, bins = len(counts), counts.shape[-1]
    names = [f"class {k}" for k in range(classes)] if names is None else names
    return {
        "counts": counts, "edges": np.linspace(0, 1, bins + 1), "class_names": np.array(names),
        "subset": np.array("validation"), "epoch": np.array(4),
    }  # fmt: skip


def random_counts(classes, bins=100):
    return np.random.default_rng(0).integers(0, 50, (classes, 2, bins))


def stacked(counts, epochs):
    frame = arguments(counts[0])
    several = {name: np.stack([np.asarray(value)] * len(epochs)) for name, value in frame.items()}
    return several | {"counts": np.asarray(counts), "epoch": np.asarray(epochs)}


def words(figure):
    return " | ".join(line.get_text() for line in figure.texts)


@given(st.integers(1, 300), st.integers(1, 40))
def test_rebinning_loses_nothing(bins, bars):
    counts = np.random.default_rng(bins).integers(0, 9, (3, 2, bins)).astype(float)
    edges = np.linspace(0, 1, bins + 1)
    joined, new_edges = probabilities.rebin(counts, edges, bars)
    np.testing.assert_allclose(joined.sum(-1), counts.sum(-1))
    assert joined.shape[-1] == len(new_edges) - 1 <= bars
    assert set(new_edges) <= set(edges)
    assert (new_edges[0], new_edges[-1]) == (0, 1)
    first = np.searchsorted(edges, new_edges[1])
    np.testing.assert_allclose(joined[..., 0], counts[..., :first].sum(-1))


def test_two_classes_show_the_second_ones_probability_by_true_class():
    counts = np.zeros((2, 2, 20))
    counts[1, 0, 2], counts[1, 1, 18] = 30, 5
    figure = probabilities.draw(**arguments(counts, ["healthy", "ill"]))
    bars = {patch.get_label(): patch.get_data().values for patch in figure.axes[1].patches if patch.get_fill()}
    assert (np.argmax(bars["healthy"]), np.argmax(bars["ill"])) == (2, 18)
    # Shares, not counts: the small class is as high as the large one.
    assert bars["healthy"].max() == bars["ill"].max() == 1
    for part in ("P(ill)", "healthy: n = 30", "ill: n = 5", "epoch 4", "validation"):
        assert part in words(figure)


def test_limits_and_threshold_do_not_depend_on_the_counts():
    for counts in (random_counts(2), np.eye(100)[None, :2].repeat(2, 0)):
        area = probabilities.draw(**arguments(counts)).axes[1]
        assert (area.get_xlim(), area.get_ylim()) == ((0, 1), (0, 1))
        assert [list(line.get_xdata()) for line in area.lines if line.get_label() == "0.5"] == [[0.5, 0.5]]


def test_many_classes_have_a_panel_each_with_class_and_rest():
    counts = np.zeros((3, 2, 10))
    counts[:, 0, 0], counts[:, 1, 9] = 8, 2
    figure = probabilities.draw(**arguments(counts))
    outlines = {c.get_label(): c for c in figure.axes[0].collections}
    assert len(outlines["class"].get_paths()) == len(outlines["rest"].get_paths()) == 3
    first = outlines["class"].get_paths()[0].vertices
    full = first[np.argmin(first[:, 1]), 0]
    assert full > first[:, 0].mean()
    for name in ("class 0", "class 1", "class 2"):
        assert name in words(figure)


def test_two_labels_have_a_panel_each_and_two_classes_do_not():
    for multilabel in (False, True):
        given = arguments(random_counts(2)) | {"multilabel": np.array(multilabel)}
        assert ("P(label)" in words(probabilities.draw(**given))) == multilabel
        several = stacked(random_counts(2)[None], [0]) | {"multilabel": np.array([multilabel])}
        assert ("P(true label)" in words(probabilities.evolve(**several))) == multilabel
    one = arguments(random_counts(1)) | {"multilabel": np.array(True)}
    encode(probabilities.draw(**one))


def test_of_a_thousand_classes_the_twelve_largest_are_shown():
    counts = np.ones((1000, 2, 10))
    large = np.arange(5, 1000, 83)[:12]
    counts[large] += 10
    figure = probabilities.draw(**arguments(counts))
    assert "12 largest of 1000" in words(figure)
    for k in large:
        assert f"class {k} " in words(figure) + " "
    # A later epoch, with other predictions for the same samples, shows the same classes.
    np.testing.assert_array_equal(probabilities.most_frequent(counts[..., ::-1]), large)
    encode(figure)


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 7, 9, 10, 12, 13])
def test_panels_stay_inside_and_apart(classes):
    figure = probabilities.draw(**arguments(random_counts(classes)))
    encode(figure)
    boxes = probabilities._panels(min(classes, 12), left=62, right=750, top=80, bottom=446)
    assert all(box.left + box.width <= 750 and box.top + box.height <= 446 for box in boxes)
    corners = {(box.left, box.top) for box in boxes}
    assert len(corners) == len(boxes)


@pytest.mark.parametrize("classes", [2, 5])
def test_degenerate_counts_and_names_are_drawn(classes):
    names = HARD[:classes]
    for counts in (np.zeros((classes, 2, 10)), np.full((classes, 2, 10), np.nan), np.ones((classes, 2, 1))):
        encode(probabilities.draw(**arguments(counts, names)))
    one_sided = random_counts(classes)
    one_sided[:, 1] = 0
    encode(probabilities.draw(**arguments(one_sided, names)))


@pytest.mark.parametrize("shape", [(0, 2, 10), (2, 2, 0), (3, 10), (2, 3, 10)])
def test_wrong_counts_are_refused(shape):
    with pytest.raises(ValueError, match="counts"):
        probabilities.draw(**arguments(np.zeros(shape)))


def test_wrong_edges_are_refused():
    with pytest.raises(ValueError, match="edges"):
        probabilities.draw(**(arguments(random_counts(2)) | {"edges": np.arange(3)}))


def test_evolve_shows_share_by_epoch_and_bin():
    counts = np.zeros((3, 2, 2, 10))
    for step, peak in enumerate((5, 7, 9)):
        counts[step, 1, 1, peak] = 4
        counts[step, 1, 0, 9 - peak] = 40
    figure = probabilities.evolve(**stacked(counts, [0, 2, 19]))
    areas = {area.get_label(): area for area in figure.axes}
    second = areas["true class: class 1"].images[0].get_array()
    assert second.shape == (10, 3)
    np.testing.assert_array_equal(second.argmax(axis=0), [5, 7, 9])
    assert second.max() == 1
    below = [label.get_text() for label in areas["true class: class 1"].get_xticklabels()]
    assert below == ["0", "2", "19"]
    assert "unevenly" in words(figure)


def test_evolve_sorts_epochs_and_survives_a_single_one():
    counts = np.zeros((2, 3, 2, 10))
    counts[0, :, 1, 9], counts[1, :, 1, 0] = 1, 1
    figure = probabilities.evolve(**stacked(counts, [7, 3]))
    shown = next(area for area in figure.axes if area.get_label() == "class 0").images[0].get_array()
    np.testing.assert_array_equal(shown.argmax(axis=0), [0, 9])
    encode(probabilities.evolve(**stacked(counts[:1], [0])))
    encode(probabilities.evolve(**stacked(np.zeros((2, 14, 2, 10)), [0, 1])))


def test_evolve_refuses_no_frames():
    with pytest.raises(ValueError, match="S > 0"):
        probabilities.evolve(**(stacked([random_counts(2)], [0]) | {"counts": np.zeros((0, 2, 2, 10))}))
