"""Metric histories, by the ladder of ways, from real stores."""

from __future__ import annotations

import numpy as np
import pytest
from between import Between
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from mlflow_dlviz.store import bulk, histories
from mlflow_dlviz.store.bulk import Columns

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> MlflowClient:
    folder = tmp_path_factory.mktemp("histories")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    client.create_experiment("vision", artifact_location=(folder / "vision").as_uri())
    return client


def add_run(client: MlflowClient, **metrics) -> str:
    run = client.create_run(client.get_experiment_by_name("vision").experiment_id)
    points = [
        Metric(key, value, 1000 + step, step)
        for key, values in metrics.items()
        for step, value in enumerate(values)
    ]
    client.log_batch(run.info.run_id, metrics=points)
    return run.info.run_id


@pytest.fixture
def publicly(monkeypatch):
    """Without the private ways."""

    def refuse(*args, **options):
        raise bulk.Unsupported("as in another MLflow")

    monkeypatch.setattr(histories, "from_tables", refuse)
    monkeypatch.setattr(histories, "from_endpoint", refuse)


def check_what_was_logged(client):
    run_id = add_run(client, loss=[3.0, NAN, INF, 0.1], val_loss=[1.0, -INF])
    other = add_run(client, loss=[1.0])
    seen = []
    found = histories.metric_histories(
        client, [run_id, other], ["loss", "val_loss"], progress=lambda *now: seen.append(now)
    )
    assert list(found) == [run_id, other]
    assert list(found[run_id]) == ["loss", "val_loss"]
    assert list(found[other]) == ["loss"]
    series = found[run_id]["loss"]
    np.testing.assert_array_equal(series.steps, [0, 1, 2, 3])
    np.testing.assert_array_equal(series.values, [3.0, np.nan, np.inf, 0.1])
    np.testing.assert_array_equal(series.times, [1000, 1001, 1002, 1003])
    np.testing.assert_array_equal(found[run_id]["val_loss"].values, [1.0, -np.inf])
    return seen


def test_histories_come_back_as_they_were_logged(client):
    assert check_what_was_logged(client)[-1] == (4, 4)


def test_the_public_api_always_does(client, publicly):
    assert check_what_was_logged(client) == [(done, 4) for done in (1, 2, 3, 4)]


def test_a_store_of_files_is_read_too(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient((tmp_path / "mlruns").as_uri())
    client.create_experiment("vision")
    assert check_what_was_logged(client)[-1] == (4, 4)


def test_each_run_has_its_own_metrics(client):
    first, second = add_run(client, loss=[1.0], acc=[0.5]), add_run(client, loss=[2.0], acc=[0.6])
    found = histories.metric_histories(client, [first, second], {first: ["loss"], second: ["acc", "none"]})
    assert {run_id: list(series) for run_id, series in found.items()} == {first: ["loss"], second: ["acc"]}
    assert histories.metric_histories(client, [first], []) == {first: {}}
    assert histories.metric_histories(client, [], ["loss"]) == {}


def test_a_run_that_cannot_be_read_leaves_its_reason(client, monkeypatch, publicly):
    good, bad = add_run(client, loss=[1.0]), add_run(client, loss=[1.0])
    real = client.get_metric_history

    def fail(run_id, key):
        if run_id == bad:
            raise MlflowException("disk on fire\ntrace")
        return real(run_id, key)

    monkeypatch.setattr(client, "get_metric_history", fail)
    errors: dict[str, str] = {}
    found = histories.metric_histories(client, [good, bad], ["loss"], errors=errors)
    assert found[good]["loss"].values.tolist() == [1.0]
    assert found[bad] == {}
    assert errors == {bad: "loss: disk on fire"}
    with pytest.raises(MlflowException, match="disk on fire"):
        histories.metric_histories(client, [bad], ["loss"])


def test_a_server_that_goes_away_is_asked_once(mlflow_server, impatient):
    at = MlflowClient(mlflow_server)
    if at.get_experiment_by_name("vision") is None:
        at.create_experiment("vision")
    runs = [add_run(at, loss=[1.0]) for _ in range(6)]
    with Between(mlflow_server) as between:
        between.refuse = lambda path: 503
        errors: dict[str, str] = {}
        found = histories.metric_histories(MlflowClient(between.address), runs, ["loss"], jobs=1, errors=errors)
        asked = between.asked_for("get-history")
    assert found == {run_id: {} for run_id in runs}
    assert set(errors) == set(runs)
    assert sum("answers 503" in reason for reason in errors.values()) == 5
    # The endpoint for one chunk, and the public call for one run, each with its retry.
    assert len(asked) == 4


def test_what_one_way_leaves_the_next_brings(client):
    run_ids = [add_run(client, loss=[float(number)]) for number in range(4)]
    pairs = [(run_id, "loss") for run_id in run_ids]
    asked = []

    def way(some, *, fails):
        def read(wanted):
            asked.append(list(wanted))
            for pair in some:
                yield Columns(
                    [pair], np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1), np.ones(1, np.int64)
                )
            if fails:
                raise OSError("gone")

        return histories._tried(read)

    left = set(pairs)
    ways = [way(pairs[1:2], fails=True), way(pairs[3:], fails=False), way([pairs[0], pairs[2]], fails=False)]
    found = [columns.pairs[0] for columns in histories._read(ways, pairs, left)]
    assert found == [pairs[1], pairs[3], pairs[0], pairs[2]]
    assert asked == [pairs, [pairs[0], *pairs[2:]], [pairs[0], pairs[2]]]
    assert not left


POINTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(-3, 3),
        st.integers(0, 3),
        st.floats(allow_nan=False).filter(lambda value: abs(value) < 1.797e308) | st.just(1.7976931348623157e308),
    )
)


@given(POINTS)
def test_points_are_sorted_out_by_pair_step_and_time(points):
    pairs = [("r", "a"), ("r", "b"), ("s", "a")]
    place, steps, times, values = (
        (np.array(column) for column in zip(*points, strict=True)) if points else 4 * [[]]
    )
    columns = Columns(
        pairs,
        np.asarray(place, np.int64),
        np.asarray(steps, np.int64),
        np.asarray(values, np.float64),
        np.asarray(times, np.int64),
    )
    found = histories.split(columns)
    assert set(found) == {pairs[point[0]] for point in points}
    for number, pair in enumerate(pairs):
        own = sorted(point[1:] for point in points if point[0] == number)
        if own:
            series = found[pair]
            expected = [INF if value > 1.797e308 else value for _, _, value in own]
            assert list(zip(series.steps, series.times, series.values, strict=True)) == [
                (step, at, value) for (step, at, _), value in zip(own, expected, strict=True)
            ]
