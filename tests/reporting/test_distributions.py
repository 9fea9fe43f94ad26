"""From counts to shared bins, reliability and calibration error, against scikit-learn on the raw scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.calibration import calibration_curve

from mlflow_dlviz.reporting import distributions

STORED = 100
COUNTS = hnp.arrays(np.int64, st.tuples(st.integers(1, 4), st.just(2), st.just(60)), elements=st.integers(0, 99))


def counted(scores: np.ndarray, is_class: np.ndarray, stored: int = STORED) -> np.ndarray:
    """(2, B) of scores (N,) and whether each sample is of the class (N,) bool."""
    bounds = {"bins": stored, "range": (0, 1)}
    return np.stack([np.histogram(scores[is_class == side], **bounds)[0] for side in (False, True)])


def arrays(counts: np.ndarray, **told) -> dict[str, np.ndarray]:
    """As the visual "probabilities" stores them."""
    names = np.array([f"class {number}" for number in range(len(counts))])
    return {"counts": counts, "edges": np.linspace(0, 1, counts.shape[-1] + 1), "class_names": names} | told


def softmax_scores(rng: np.random.Generator, samples: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Overconfident scores (N, K) and true classes (N,)."""
    logits = rng.standard_normal((samples, classes))
    true = np.array([rng.choice(classes, p=np.exp(row) / np.exp(row).sum()) for row in logits])
    raised = np.exp(2.5 * logits)
    return raised / raised.sum(axis=1, keepdims=True), true


# ---- what was stored -----------------------------------------------------------------------------------------


def test_a_course_is_in_the_order_of_its_epochs():
    found = distributions.course({epoch: arrays(np.full((3, 2, 10), epoch)) for epoch in (7, 0, 3)})
    assert found.epochs == (0, 3, 7)
    assert found.names == ("class 0", "class 1", "class 2")
    assert (found.bins, found.multilabel, found.unusable) == (10, False, 0)
    assert found.stack([3, 7])[:, 0, 0, 0].tolist() == [3, 7]


def test_epochs_of_other_classes_than_the_last_are_left_out_and_counted():
    frames = {
        0: arrays(np.ones((2, 2, 10), int)),
        1: arrays(np.ones((3, 2, 10), int), class_names=np.array(["a", "b", "c"])),
        2: arrays(np.ones((3, 2, 10), int)),
    }
    found = distributions.course(frames)
    assert (found.epochs, found.unusable) == ((2,), 2)


DAMAGED = {
    "nothing": {},
    "a shape": arrays(np.ones((3, 10), int)),
    "no bins": arrays(np.ones((3, 2, 0), int)),
    "text": arrays(np.full((3, 2, 10), "x")),
    "negative": arrays(np.full((3, 2, 10), -1)),
    "not a number": arrays(np.full((3, 2, 10), np.nan)),
    "infinite": arrays(np.full((3, 2, 10), np.inf)),
    "names": arrays(np.ones((3, 2, 10), int), class_names=np.array(["a"])),
    "edges": arrays(np.ones((3, 2, 10), int), edges=np.linspace(0, 1, 10)),
    "uneven edges": arrays(np.ones((3, 2, 10), int), edges=np.linspace(0, 1, 11) ** 2),
    "edges of text": arrays(np.ones((3, 2, 10), int), edges=np.full(11, "x")),
}


@pytest.mark.parametrize("frame", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_such_count_is_not_used(frame):
    assert distributions.course({0: frame}) is None
    found = distributions.course({0: frame, 1: arrays(np.ones((3, 2, 10), int))})
    assert (found.epochs, found.unusable) == ((1,), 1)


# ---- shared bins ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "bins"),
    [([100], 20), ([100, 100], 20), ([100, 50], 10), ([66], 11), ([67], 67), ([100, 66], 2), ([20], 20), ([1], 1)],
)
def test_bins_that_all_can_be_joined_into(sizes, bins):
    assert distributions.joined_bins(sizes) == bins


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_joined_bins_divide_every_size(sizes):
    bins = distributions.joined_bins(sizes)
    assert all(size % bins == 0 for size in sizes)
    kept = [size for size, fits in zip(sizes, distributions.joinable(sizes), strict=True) if fits]
    assert kept
    assert math.gcd(*kept) % distributions.joined_bins(kept) == 0
    assert len(set(kept)) == 1 or distributions.joined_bins(kept) >= 5


def test_runs_whose_bins_cannot_be_joined_give_way_to_the_most():
    assert distributions.joinable([67, 100, 100]) == [False, True, True]
    assert distributions.joinable([67, 100]) == [True, False]


