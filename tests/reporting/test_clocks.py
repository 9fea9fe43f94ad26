"""When steps were reached."""

from __future__ import annotations

import numpy as np
from builders import run_data

from mlflow_dlviz.reporting.clocks import own_times, run_clock
from mlflow_dlviz.store.histories import Series

START = 1_700_000_000_000


def timed(steps, seconds) -> Series:
    times = START + (1000 * np.asarray(seconds)).astype(np.int64)
    return Series(np.asarray(steps), np.zeros(len(steps)), times)


def test_the_longest_metric_tells_the_time_since_the_start():
    histories = {"a": timed([0, 5], [1, 6]), "b": timed([0, 1, 2], [1, 2, 4])}
    clock = run_clock(run_data(histories=histories, start=START))
    assert clock is not None
    assert clock.steps.tolist() == [0, 1, 2]
    assert clock.seconds.tolist() == [1, 2, 4]
    assert clock.at(np.array([0.5, 9])).tolist() == [1.5, 4]


def test_a_start_after_the_first_value_is_none():
    clock = run_clock(run_data(histories={"a": timed([0, 1], [-5, -3])}, start=START))
    assert clock is not None
    assert clock.start == START - 5000
    assert clock.seconds.tolist() == [0, 2]


def test_time_never_goes_back_where_steps_were_logged_again():
    resumed = timed([0, 1, 2, 3, 1], [0, 1, 2, 3, 9])
    clock = run_clock(run_data(histories={"a": resumed}, start=START))
    assert clock is not None
    assert clock.seconds.tolist() == [0, 9, 9, 9]


def test_nothing_logged_has_no_clock():
    assert run_clock(run_data(histories={})) is None


def test_epochs_beside_batches_have_times_of_their_own():
    batches = timed(np.arange(1000), np.arange(1000))
    epochs = timed(np.arange(10), 100 * np.arange(10))
    late = timed(np.arange(1000), np.arange(1000) + 0.2)
    run = run_data(histories={"batch": batches, "epoch": epochs, "late": late}, start=START)
    clock = run_clock(run)
    assert clock is not None
    assert own_times(batches, clock) is None
    assert own_times(late, clock) is None
    found = own_times(epochs, clock)
    assert found is not None
    assert found.tolist() == (100 * np.arange(10)).tolist()
