"""What the page is given as text, taken apart as a browser does."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlflow_dlviz.reporting import encode


def unpack(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def unscaled(given: dict) -> np.ndarray:
    parts = unpack(given["parts"], "<u2")
    low, high = (np.log(given[end]) if given["ratios"] else given[end] for end in ("low", "high"))
    values = low + (high - low) * parts / 65534
    return np.where(parts == 65535, np.nan, np.exp(values) if given["ratios"] else values)


def unstepped(given: dict | None, count: int) -> np.ndarray:
    if given is None:
        return np.arange(count)
    if "all" in given:
        return unpack(given["all"], "<f8")
    if "last" in given:
        return given["first"] + np.arange(count) * (given["last"] - given["first"]) // max(1, count - 1)
    widths = np.cumsum(unpack(given["widths"], "<u2"), dtype=int)
    return given["first"] + np.concatenate([[0], widths])


def test_floats_keep_seven_digits_and_what_is_not_finite():
    values = np.array([0.1, -3.25, np.nan, np.inf, -np.inf, 1e300, 1e-300])
    found = unpack(encode.floats(values), "<f4")
    np.testing.assert_array_equal(found, np.array([0.1, -3.25, np.nan, np.inf, -np.inf, np.inf, 0], np.float32))


def test_integers_are_exact():
    values = np.array([0, 2**31, 2**53])
    assert unpack(encode.integers(values), "<f8").tolist() == values.tolist()


values_of = hnp.arrays(float, st.integers(0, 40), elements=st.floats(allow_nan=True, allow_infinity=True))


@given(values_of, st.booleans())
def test_scaled_is_true_to_a_part_of_the_range(values, logarithmic):
    given = encode.scaled(values, logarithmic=logarithmic)
    found = unscaled(given)
    known = np.abs(values) <= encode.LARGEST
    assert np.isnan(found[~known]).all()
    if known.any():
        span = values[known].max() - values[known].min()
        # Half a part of 65,534, and the rounding of the arithmetic.
        bound = span / 131_000 + 1e-12 * np.abs(values[known]).max()
        if given["ratios"]:
            decades = np.log(values[known].max()) - np.log(values[known].min())
            bound = values[known] * (np.expm1(decades / 131_000) + 1e-9)
        assert (np.abs(found[known] - values[known]) <= bound).all()


def test_equal_ratios_keep_small_values():
    values = np.array([1e-7, 3e-7, 0.01, 5.0])
    found = unscaled(encode.scaled(values, logarithmic=True))
    np.testing.assert_allclose(found, values, rtol=3e-4)
    assert not encode.scaled(np.array([0.0, 1.0]), logarithmic=True)["ratios"]


@given(st.lists(st.integers(0, 2**40), unique=True, max_size=30).map(sorted))
def test_steps_come_back(steps):
    assert unstepped(encode.steps(np.array(steps, int)), len(steps)).tolist() == steps


@pytest.mark.parametrize(
    ("steps", "keys"),
    [
        ([0, 1, 2], None),
        ([5], {"first", "last"}),
        ([0, 10, 20], {"first", "last"}),
        ([0, 7, 15, 23, 31], {"first", "last"}),
        ([0, 1, 20], {"first", "widths"}),
        ([0, 1, 70_000], {"all"}),
        ([-(2**63), 0, 2**63 - 1], {"all"}),
        ([0, 2**62, 2**62 + 1], {"all"}),
    ],
)
def test_steps_take_no_more_than_they_must(steps, keys):
    found = encode.steps(np.array(steps))
    assert (found and set(found)) == keys