@given(COUNTS, st.sampled_from([1, 5, 12, 20, 60]))
def test_no_count_is_lost_or_moved_by_joining(counts, bins):
    joined = distributions.join(counts, bins)
    assert joined.shape == (*counts.shape[:-1], bins)
    cumulated = np.cumsum(counts, axis=-1)[..., 60 // bins - 1 :: 60 // bins]
    np.testing.assert_array_equal(np.cumsum(joined, axis=-1), cumulated)


# ---- reliability and calibration error -----------------------------------------------------------------------


@pytest.mark.parametrize("bins", [5, 10, 20])
def test_reliability_is_scikit_learns(bins):
    rng = np.random.default_rng(bins)
    scores = rng.beta(0.6, 0.9, 3000)
    true = rng.random(3000) < scores**1.5
    counts = counted(scores, true)
    share, confidence = calibration_curve(true, scores, n_bins=bins)
    own, either = distributions.join(counts[1], bins), distributions.join(counts.sum(0), bins)
    assert (either > 0).all()
    np.testing.assert_allclose(own / either, share, rtol=1e-12)
    found = distributions.mean_scores(counts.sum(0), bins)
    np.testing.assert_allclose(found, confidence, atol=0.5 / STORED)


def error_of(scores: np.ndarray, true: np.ndarray, bins: int) -> float:
    """Guo et al. 2017, eq. 3, of "is it of the class?", from the raw scores."""
    share, confidence = calibration_curve(true, scores, n_bins=bins)
    sizes = np.histogram(scores, bins, (0, 1))[0]
    return float((sizes[sizes > 0] / len(scores) * np.abs(share - confidence)).sum())


@pytest.mark.parametrize("bins", [5, 10, 20])
@pytest.mark.parametrize("samples", [1, 7, 2000])
def test_calibration_error_is_that_of_the_raw_scores(bins, samples):
    rng = np.random.default_rng(samples)
    scores = rng.random(samples)
    true = rng.random(samples) < scores**2
    if samples == 1:
        true = np.array([True])
    found = float(distributions.calibration_error(counted(scores, true), bins))
    assert found == pytest.approx(error_of(scores, true, bins), abs=0.5 / STORED)
    # In the middle of their bins, scores are known exactly.
    middles = (np.floor(scores * STORED) + 0.5) / STORED
    exact = float(distributions.calibration_error(counted(middles, true), bins))
    assert exact == pytest.approx(error_of(middles, true, bins), abs=1e-12)


def test_the_class_wise_error_is_the_mean_over_classes():
    scores, true = softmax_scores(np.random.default_rng(3), 1500, 4)
    counts = np.stack([counted(scores[:, k], true == k) for k in range(4)])
    direct = np.mean([error_of(scores[:, k], true == k, 20) for k in range(4)])
    assert direct > 0.05
    assert distributions.calibration_error(counts, 20).mean() == pytest.approx(direct, abs=0.5 / STORED)


def test_above_a_half_the_counts_of_all_classes_are_those_of_the_top_class():
    scores, true = softmax_scores(np.random.default_rng(4), 1500, 4)
    counts = np.stack([counted(scores[:, k], true == k) for k in range(4)]).sum(0)
    top = counted(scores.max(axis=1), scores.argmax(axis=1) == true)
    np.testing.assert_array_equal(counts[:, STORED // 2 :], top[:, STORED // 2 :])
    assert 0 < top[:, STORED // 2 :].sum() < len(true)


def test_nothing_counted_has_no_error_and_no_mean():
    nothing = np.zeros((3, 2, 20))
    assert np.isnan(distributions.calibration_error(nothing, 10)).all()
    assert np.isnan(distributions.mean_scores(nothing, 10)).all()
    assert np.isnan(distributions.quantiles(nothing, 0.5)).all()


@given(COUNTS)
def test_a_calibration_error_is_a_probability(counts):
    found = distributions.calibration_error(counts, 12)
    empty = counts.sum((1, 2)) == 0
    np.testing.assert_array_equal(np.isnan(found), empty)
    assert ((found[~empty] >= 0) & (found[~empty] <= 1)).all()


# ---- quartiles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.25, 0.5])
@pytest.mark.parametrize("samples", [1, 5, 400])
def test_quartiles_are_numpys_to_a_bin(share, samples):
    scores = np.random.default_rng(samples).beta(3, 1, (6, samples))
    counts = np.stack([np.histogram(row, STORED, (0, 1))[0] for row in scores])
    direct = np.quantile(scores, share, axis=1, method="inverted_cdf")
    np.testing.assert_allclose(distributions.quantiles(counts, share), direct, atol=1 / STORED)


@given(COUNTS)
def test_the_lower_quartile_is_not_above_the_median(counts):
    lower, median = (distributions.quantiles(counts, share) for share in (0.25, 0.5))
    known = counts.sum(-1) > 0
    assert (lower[known] <= median[known]).all()
    assert ((lower[known] >= 0) & (median[known] <= 1)).all()
