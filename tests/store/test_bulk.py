"""The private ways give what the public API gives, point by point; these tests fail when MLflow changes them."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy
from between import Between
from mlflow import MlflowClient
from mlflow.entities import Metric
from servers import postgres, postgres_program

from mlflow_dlviz.store import bulk, histories

NAN, INF = float("nan"), float("inf")
KEYS = ["loss", "val_loss", "a b/c.d-e_f", "once"]

# (value, time, step)
HOSTILE = [
    (0.1, 1000, 0),
    (NAN, 1001, 1),
    (INF, 1002, 2),
    (-INF, 1003, 3),
    (5e-324, 1004, 4),
    (-0.0, 1005, 5),
    (1 / 3, 1006, -7),
    (1.0, 900, 6),
    (2.0, 800, 6),
    (3.0, 800, 6),
    (NAN, 800, 6),
    (1e300, 1_700_000_000_000, 2**40),
]


def fill(client: MlflowClient, name: str) -> list[str]:
    """Three runs: one with hostile points, one with few, one without any."""
    experiment = client.create_experiment(name)
    runs = [client.create_run(experiment).info.run_id for _ in range(3)]
    client.log_batch(runs[0], metrics=[Metric(key, *point) for key in KEYS[:3] for point in HOSTILE])
    client.log_batch(runs[1], metrics=[Metric("loss", 1.0, 5, 0), Metric("once", 2.0, 6, 0)])
    return runs


def pairs_of(runs, keys=KEYS) -> list[tuple[str, str]]:
    return [(run_id, key) for run_id in runs for key in keys]


def publicly(client, pairs) -> dict:
    """What MLflow's public API has, in our order."""
    found = {}
    for run_id, key in pairs:
        for columns in histories._one_by_one(client, [(run_id, key)], jobs=1, errors=None):
            found.update(histories.split(columns))
    return found


def read(way) -> dict:
    found = {}
    for columns in way:
        found.update(histories.split(columns))
    return found


def assert_same(found, expected) -> None:
    assert set(found) == set(expected)
    for pair, series in expected.items():
        for name in ("steps", "values", "times"):
            ours, theirs = getattr(found[pair], name), getattr(series, name)
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs, err_msg=f"{pair} {name}")


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> MlflowClient:
    return MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('bulk') / 'mlflow.db'}")


@pytest.fixture(scope="module")
def remote(mlflow_server) -> MlflowClient:
    return MlflowClient(mlflow_server)


@pytest.fixture(scope="module")
def stored(database) -> list[str]:
    return fill(database, "bulk")


@pytest.fixture(scope="module")
def served(remote) -> list[str]:
    return fill(remote, "bulk")


@pytest.fixture(scope="module")
def long(remote) -> list[str]:
    """Runs of 90 points, of twice 30 on one step, and of ten."""
    return fill_long(remote, "long", [90, 30, 30, 10])


def fill_long(client: MlflowClient, name: str, sizes: list[int]) -> list[str]:
    """Runs of so many points; of the second and the third all on one step."""
    experiment = client.create_experiment(name)
    runs = [client.create_run(experiment).info.run_id for _ in sizes]
    for place, (run_id, size) in enumerate(zip(runs, sizes, strict=True)):
        still = place in (1, 2)
        log(client, run_id, [Metric("loss", at / 7, at, 0 if still else at) for at in range(size)])
    return runs


@pytest.fixture
def small_answers(monkeypatch):
    """The server really cuts its answers at as few points as it is asked for."""
    monkeypatch.setattr(bulk, "_ROWS_AN_ANSWER", 50)
    monkeypatch.setattr(bulk, "_MANY_STEPS", 20)


def log(client, run_id, points) -> None:
    for start in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[start : start + 1000])


def last_steps(client, runs) -> dict:
    found = {}
    for run_id in runs:
        for metric in client.get_run(run_id).data.to_proto().metrics:
            found[run_id, metric.key] = metric.step
    return found


