"""Long curves in few points, against a loop that takes one value after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlflow_dlviz.reporting.compaction import allowance, compact, evenly, extremes, moving_average


def looped_average(values, weight: float) -> np.ndarray:
    mean, count, found = 0.0, 0, []
    for value in values:
        if np.isfinite(value):
            count += 1
            mean = weight * mean + (1 - weight) * value
        found.append(mean / (1 - weight**count) if np.isfinite(value) else np.nan)
    return np.array(found)


numbers = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([np.nan, np.inf, -np.inf]))
curves = hnp.arrays(float, st.integers(0, 300), elements=numbers)


@given(curves, st.sampled_from([0.0, 0.5, 0.9, 0.999]))
def test_the_average_is_that_of_the_loop(values, weight):
    np.testing.assert_allclose(
        moving_average(values, weight), looped_average(values, weight), rtol=1e-9, atol=1e-6
    )


def test_a_constant_stays_what_it_is():
    np.testing.assert_allclose(moving_average(np.full(1000, 3.5), 0.99), 3.5)


@given(curves, st.integers(4, 60))
def test_extremes_are_few_in_order_and_hold_the_ends(values, count):
    places = extremes(values, count)
    assert len(places) <= max(count, 4)
    assert (np.diff(places) > 0).all()
    if len(values):
        assert {0, len(values) - 1} <= set(places.tolist())
    finite = values[np.isfinite(values)]
    if len(finite):
        kept = values[places]
        assert np.isin([finite.min(), finite.max()], kept).all()


def test_every_spike_is_kept_and_a_gap_stays_one():
    rng = np.random.default_rng(0)
    values = np.zeros(100_000)
    spikes = np.arange(20) * 5000 + rng.integers(0, 4000, 20)
    values[spikes] = rng.choice([-1, 1], 20) * rng.uniform(3, 9, 20)
    values[60_000:64_000] = np.nan
    spikes = spikes[np.isfinite(values[spikes])]
    places = extremes(values, 200)
    assert set(spikes.tolist()) <= set(places.tolist())
    assert np.isnan(values[places]).any()


@pytest.mark.parametrize("weight", [0.6, 0.9, 0.99])
def test_smoothing_after_compaction_is_that_of_all_values(weight):
    rng = np.random.default_rng(1)
    steps = np.arange(20_000)
    values = np.exp(-steps / 4000) + 0.1 * rng.standard_normal(len(steps))
    short = compact(values, 400, (weight,))
    whole = looped_average(values, weight)
    at_drawn = np.abs(short.smoothed[0] - whole[short.even]).mean() / np.ptp(whole)
    assert at_drawn < 1e-9
    assert len(short.even) <= 200
    # What others do: thin out first, then smooth.
    thinned = looped_average(values[short.even], weight)
    assert np.abs(thinned - whole[short.even]).mean() / np.ptp(whole) > 0.02


costs_of = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@given(costs_of, st.floats(0, 1e7))
def test_the_allowance_spends_the_budget(costs, budget):
    most = allowance(costs, budget)
    if np.isinf(most):
        assert sum(costs) <= budget * (1 + 1e-9)
    else:
        assert np.minimum(costs, most).sum() == pytest.approx(budget, rel=1e-6, abs=1e-6)


@given(st.integers(0, 500), st.integers(2, 90))
def test_evenly_holds_the_ends_and_no_wide_gaps(size, count):
    places = evenly(size, count)
    assert len(places) == min(size, count)
    if size:
        assert (places[0], places[-1]) == (0, size - 1)
    widths = np.diff(places)
    assert widths.size == 0 or 1 <= widths.min() <= widths.max() <= widths.min() + 1
