"""Interquartile means, intervals and chances, against SciPy, by hand, and by counting in simulations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from mlflow_dlviz.reporting import statistics
from mlflow_dlviz.reporting.statistics import band, interval, iqm, probability_of_improvement, wilson

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))


def columns(most=12, steps=4):
    shapes = st.tuples(st.integers(1, most), st.integers(1, steps))
    return shapes.flatmap(lambda shape: arrays(float, shape, elements=numbers))


@pytest.mark.parametrize("n", [4, 8, 12, 100])
def test_a_quarter_is_cut_at_each_end_as_scipy_does(n):
    values = np.random.default_rng(n).normal(size=(5, n))
    np.testing.assert_allclose(iqm(values), stats.trim_mean(values, 0.25, axis=-1))
    np.testing.assert_allclose(iqm(values.T, axis=0), iqm(values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0], 1.5),
        # Of 3 values each is a third; the middle half is the middle one and a quarter of each other.
        ([10.0, 1.0, 4.0], (1 + 4 * 4 + 10) / 6),
        # Of 5 the second and fourth count 0.15 of 0.5, the middle one 0.2.
        ([0.0, 1.0, 2.0, 4.0, 100.0], 0.3 * 1 + 0.4 * 2 + 0.3 * 4),
        ([0.0, 1.0, 2.0, 3.0, 5.0, 90.0], (0.5 * 1 + 2 + 3 + 0.5 * 5) / 3),
    ],
)
def test_values_on_the_border_count_in_part(values, expected):
    assert iqm(np.array(values)) == pytest.approx(expected)


def test_the_iqm_is_that_of_each_value_many_times_over():
    """Four copies of n values: n are cut at each end, whatever n is."""
    values = np.random.default_rng(0).normal(size=7)
    assert iqm(values) == pytest.approx(stats.trim_mean(np.repeat(values, 4), 0.25))


def test_no_values_have_no_iqm():
    assert np.isnan(iqm(np.zeros(0)))
    assert interval(np.zeros(0)) is None


@given(columns(), numbers, st.floats(0.1, 100))
def test_it_moves_and_grows_with_the_values(values, shift, factor):
    before, after = band(values), band(values * factor + shift)
    size = np.abs(values).max() * factor + abs(shift) + 1
    for name in ("center", "low", "high"):
        expected = getattr(before, name) * factor + shift
        np.testing.assert_allclose(getattr(after, name), expected, atol=1e-8 * size * 30)


@given(columns())
def test_the_order_of_the_runs_does_not_matter(values):
    once, again = band(values), band(values[::-1])
    np.testing.assert_array_equal(once.low, again.low)
    np.testing.assert_allclose(once.center, iqm(values, axis=0))


def resampled_variance(values: np.ndarray) -> float:
    """Over all n^n resamples, by listing them."""
    found = [float(iqm(np.array(each))) for each in itertools.product(values, repeat=len(values))]
    return float(np.var(found))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_the_bootstraps_error_is_that_of_all_resamples(n):
    values = np.sort(np.random.default_rng(n).exponential(size=n))
    error = statistics.bootstrap_error(values[:, None])
    assert error[0] == pytest.approx(np.sqrt(resampled_variance(values)))


@pytest.mark.parametrize("n", [9, 30, 64])
def test_the_bootstraps_error_is_that_of_many_resamples(n):
    rng = np.random.default_rng(n)
    values = np.sort(rng.normal(size=n))
    drawn = iqm(rng.choice(values, size=(20_000, n)))
    # A deviation estimated from 20,000 draws is good to half a per cent.
    assert statistics.bootstrap_error(values[:, None])[0] == pytest.approx(drawn.std(), rel=0.02)


@pytest.mark.parametrize("n", [65, 100])
def test_beyond_64_runs_the_error_is_about_the_same(n):
    values = np.sort(np.random.default_rng(n).normal(size=(n, 300)), axis=0)
    centred = values - values.mean(axis=0)
    exact = np.sqrt((centred * (statistics._covariance(n) @ centred)).sum(axis=0))
    ratio = statistics.bootstrap_error(values) / exact
    assert ratio.mean() == pytest.approx(1, abs=0.04)
    assert ratio.std() < 0.06


def test_the_interval_is_students():
    values = np.array([3.0, 1.0, 2.0])
    error = np.sqrt(resampled_variance(values)) * np.sqrt(3 / 2)
    found = interval(values, confidence=0.9)
    low, high = stats.t.interval(0.9, df=2, loc=2.0, scale=error)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_two_runs_have_no_interval(n):
    assert interval(np.arange(float(n))) is None


def test_each_step_is_of_the_runs_that_have_it():
    values = np.array(
        [
            [1.0, 1.0, 1.0, np.nan, np.nan],
            [2.0, 2.0, np.nan, np.nan, np.nan],
            [4.0, np.inf, np.nan, np.nan, 3.0],
            [9.0, 5.0, 7.0, -np.inf, np.nan],
        ]
    )
    found = band(values)
    assert found.n.tolist() == [4, 3, 2, 0, 1]
    np.testing.assert_allclose(found.center, [3.0, iqm(np.array([1.0, 2, 5])), 4.0, np.nan, 3.0])
    alone = interval(np.array([1.0, 2.0, 5.0]))
    assert (found.low[1], found.high[1]) == (alone.low, alone.high)
    assert np.isnan(found.low).tolist() == np.isnan(found.high).tolist() == [False, False, True, True, True]


@given(columns(most=80, steps=3))
@settings(max_examples=40, deadline=None)
def test_the_centre_is_inside(values):
    found = band(values)
    there = found.n >= 3
    assert (found.low[there] <= found.center[there]).all()
    assert (found.center[there] <= found.high[there]).all()
    assert np.isfinite(found.low[there]).all()


def test_equal_runs_have_an_interval_of_no_width():
    found = interval(np.full(5, 0.1))
    assert found.low == found.high == pytest.approx(0.1)


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e200])
def test_the_size_of_the_values_does_not_matter(scale):
    usual = interval(np.array([1.0, 2.0, 4.0]))
    found = interval(np.array([1.0, 2.0, 4.0]) * scale)
    assert found.high / scale == pytest.approx(usual.high)


def test_a_small_spread_far_from_zero_is_not_lost():
    usual, far = interval(np.array([1.0, 2.0, 4.0])), interval(np.array([1.0, 2.0, 4.0]) + 2.0**40)
    assert far.high - far.low == pytest.approx(usual.high - usual.low, rel=1e-3)


def log_normal_iqm() -> float:
    """Of exp(N(0, 1)): the mean between its quartiles, from the normal distribution's."""
    quartile = stats.norm.ppf(0.75)
    return 2 * np.exp(0.5) * (stats.norm.cdf(quartile - 1) - stats.norm.cdf(-quartile - 1))


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("kind", ["normal", "log-normal", "10 % diverged"])
def test_the_interval_holds_the_truth_as_often_as_it_says(kind, n):
    rng = np.random.default_rng(n)
    values = rng.standard_normal((n, 6000))
    truth = 0.0
    if kind == "log-normal":
        values, truth = np.exp(values), log_normal_iqm()
    if kind == "10 % diverged":
        values[rng.random(values.shape) < 0.1] = np.nan
    found = band(values)
    there = found.n >= 3
    held = np.mean((found.low <= truth)[there] & (truth <= found.high)[there])
    assert 0.90 <= held <= 0.99


