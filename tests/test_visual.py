"""The vocabulary of a visual: when it is due, and what is wrong with one that can't be used."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_dlviz.visual import AtEnd, Every, LogSpaced, Visual


def due(cadence, epochs):
    return [epoch for epoch in range(epochs) if cadence.due(epoch, epochs)]


@given(n=st.integers(1, 25), epochs=st.integers(1, 80))
def test_log_spaced_is_due_at_most_n_times_at_the_first_and_the_last(n, epochs):
    found = due(LogSpaced(n), epochs)
    assert {0, epochs - 1} <= {*found}
    # One frame can't be both the first and the last.
    assert len(found) <= max(n, min(2, epochs))


@pytest.mark.parametrize(("n", "epochs"), [(20, 21), (20, 100), (20, 10_000), (5, 50), (64, 200)])
def test_log_spaced_comes_close_to_n_and_is_dense_at_first(n, epochs):
    from mlflow_dlviz.visual import _log_spaced

    found = sorted(_log_spaced(n, epochs))
    assert 0.8 * n <= len(found) <= n
    gaps = np.diff(found)
    assert found[len(found) // 2] < epochs / 2 or max(gaps) <= 2
    assert gaps[-1] >= gaps[0]


@given(n=st.integers(1, 25), epochs=st.integers(1, 80))
def test_log_spaced_takes_every_epoch_of_a_short_training(n, epochs):
    if epochs <= n:
        assert due(LogSpaced(n), epochs) == list(range(epochs))


@given(n=st.integers(1, 25), epochs=st.integers(1, 80))
def test_every_is_due_each_nth_epoch_and_at_the_last(n, epochs):
    assert due(Every(n), epochs) == sorted({*range(0, epochs, n), epochs - 1})


@given(st.integers(1, 80))
def test_at_end_is_due_once(epochs):
    assert due(AtEnd(), epochs) == [epochs - 1]


@pytest.mark.parametrize("cadence", [Every, LogSpaced])
@pytest.mark.parametrize("n", [0, -3, 2.0, "2", True, None])
def test_a_cadence_names_its_bad_argument(cadence, n):
    with pytest.raises(ValueError, match=rf"{cadence.__name__}\(n={n!r}\)"):
        cadence(n)


def visual(**changes):
    return Visual(**{"name": "mine", "capture": lambda moment, frozen: {}, "draw": lambda: None, **changes})


@pytest.mark.parametrize("name", ["", "Mine", "3d", "a/b", "..", "a" * 25, "a-b", "mine\n", None, 3])
def test_a_bad_name_is_named(name):
    with pytest.raises(ValueError, match="Visual\\(name=") as raised:
        visual(name=name)
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("capture", 3, "capture=3 is not callable"),
        ("draw", None, "draw=None is not callable"),
        ("freeze", "x", "freeze='x' is not callable"),
        ("evolve", {}, "evolve={} is not callable"),
        ("needs", ("activation",), r"needs=\('activation',\)"),
        ("cadence", 5, "cadence=5 has no due"),
        ("cadence", AtEnd, "cadence=<class .*AtEnd'> has no due"),
    ],
)
def test_a_bad_argument_is_named_with_its_value(argument, value, words):
    with pytest.raises((TypeError, ValueError), match=f"'mine': {words}"):
        visual(**{argument: value})


def test_a_visual_is_a_value():
    assert dataclasses.replace(visual(), cadence=AtEnd()).cadence == AtEnd()
    with pytest.raises(dataclasses.FrozenInstanceError):
        visual().name = "other"


def test_a_cadence_of_ones_own_needs_only_due():
    class Odd:
        def due(self, epoch, epochs):
            return epoch % 2 == 1

    assert due(visual(cadence=Odd()).cadence, 5) == [1, 3]
