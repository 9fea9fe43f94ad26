"""Groups at each step: who counts, on which steps, and where each run ends."""

from __future__ import annotations

import numpy as np
from builders import analysis_of, run_data, series
from scipy.stats import trim_mean

from mlflow_dlviz.reporting import bands
from mlflow_dlviz.reporting.align import Curve

LOSS = ("loss", "train")


def test_the_middle_is_that_of_the_runs_that_count():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 30))
    runs = [run_data(number, histories={"loss": series(*row)}) for number, row in enumerate(values)]
    failed = run_data(9, histories={"loss": series(*np.full(30, 100.0))}, status="FAILED")
    [found] = bands.group_curves(analysis_of(*runs, failed), [LOSS], 80)
    assert found.steps.tolist() == list(range(30))
    np.testing.assert_allclose(found.band.center, trim_mean(values, 0.25, axis=0))
    assert (found.band.n == 4).all()
    assert (found.band.low < found.band.center).all()


def test_a_diverged_run_is_in_no_curve_of_its_group():
    runs = [run_data(number, histories={"loss": series(3, 2, 1)}) for number in range(3)]
    diverged = run_data(9, histories={"loss": series(9, 9, np.nan)})
    [found] = bands.group_curves(analysis_of(*runs, diverged), [LOSS], 80)
    assert found.band.n.tolist() == [3, 3, 3]
    np.testing.assert_allclose(found.band.center, [3, 2, 1])


def test_each_run_ends_where_it_ends():
    lengths = (10, 10, 10, 5)
    runs = [run_data(number, histories={"loss": series(*range(length))}) for number, length in enumerate(lengths)]
    [found] = bands.group_curves(analysis_of(*runs), [LOSS], 80)
    assert found.band.n.tolist() == [4] * 5 + [3] * 5
    np.testing.assert_allclose(found.band.center, np.arange(10))


def test_two_runs_or_two_with_values_make_no_band():
    runs = [run_data(number, histories={"loss": series(1, 2)}) for number in range(2)]
    assert bands.group_curves(analysis_of(*runs), [LOSS], 80) == []
    bare = run_data(5, histories={"loss": series(np.nan, np.inf)})
    assert bands.group_curves(analysis_of(*runs, bare), [LOSS], 80) == []


def test_steps_that_differ_meet_in_between_and_few_are_kept():
    even = Curve(np.arange(0, 1001, 10), np.arange(0, 1001, 10) * 2.0)
    odd = Curve(np.arange(5, 1000, 10), np.arange(5, 1000, 10) * 2.0)
    steps = bands.common_steps([even, odd], 50)
    assert len(steps) == 50
    assert (steps[0], steps[-1]) == (0, 1000)
    found = bands.on_steps([even, odd], steps)
    np.testing.assert_allclose(found[0], 2.0 * steps)
    assert np.isnan(found[1][[0, -1]]).all()
    np.testing.assert_allclose(found[1][1:-1], 2.0 * steps[1:-1])