@given(
    arrays(float, st.integers(1, 9), elements=st.integers(0, 6).map(float)),
    arrays(float, st.integers(1, 9), elements=st.integers(0, 6).map(float)),
)
def test_the_chance_is_mann_and_whitneys(a, b):
    found = probability_of_improvement(a, b, smaller=False)
    assert found.probability == pytest.approx(stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)))
    other = probability_of_improvement(a, b, smaller=True)
    assert other.probability == pytest.approx(1 - found.probability)
    assert (found.n_a, found.n_b, found.paired) == (len(a), len(b), False)
    if found.low is not None:
        assert 0 <= found.low <= found.probability <= found.high <= 1
    assert (found.low is None) == (min(len(a), len(b)) < 3)


def test_pairs_are_compared_by_themselves():
    a, b = [1.0, 12.0, 23.0, 30.0], [2.0, 13.0, 22.0, 30.0]
    found = probability_of_improvement(a, b, smaller=True, pairs=[(0, 0), (1, 1), (2, 2), (3, 3)])
    assert found.probability == (1 + 1 + 0 + 0.5) / 4
    assert (found.n_a, found.n_b, found.paired) == (4, 4, True)
    crossed = probability_of_improvement(a, b, smaller=True, pairs=[(0, 3), (3, 0)])
    assert (crossed.probability, crossed.low, crossed.n_a) == (0.5, None, 2)


def test_there_is_no_chance_without_runs():
    assert probability_of_improvement([], [1.0], smaller=True) is None
    assert probability_of_improvement([1.0], [1.0], smaller=True, pairs=[]) is None


def test_three_wins_of_three_prove_little():
    found = probability_of_improvement([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], smaller=True)
    assert found.probability == found.high == 1
    assert found.low < 0.5


@given(st.integers(1, 60), st.integers(0, 60))
def test_the_interval_of_a_share_is_wilsons(n, hits):
    assume(hits <= n)
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_the_chances_interval_holds_the_truth(n, shift):
    rng = np.random.default_rng(n)
    truth = stats.norm.cdf(shift / np.sqrt(2))
    held = [
        found.low <= truth <= found.high
        for a, b in rng.standard_normal((800, 2, n))
        if (found := probability_of_improvement(a + shift, b, smaller=False))
    ]
    assert np.mean(held) >= 0.90
