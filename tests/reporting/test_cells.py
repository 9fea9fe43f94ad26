"""What stands in a cell, and by what it is sorted."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_dlviz.reporting import cells
from mlflow_dlviz.reporting.cells import NOTHING, Cell

FINITE = st.floats(-1e300, 1e300)


@given(FINITE)
def test_a_number_keeps_all_its_digits(value):
    cell = cells.number(value)
    assert float(cell.text) == pytest.approx(value, rel=1e-3)
    assert cell.sort == pytest.approx(value, rel=1e-6)
    assert float(cell.title or cell.text) == value


@pytest.mark.parametrize(("value", "text"), [(None, NOTHING), (math.nan, "nan"), (math.inf, "inf")])
def test_what_is_no_number_is_sorted_last(value, text):
    assert (cells.number(value).text, cells.number(value).sort) == (text, None)


@pytest.mark.parametrize(
    ("value", "reference", "smaller", "text", "word"),
    [
        (0.5, 0.75, True, "−0.25", "better"),
        (0.5, 0.75, False, "−0.25", "worse"),
        (1.0, 0.75, True, "+0.25", "worse"),
        (1.0, 0.75, False, "+0.25", "better"),
        (1.0, 1.0, True, "0", "same"),
    ],
)
def test_a_difference_says_whether_it_is_better(value, reference, smaller, text, word):
    cell = cells.difference(value, reference, smaller=smaller)
    assert (cell.text, cell.note) == (text, word)


@given(FINITE, FINITE, st.booleans())
def test_of_two_runs_one_is_better(one, other, smaller):
    notes = {cells.difference(*pair, smaller=smaller).note for pair in ((one, other), (other, one))}
    assert notes in ({"better", "worse"}, {"same"}, {""})
    assert (notes == {"same"}) == (one == other)


def test_text_is_cut_and_told_in_full():
    long = "x" * 61
    assert cells.text(long) == Cell("x" * 59 + "…", "x" * 59 + "…", long)
    assert cells.text("adam") == Cell("adam", "adam")
    assert cells.text("1e-3") == Cell("1e-3", 0.001)
    assert cells.text("nan").sort is None
    assert cells.text(None).text == NOTHING


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.44, "0.4 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")]
)
def test_durations(seconds, words):
    assert cells.duration_words(seconds) == words


def test_times_and_counts():
    assert cells.moment(86_400_000) == "1970-01-02 00:00 UTC"
    assert cells.moment(None) == NOTHING
    # Nanoseconds.
    assert cells.moment(1_700_000_000_000_000_000) == NOTHING