def test_tables_have_what_the_public_api_has(database, stored):
    pairs = pairs_of(stored)
    found = read(bulk.from_tables(database, pairs))
    assert len(found) == 5
    assert_same(found, publicly(database, pairs))
    series = found[stored[0], "loss"]
    assert series.steps.tolist() == [-7, 0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 2**40]
    np.testing.assert_array_equal(series.values[-5:-1], [2.0, 3.0, NAN, 1.0])


def test_all_that_was_asked_for_is_accounted_for(database, stored):
    pairs = pairs_of(stored)
    accounted = [pair for columns in bulk.from_tables(database, pairs) for pair in columns.pairs]
    assert sorted(accounted) == sorted(pairs)


def test_tables_are_only_read(database, stored):
    statements = []
    engine = database._tracking_client.store.engine

    def listen(connection, cursor, statement, *more):
        statements.append(statement)

    sqlalchemy.event.listen(engine, "before_cursor_execute", listen)
    try:
        read(bulk.from_tables(database, pairs_of(stored)))
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", listen)
    assert statements
    assert all(statement.startswith("SELECT") for statement in statements)


def test_the_points_of_other_runs_are_not_looked_through(database, stored):
    """SQLite would go by the key: a store of many runs would be read whole for a few."""
    engine = database._tracking_client.store.engine
    plans = []

    def listen(connection, cursor, statement, parameters, *more):
        if "FROM metrics" in statement:
            asked = connection.connection.cursor()
            plans.extend(row[3] for row in asked.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    sqlalchemy.event.listen(engine, "before_cursor_execute", listen)
    try:
        read(bulk.from_tables(database, pairs_of(stored)))
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", listen)
    assert plans
    assert all("run_uuid=?" in plan for plan in plans)


def test_many_runs_and_parts_are_joined(database, stored, monkeypatch):
    monkeypatch.setattr(bulk, "_RUNS_A_QUERY", 2)
    monkeypatch.setattr(bulk, "_ROWS_A_FETCH", 5)
    pairs = pairs_of(stored)
    assert_same(read(bulk.from_tables(database, pairs)), publicly(database, pairs))


def test_what_was_not_asked_for_is_left_out(database, stored):
    pairs = [(stored[0], "loss"), (stored[1], "once")]
    assert set(read(bulk.from_tables(database, pairs))) == set(pairs)


@pytest.mark.slow
@pytest.mark.skipif(postgres_program("initdb") is None, reason="no PostgreSQL on this machine")
def test_tables_of_postgres_too(tmp_path):
    with postgres(tmp_path) as uri:
        client = MlflowClient(uri)
        pairs = pairs_of(fill(client, "bulk"))
        assert_same(read(bulk.from_tables(client, pairs)), publicly(client, pairs))
        client._tracking_client.store._dispose_engine()


def test_the_endpoint_has_what_the_public_api_has(remote, served):
    pairs = pairs_of(served)
    found = read(bulk.from_endpoint(remote, pairs, last_steps=last_steps(remote, served)))
    assert len(found) == 5
    assert_same(found, publicly(remote, pairs))
    assert np.isposinf(found[served[0], "loss"].values).sum() == 1


def check_long(remote, runs, sizes) -> None:
    pairs = pairs_of(runs, ["loss"])
    by_endpoint = list(bulk.from_endpoint(remote, pairs, last_steps=last_steps(remote, runs)))
    assert {pair for columns in by_endpoint for pair in columns.pairs} == set(pairs[1:])
    found = histories.metric_histories(remote, runs, ["loss"])
    assert [len(found[run_id]["loss"].steps) for run_id in runs] == sizes
    assert_same({(run_id, "loss"): found[run_id]["loss"] for run_id in runs}, publicly(remote, pairs))


def test_above_the_limit_of_an_answer_nothing_is_lost(remote, long, small_answers):
    """The endpoint cuts its answers and does not say so."""
    check_long(remote, long, [90, 30, 30, 10])


@pytest.mark.slow
def test_above_the_real_limit_nothing_is_lost_either(remote):
    sizes = [26_000, 13_000, 13_000, 10]
    check_long(remote, fill_long(remote, "longest", sizes), sizes)


def test_requests_are_cut_to_what_runs_hold(mlflow_server, long, small_answers):
    short = long[3]
    with Between(mlflow_server) as between:
        through = MlflowClient(between.address)
        read(bulk.from_endpoint(through, [(short, "loss")], last_steps={(short, "loss"): 9}))
        assert len(between.paths) == 1
        between.paths.clear()
        # Nothing is known of their lengths: the first is asked for alone, and the others judged by it.
        read(bulk.from_endpoint(through, pairs_of(long[1:], ["loss"]), last_steps={}))
        assert [path.count("run_id=") for path in between.paths] == [1, 1, 1]
        between.paths.clear()
        # All is known, and wrong: an answer that may be cut is asked for again in halves.
        wrong = dict.fromkeys(pairs_of(long[1:], ["loss"]), 0)
        read(bulk.from_endpoint(through, list(wrong), last_steps=wrong))
        assert [path.count("run_id=") for path in between.paths] == [3, 1, 2]


def test_chunks_stay_within_an_answer():
    sizes = {str(number): size for number, size in enumerate([10_000, 10_000, 10_000, 1, 30_000, 5])}
    assert list(bulk._chunks(sizes)) == [("0", "1"), ("2", "3"), ("4",), ("5",)]
    assert list(bulk._chunks({})) == []
    many = {str(number): 1.0 for number in range(250)}
    assert [len(chunk) for chunk in bulk._chunks(many)] == [100, 100, 50]


def test_a_missing_endpoint_costs_three_requests(mlflow_server, remote, served, impatient):
    pairs = pairs_of(served)
    with Between(mlflow_server) as between:
        between.refuse = lambda path: 404 if "get-history-bulk" in path else None
        through = MlflowClient(between.address)
        with pytest.raises(bulk.Unsupported, match="404"):
            read(bulk.from_endpoint(through, pairs, last_steps={}, jobs=1))
        found = histories.metric_histories(through, served, KEYS, jobs=1)
    flat = {(run_id, key): series for run_id, of_run in found.items() for key, series in of_run.items()}
    assert_same(flat, publicly(remote, pairs))


def test_requests_carry_the_users_credentials(mlflow_server, served, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    with Between(mlflow_server) as between:
        read(bulk.from_endpoint(MlflowClient(between.address), pairs_of(served), last_steps={}))
    assert between.headers
    assert {headers["Authorization"] for headers in between.headers} == {"Bearer t0ken"}


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_is_asked_again(mlflow_server, remote, served, impatient, status):
    busy = iter([status])
    with Between(mlflow_server) as between:
        between.refuse = lambda path: next(busy, None)
        found = read(bulk.from_endpoint(MlflowClient(between.address), pairs_of(served), last_steps={}))
    assert_same(found, publicly(remote, pairs_of(served)))


def test_a_request_that_fails_leaves_the_others(mlflow_server, remote, served, impatient):
    with Between(mlflow_server) as between:
        between.refuse = lambda path: 500 if "bulk" in path and "metric_key=loss" in path else None
        answered = list(bulk.from_endpoint(MlflowClient(between.address), pairs_of(served), last_steps={}))
        found = histories.metric_histories(MlflowClient(between.address), served, KEYS)
    assert {key for columns in answered for _, key in columns.pairs} == set(KEYS) - {"loss"}
    flat = {(run_id, key): series for run_id, of_run in found.items() for key, series in of_run.items()}
    assert_same(flat, publicly(remote, pairs_of(served)))


@pytest.mark.parametrize("way", ["from_tables", "from_endpoint"])
def test_a_store_of_files_has_neither_way(tmp_path, monkeypatch, way):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient((tmp_path / "mlruns").as_uri())
    more = {"last_steps": {}} if way == "from_endpoint" else {}
    with pytest.raises(bulk.Unsupported):
        next(getattr(bulk, way)(client, [("r", "loss")], **more))


def test_another_mlflow_inside_costs_no_point(database, stored, monkeypatch):
    expected = publicly(database, pairs_of(stored))
    monkeypatch.delattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore")
    with pytest.raises(ImportError):
        read(bulk.from_tables(database, pairs_of(stored)))
    found = histories.metric_histories(database, stored, KEYS)
    assert_same({(run, key): series for run, each in found.items() for key, series in each.items()}, expected)
