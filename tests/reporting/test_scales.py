"""Where numbers stand on an axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_dlviz.reporting.scales import Scale, scale_of, value_ticks

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=6))
def test_every_number_has_a_place_on_its_axis(values):
    scale = scale_of(values)
    assert scale.low < scale.high
    places = scale.places(np.array(values))
    assert ((places >= -1e-9) & (places <= 1 + 1e-9)).all()
    order = np.argsort(values)
    assert (np.diff(places[order]) >= 0).all()


@given(st.lists(finite, min_size=1, max_size=6))
def test_ticks_are_on_the_axis_and_few(values):
    scale = scale_of(values)
    for ticks in (scale.ticks(), value_ticks(scale, np.array(values))):
        places = [place for place, _ in ticks]
        assert len(places) <= 13
        assert places == sorted(places)
        assert all(-1e-6 <= place <= 1 + 1e-6 for place in places)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (0.13, 0.27, ["0.15", "0.2", "0.25"]),
        (-30, 470, ["0", "100", "200", "300", "400"]),
    ],
)
def test_linear_ticks_are_round(low, high, expected):
    assert [text for _, text in Scale(low, high).ticks()] == expected


def test_logarithmic_ticks():
    scale = scale_of([1e-5, 0.1])
    assert scale.log
    assert scale.ticks() == tuple(
        (pytest.approx(p / 4, abs=1e-12), t) for p, t in enumerate(["1e-05", "0.0001", "0.001", "0.01", "0.1"])
    )
    assert [text for _, text in Scale(2, 90, log=True).ticks()] == ["3", "10", "30"]


def test_only_wide_positive_numbers_are_logarithmic():
    assert scale_of([1, 30]).log
    assert not scale_of([1, 29]).log
    assert not scale_of([0, 1000]).log
    assert not scale_of([-1, 1000]).log


def test_what_has_no_place():
    places = scale_of([1, 100]).places(np.array([np.nan, 0.0, -3.0, 10.0]))
    np.testing.assert_allclose(places, [np.nan, np.nan, np.nan, 0.5])
    assert scale_of([np.nan, np.inf]) == Scale(0.0, 1.0)


def test_one_value_stands_in_the_middle():
    for value in (0.0, 3.0, -7e9):
        assert scale_of([value]).places(np.array([value]))[0] == pytest.approx(0.5)


def test_few_values_are_their_own_ticks():
    values = np.array([16.0, 32.0, 64.0, 33.0])
    ticks = value_ticks(scale_of(values), values)
    # 33 would be written over 32.
    assert [text for _, text in ticks] == ["16", "32", "64"]
