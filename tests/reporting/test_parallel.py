"""Axes of parallel coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_dlviz.reporting.parallel import number_axis, param_axes


def axis(*values):
    [found], refused = param_axes([{} if value is None else {"p": value} for value in values], ["p"])
    assert refused == []
    return found


def test_numbers():
    found = axis("1e-3", "0.1", None, "0.001")
    assert found.scale.log
    np.testing.assert_allclose(found.places, [0, 1, np.nan, 0], atol=1e-12)
    assert [text for _, text in found.ticks] == ["0.001", "0.1"]


def test_texts_are_spread_in_alphabetical_order():
    found = axis("sgd", "adam", None, " sgd ")
    assert found.scale is None
    np.testing.assert_allclose(found.places, [0.75, 0.25, np.nan, 0.75])
    assert found.ticks == ((0.25, "adam"), (0.75, "sgd"))


def test_numbers_among_texts_come_first_by_size():
    assert [text for _, text in axis("auto", "10", "9", "none").ticks] == ["9", "10", "auto", "none"]


@pytest.mark.parametrize("odd", ["nan", "inf", "-inf", "1e400"])
def test_what_is_no_finite_number_is_a_text(odd):
    found = axis("1", odd)
    assert found.scale is None
    assert np.isfinite(found.places).all()


def test_true_and_false_are_texts():
    assert [text for _, text in axis("True", "False", "true").ticks] == ["False", "true"]


def test_texts_of_too_many_kinds_have_no_axis():
    runs = [{"out": f"folder-{number}", "n": str(number)} for number in range(30)]
    found, refused = param_axes(runs, ["out", "n"])
    assert [each.name for each in found] == ["n"]
    assert refused == ["out"]


def test_the_goal_of_a_diverged_run_has_no_place():
    found = number_axis("loss", np.array([0.1, np.nan, np.inf, 0.2]))
    np.testing.assert_allclose(found.places, [0, np.nan, np.nan, 1], atol=1e-12)
