"""Curves that are ill, curves that are well, and that units and order of magnitude do not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_dlviz.reporting.align import Curve
from mlflow_dlviz.reporting.health import symptoms

SCALES = st.sampled_from([1e-6, 0.01, 1.0, 37.0, 1e6])
SEEDS = st.integers(0, 400)


def curve(values, steps=None) -> Curve:
    values = np.asarray(values, float)
    return Curve(np.arange(len(values)) if steps is None else np.asarray(steps), values)


def falling(rng, count=24, *, floor=0.2, noise=0.02, pace=6.0) -> np.ndarray:
    """As losses fall: exponentially to a floor, with noise."""
    return floor + np.exp(-np.arange(count) / pace) + noise * rng.standard_normal(count)


@given(SEEDS, SCALES, st.integers(8, 24))
def test_a_healthy_run_shows_nothing(seed, scale, count):
    rng = np.random.default_rng(seed)
    train = curve(scale * falling(rng, count, pace=count / 4))
    val = curve(scale * falling(rng, count, pace=count / 4, floor=0.3, noise=0.03))
    assert symptoms.divergence(train) is symptoms.divergence(val) is None
    assert symptoms.overfitting(train, val) is None
    assert symptoms.not_finite(val) is None


@given(SEEDS, st.integers(8, 40))
def test_a_run_that_goes_on_learning_is_on_no_plateau(seed, count):
    rng = np.random.default_rng(seed)
    values = (1 + np.arange(count)) ** -0.5 + 0.005 * rng.standard_normal(count)
    assert symptoms.plateau(curve(values), smaller=True) is None
    assert symptoms.plateau(curve(-values), smaller=False) is None


@given(SEEDS)
def test_a_run_at_chance_neither_diverges_nor_overfits(seed):
    rng = np.random.default_rng(seed)
    train, val = (curve(2.303 + 0.01 * rng.standard_normal(30)) for _ in range(2))
    assert symptoms.divergence(train) is None
    assert symptoms.overfitting(train, val) is None


@given(SEEDS)
def test_nervous_losses_of_single_batches_are_well(seed):
    rng = np.random.default_rng(seed)
    values = falling(rng, 3000, pace=500, noise=0) * rng.lognormal(0, 0.3, 3000)
    assert symptoms.divergence(curve(values)) is None


@given(SEEDS, SCALES)
def test_divergence_above_the_start(seed, scale):
    rng = np.random.default_rng(seed)
    values = falling(rng, 20)
    values[12:] += np.linspace(1, 30, 8)
    found = symptoms.divergence(curve(scale * values))
    assert found.best_step < 13
    assert found.last_step == 19
    assert found.final == pytest.approx(scale * np.median(values[-3:]))
    assert found.best < found.initial < found.final


@given(SEEDS)
def test_divergence_back_to_the_start(seed):
    rng = np.random.default_rng(seed)
    values = 2.3 * np.exp(-np.arange(30) / 5) + 0.01 * rng.standard_normal(30)
    values[22:] = 2.3 + 0.01 * rng.standard_normal(8)
    assert symptoms.divergence(curve(values)) is not None


def test_one_outlier_is_no_divergence():
    values = falling(np.random.default_rng(0))
    values[-1] = 50
    assert symptoms.divergence(curve(values)) is None


@given(SEEDS, SCALES)
def test_overfitting_where_validation_rises_and_training_falls(seed, scale):
    rng = np.random.default_rng(seed)
    train, val = falling(rng, 30, noise=0.005), falling(rng, 30, noise=0.01, floor=0.3)
    val += np.maximum(0, np.arange(30) - 12) * 0.03
    train -= np.arange(30) * 0.005
    found = symptoms.overfitting(curve(scale * train), curve(scale * val))
    assert 6 <= found.step <= 16
    assert found.last_step == 29
    assert found.val[1] > found.val[0]
    assert found.train[1] < found.train[0]


def test_overfitting_needs_both_and_is_seen_on_common_steps_only():
    rng = np.random.default_rng(0)
    train = falling(rng, 30, noise=0.001) - np.arange(30) * 0.005
    val = 0.3 + np.abs(np.arange(0, 30, 2) - 10) * 0.03
    assert symptoms.overfitting(curve(train), curve(val, range(0, 30, 2))).step == 10
    rising = falling(rng, 30, noise=0.001) + np.arange(30) * 0.03
    assert symptoms.overfitting(curve(rising), curve(val, range(0, 30, 2))) is None
    assert symptoms.overfitting(curve(train), curve(val[:5], range(0, 10, 2))) is None


def test_a_plateau_in_numbers():
    values = [1.0, 0.5, 0.3, 0.2, 0.21, 0.22, 0.2, 0.199, 0.21, 0.2]
    found = symptoms.plateau(curve(values, range(10, 20)), smaller=True)
    assert (found.best, found.best_step, found.half_step, found.last_step) == (0.199, 17, 15, 19)
    assert found.gain == pytest.approx(0.001)
    assert found.total == pytest.approx(0.801)
    mirrored = symptoms.plateau(curve([-value for value in values], range(10, 20)), smaller=False)
    assert (mirrored.best_step, mirrored.gain) == (found.best_step, pytest.approx(found.gain))
    assert symptoms.plateau(curve(values[:7]), smaller=True) is None


@given(st.lists(st.floats(), min_size=1, max_size=40))
def test_the_first_value_that_is_not_finite(values):
    found = symptoms.not_finite(curve(values))
    bad = [place for place, value in enumerate(values) if not np.isfinite(value)]
    if not bad:
        assert found is None
        return
    assert (found.step, found.count, found.total) == (bad[0], len(bad), len(values))
    np.testing.assert_equal(found.value, values[bad[0]])


@given(st.lists(st.floats(), max_size=40), st.lists(st.floats(), max_size=40))
def test_any_curves_can_be_looked_at(first, second):
    train, val = curve(first), curve(second)
    symptoms.divergence(train)
    symptoms.overfitting(train, val)
    symptoms.plateau(train, smaller=True)
    symptoms.exploding(train)
    symptoms.last_level(train)
    symptoms.is_constant(train)


def test_noise_is_the_deviation_about_any_trend():
    rng = np.random.default_rng(0)
    values = 5 - 0.01 * np.arange(4000) + 0.3 * rng.standard_normal(4000)
    assert symptoms.noise(values) == pytest.approx(0.3, rel=0.05)


def test_exploding_is_a_thousandfold():
    norms = np.ones(20)
    norms[7] = 1500
    assert symptoms.exploding(curve(norms)) == (7, 1500.0, 1.0)
    norms[7] = 900
    assert symptoms.exploding(curve(norms)) is None


def test_constant_means_alike_to_seven_digits():
    assert symptoms.is_constant(curve([0.001, 0.001000000001]))
    assert not symptoms.is_constant(curve([0.001, 0.00101]))
    assert not symptoms.is_constant(curve([0.001]))
