"""From a real store to a bundle: what is read, what is kept, and what is said of the rest."""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import sqlalchemy
from between import Between
from conftest import log_run
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from PIL import Image

from mlflow_dlviz.reporting import fetch as fetching
from mlflow_dlviz.reporting import fetch_metrics, fetch_numbers
from mlflow_dlviz.reporting.bundle import Query
from mlflow_dlviz.reporting.options import Choice, Options
from mlflow_dlviz.reporting.source import Reading
from mlflow_dlviz.store import names
from mlflow_dlviz.store.batch import pack
from mlflow_dlviz.store.server import ServerUnreachable

OURS = {"dlviz.status": "ok"}


@pytest.fixture
def fetch(experiment, store_uri):
    """Fetch the runs of the test's experiment: ``fetch(images="a/*", limit=3, max_frames=5)``."""

    def read(progress=None, **told):
        return fetching.fetch(*split_up(told, experiment[1], store_uri), progress=progress)

    return read


def split_up(told: dict, experiment: str, uri: str) -> tuple[Query, Options, Reading]:
    def of(kind, **more):
        fields = kind.__dataclass_fields__
        return kind(**more, **{name: told[name] for name in told if name in fields and name not in more})

    return of(Query, server="", experiments=(experiment,)), of(Options), of(Reading, tracking_uri=uri)


@contextmanager
def statements(uri: str) -> Iterator[list[str]]:
    """The SQL that is sent to the store meanwhile."""
    seen: list[str] = []

    def listen(connection, cursor, statement, *more):
        seen.append(statement)

    engine = MlflowClient(uri)._tracking_client.store.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", listen)
    try:
        yield seen
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", listen)


def history_requests(seen: list[str]) -> list[str]:
    return [statement for statement in seen if "FROM metrics" in statement]


def test_runs_are_fetched_with_all_they_have(experiment, make_run, fetch, client):
    run_id = make_run(
        name="fox",
        metrics={"loss": [1.0, 0.5], "dlviz/seconds": [1.0], "best_loss": [0.5]},
        params={"lr": 0.1},
        pictures={"activations/01.conv": [0, 1]},
    )
    told = [("digits", "d1", "eval"), ("digits", "d0", "train"), ("bare", "d2", None)]
    inputs = [
        DatasetInput(
            Dataset(name, digest, "code", "{}"), [InputTag("mlflow.data.context", context)] if context else []
        )
        for name, digest, context in told
    ]
    client.log_inputs(run_id, inputs)
    make_run(name="empty")
    stages = []
    bundle = fetch(progress=lambda what, done, total: stages.append(what))
    [run] = bundle.runs
    assert (run.id, run.name, run.experiment, run.status) == (run_id, "fox", experiment[1], "FINISHED")
    assert (run.seconds, run.params["lr"]) == (125.0, "0.1")
    assert list(run.histories) == ["loss"]
    np.testing.assert_array_equal(run.histories["loss"].values, [1.0, 0.5])
    assert [(frame.key, frame.step) for frame in run.frames] == [("activations/01.conv", step) for step in (0, 1)]
    assert Image.open(io.BytesIO(run.frames[0].webp)).format == "WEBP"
    found = [(dataset.name, dataset.digest, dataset.context) for dataset in run.datasets]
    assert found == [("bare", "d2", ""), ("digits", "d1", "eval"), ("digits", "d0", "train")]
    assert [(gone.name, gone.reason) for gone in bundle.excluded] == [("empty", "no metrics and no pictures")]
    assert set(stages) == {"metrics", "pictures", "pictures: listing"}
    assert bundle.problems == ()


def test_query_narrows_the_search(make_run, fetch):
    for number, status in enumerate(["FINISHED", "FAILED", "RUNNING"]):
        make_run(name=f"r{number}", metrics={"loss": [float(number)]}, status=status)

    def names_of(**told):
        return sorted(run.name for run in fetch(**told).runs)

    assert names_of() == ["r0", "r1", "r2"]
    assert names_of(filters=("metrics.loss < 0.5", "metrics.loss > 1.5")) == ["r0", "r2"]
    assert names_of(statuses=("FINISHED", "FAILED")) == ["r0", "r1"]
    assert names_of(since=3600.0) == []
    cut = fetch(order_by=("metrics.loss DESC",), limit=2)
    assert [run.name for run in cut.runs] == ["r2", "r1"]
    assert cut.notes == ("More than 2 runs match; the first 2 by metrics.loss DESC are shown (limit=2).",)
    assert "the newest 2 are shown" in fetch(limit=2).notes[0]


def test_what_is_missing_has_its_reason(experiment, make_run, client, store_uri):
    kept, deleted = make_run(metrics={"loss": [1.0]}), make_run(metrics={"loss": [1.0]})
    client.delete_run(deleted)
    report = client.create_run(experiment[0], run_name="page", tags={"dlviz.report": "true"}).info.run_id
    query = Query("", run_ids=(kept, deleted, "0" * 32, report))
    bundle = fetching.fetch(query, Options(), Reading(store_uri))
    assert [run.id for run in bundle.runs] == [kept]
    reasons = {gone.id: gone.reason for gone in bundle.excluded}
    assert reasons[deleted] == "deleted"
    assert "not found" in reasons["0" * 32]
    [problem] = bundle.problems
    assert problem.startswith(f"Run {'0' * 32} could not be read: ")
    assert reasons[report] == "holds a report"


def test_reports_do_not_count_where_the_limit_cuts(experiment, make_run, fetch, client):
    for name in ("r0", "r1", "r2"):
        make_run(name=name, metrics={"loss": [1.0]})
    for _ in range(3):
        client.create_run(experiment[0], run_name="page", tags={"dlviz.report": "true"})
    by_name = ("attributes.run_name ASC",)
    bundle = fetch(limit=2, order_by=by_name)
    assert [run.name for run in bundle.runs] == ["r0", "r1"]
    assert "More than 2 runs match" in bundle.notes[0]
    assert [gone.reason for gone in bundle.excluded] == ["holds a report"] * 3
    bundle = fetch(limit=3, order_by=by_name)
    assert (len(bundle.runs), bundle.notes) == (3, ())


def test_what_was_not_asked_for_is_not_called_missing(make_run, fetch):
    make_run(metrics={"loss": [1.0]}, pictures={"a/x": [0]})
    make_run(metrics={"acc": [1.0]})
    make_run(metrics={}, pictures={"b/x": [0]})

    def reasons(**told):
        return sorted(gone.reason for gone in fetch(**told).excluded)

    assert reasons(metrics=(Choice("acc*"),), images="b/*") == ["none of its metrics and pictures was asked for"]
    assert reasons(images="a/*") == ["none of its pictures was asked for"]
    assert reasons(metrics=(Choice("loss"),)) == ["none of its metrics was asked for"]
    make_run(metrics={})
    assert "no metrics and no pictures" in reasons(metrics=(Choice("loss"),))
    assert [gone.reason for gone in fetch().excluded] == ["no metrics and no pictures"]


def test_only_the_metrics_that_are_asked_for_are_read(make_run, fetch, store_uri):
    make_run(metrics={"loss": [1.0], "val_loss": [2.0], "acc": [0.5], "best_acc": [0.5]})
    with statements(store_uri) as seen:
        [run] = fetch(metrics=(Choice("*loss"),), goal="best_acc").runs
    assert sorted(run.histories) == ["best_acc", "loss", "val_loss"]
    assert len(history_requests(seen)) == 1


def test_of_too_many_metrics_those_that_matter_are_read(make_run, fetch, monkeypatch):
    monkeypatch.setattr(fetch_metrics, "MAX_METRICS", 2)
    make_run(metrics={"zeta": [1.0], "loss": [1.0], "accuracy": [1.0], "eta": [1.0]})
    bundle = fetch(goal="zeta")
    assert sorted(bundle.runs[0].histories) == ["loss", "zeta"]
    assert bundle.notes == ("2 further metrics were logged; the 2 that matter most are shown.",)


def shown(bundle) -> list[tuple[str, int]]:
    return [(frame.key, frame.step) for frame in bundle.runs[0].frames]


def test_only_the_pictures_that_are_asked_for_are_read(make_run, fetch):
    make_run(metrics={"loss": [1.0]}, pictures={"a/x": [0, 3, 7], "a/y": [0, 3], "b/x": [0]})
    assert len(shown(fetch())) == 6
    assert shown(fetch(images="a/*")) == [("a/x", 0), ("a/x", 3), ("a/x", 7), ("a/y", 0), ("a/y", 3)]
    assert shown(fetch(epochs=(-1,))) == [("a/x", 7), ("a/y", 3), ("b/x", 0)]
    assert shown(fetch(epochs=(3, 5))) == [("a/x", 3), ("a/y", 3)]
    with pytest.raises(ValueError, match="images='b/y': no run has such a picture; there are b/x, a/x, a/y|a/y"):
        fetch(images="b/y")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("nothing*", "metrics='nothing*': no run has such a curve; there are acc, loss, val_loss"),
        ("val_lose", "metrics='val_lose': no run has such a curve; there are val_loss, loss, acc"),
        ("val_loss:maxx", "metrics='val_loss:maxx': expected ':min' or ':max' at the end, not ':maxx'"),
    ],
)
def test_metrics_that_no_run_has_are_refused(experiment, make_run, fetch, store_uri, pattern, said):
    make_run(metrics={"loss": [1.0], "val_loss": [2.0]})
    make_run(metrics={"acc": [0.5], "best_acc": [0.5]})
    for read in (fetch, lambda **told: fetching.preview(*split_up(told, experiment[1], store_uri))):
        with pytest.raises(ValueError, match=re.escape(said)):
            read(metrics=(Choice("*loss"), Choice(pattern)))


def test_too_many_pictures_are_thinned_and_it_is_said(make_run, fetch):
    make_run(metrics={"loss": [1.0]}, pictures={"a/b": range(9)})
    bundle = fetch(max_frames=3)
    assert shown(bundle) == [("a/b", 0), ("a/b", 4), ("a/b", 8)]
    assert "3 of 9 pictures are shown" in bundle.notes[0]


def test_a_damaged_picture_is_told(make_run, fetch, client, tmp_path):
    run_id = make_run(metrics={"loss": [1.0]}, pictures={"a/b": [0]})
    bad = tmp_path / "a~b+step+1+timestamp+5+11111111-1111-1111-1111-111111111111.png"
    bad.write_bytes(b"not a picture")
    client.log_artifact(run_id, str(bad), "images")
    for _ in range(2):
        bundle = fetch()
        assert [frame.webp is None for frame in bundle.runs[0].frames] == [False, True]
        assert "not a readable image" in bundle.runs[0].frames[1].reason
        assert bundle.problems == ("1 picture could not be read; the tiles say why.",)


def log_numbers(client, run_id, leaf, epochs, tmp_path) -> None:
    for epoch in epochs:
        path = tmp_path / names.numbers_path("probabilities", leaf, epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack({"counts": np.full((2, 2, 4), epoch), "edges": np.linspace(0, 1, 5)}))
    client.log_artifacts(run_id, str(tmp_path / "dlviz"), "dlviz")


def test_the_numbers_behind_the_histograms_are_read(make_run, fetch, client, tmp_path):
    run_id = make_run(metrics={"loss": [1.0]}, tags=OURS)
    log_numbers(client, run_id, "validation", [0, 1, 2], tmp_path)
    log_numbers(client, run_id, "training", [1], tmp_path)
    client.log_text(run_id, "x", "dlviz/probabilities/frozen.npz")
    for _ in range(2):
        numbers = fetch().runs[0].numbers["probabilities"]
        assert {leaf: list(each) for leaf, each in numbers.items()} == {"training": [1], "validation": [0, 1, 2]}
        np.testing.assert_array_equal(numbers["validation"][2]["counts"], np.full((2, 2, 4), 2))
        np.testing.assert_array_equal(numbers["validation"][2]["edges"], np.linspace(0, 1, 5))


def test_numbers_are_thinned_and_damaged_ones_told(make_run, fetch, client, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_numbers, "MAX_EPOCHS", 3)
    run_id = make_run(metrics={"loss": [1.0]}, tags=OURS)
    log_numbers(client, run_id, "validation", range(9), tmp_path)
    client.log_text(run_id, "no arrays", "dlviz/probabilities/validation/0004.npz")
    bundle = fetch()
    assert list(bundle.runs[0].numbers["probabilities"]["validation"]) == [0, 8]
    [problem] = bundle.problems
    assert problem == (
        "1 file of numbers (probabilities) could not be read: not a readable file of numbers (ValueError)"
    )
    [note] = bundle.notes
    assert note.startswith("3 of 9 frames of the numbers behind probabilities")


def test_large_numbers_are_thinned_to_what_memory_holds(make_run, fetch, client, tmp_path, monkeypatch):
    run_id = make_run(metrics={"loss": [1.0]}, tags=OURS)
    log_numbers(client, run_id, "validation", range(9), tmp_path)
    size = 16 * 8 + 5 * 8
    monkeypatch.setattr(fetch_numbers, "MAX_BYTES", 4 * size + 1)
    bundle = fetch()
    assert list(bundle.runs[0].numbers["probabilities"]["validation"]) == [0, 3, 5, 8]
    assert bundle.notes[0].startswith("4 of 9 frames of the numbers")
    monkeypatch.setattr(fetch_numbers, "MAX_BYTES", size - 1)
    assert fetch().runs[0].numbers == {}


def test_nothing_is_asked_for_numbers_or_pictures_that_are_not_there(make_run, fetch, cache_folder):
    make_run(metrics={"loss": [1.0]})
    make_run(metrics={"loss": [1.0]})
    stages = []
    fetch(progress=lambda what, done, total: stages.append(what))
    assert set(stages) == {"metrics"}


def test_what_has_not_changed_is_read_once(experiment, make_run, fetch, client, store_uri, tmp_path):
    values = [1.0, float("nan"), float("inf"), -0.0]
    make_run(metrics={"loss": values}, pictures={"a/b": [0, 1]}, tags=OURS)
    second = make_run(metrics={"loss": [2.0], "acc": [0.5]})
    first = fetch()
    artifacts = [Path(client.get_experiment(experiment[0]).artifact_location.removeprefix("file://"))]
    moved = [path.rename(path.with_name(f"{path.name}-away")) for path in artifacts]
    with statements(store_uri) as seen:
        again = fetch()
    assert seen
    assert history_requests(seen) == []
    assert_same(again, first)
    moved[0].rename(artifacts[0])
    # One run is taken up again: it alone is read again.
    client.update_run(second, "RUNNING")
    client.log_metric(second, "loss", 1.0, timestamp=1_800_000_000_000, step=1)
    client.set_terminated(second, end_time=1_700_000_130_000)
    with statements(store_uri) as seen:
        changed = {run.id: run for run in fetch().runs}
    assert len(history_requests(seen)) == 1
    assert changed[second].histories["loss"].values.tolist() == [2.0, 1.0]


def assert_same(one, other) -> None:
    assert [run.id for run in one.runs] == [run.id for run in other.runs]
    for run, twin in zip(one.runs, other.runs, strict=True):
        assert run.frames == twin.frames
        assert list(run.histories) == list(twin.histories)
        for key, series in run.histories.items():
            for name in ("steps", "values", "times"):
                ours, theirs = getattr(series, name), getattr(twin.histories[key], name)
                assert ours.dtype == theirs.dtype
                assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("told", [{"cache": False}, {"refresh": True}])
def test_it_is_read_anew_if_asked_for(make_run, fetch, store_uri, told):
    make_run(metrics={"loss": [1.0]})
    fetch()
    with statements(store_uri) as seen:
        fetch(**told)
    assert len(history_requests(seen)) == 1


def test_a_run_that_goes_on_is_always_read(make_run, fetch, client, store_uri):
    run_id = make_run(metrics={"loss": [(5, 1.0)]}, status="RUNNING")
    fetch()
    # The last point stays the last.
    client.log_metric(run_id, "loss", 2.0, timestamp=1, step=0)
    assert fetch().runs[0].histories["loss"].values.tolist() == [2.0, 1.0]


def test_a_late_picture_is_seen(make_run, fetch, client):
    """A spool is sent hours after its run has ended; with it comes a new tag."""
    run_id = make_run(metrics={"loss": [1.0]}, pictures={"a/b": [0]})
    assert shown(fetch()) == [("a/b", 0)]
    client.log_image(run_id, Image.new("RGB", (30, 20)), key="a/b", step=1)
    client.set_tag(run_id, "dlviz.status", "ok")
    assert shown(fetch()) == [("a/b", 0), ("a/b", 1)]


def test_without_a_place_for_the_cache_all_is_read(make_run, fetch, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MLFLOW_DLVIZ_CACHE", str(tmp_path / "file" / "cache"))
    make_run(metrics={"loss": [1.0]}, pictures={"a/b": [0]})
    for _ in range(2):
        bundle = fetch()
        assert shown(bundle) == [("a/b", 0)]
        assert bundle.problems == ()


def test_a_run_whose_metrics_cannot_be_read_is_told(make_run, fetch, client, store_uri):
    make_run(metrics={"loss": [1.0]}, name="good")
    bad = make_run(metrics={"loss": [1.0]}, name="bad")
    with sqlite3.connect(store_uri.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE metrics SET timestamp = 'soon' WHERE run_uuid = ?", (bad,))
    try:
        bundle = fetch(cache=False)
    finally:
        client.delete_run(bad)
    assert [run.name for run in bundle.runs] == ["good"]
    [problem] = bundle.problems
    assert problem.startswith(f"Metrics could not be read: run {bad}: loss: ")
    [gone] = bundle.excluded
    assert gone.reason.startswith("its metrics could not be read: ")


def test_a_preview_reads_nothing_but_the_list(experiment, make_run, store_uri):
    make_run(metrics={"loss": [1.0, 0.5, 0.2], "acc": [0.5]}, pictures={"a/b": [0]})
    make_run(metrics={"loss": [1.0]}, status="FAILED")
    make_run(metrics={"loss": [1.0]}, status="FAILED")
    query, options, reading = split_up({"limit": 9}, experiment[1], store_uri)
    with statements(store_uri) as seen:
        told = fetching.preview(query, options, reading)
    assert history_requests(seen) == []
    assert (told.runs, told.points, told.pictured) == (3, 6, 1)
    assert list(told.by_status.items()) == [("FAILED", 2), ("FINISHED", 1)]
    assert list(told.metrics.items()) == [("loss", 3), ("acc", 1)]
    assert told.experiments == {experiment[1]: 3}
    lines = told.lines()
    assert "runs: 3 (FAILED 2, FINISHED 1)" in lines
    assert "points: about 6" in lines
    nothing = fetching.preview(replace(query, filters=("metrics.loss > 5",)), options, reading)
    assert "runs: 0" in nothing.lines()
    missing = fetching.preview(Query("", run_ids=("0" * 32,)), options, reading)
    assert missing.lines()[-1].startswith(f"left out: {'0' * 32}: ")


def test_over_http_it_is_the_same_and_read_once(mlflow_server, tmp_path):
    at = MlflowClient(mlflow_server)
    experiment = at.create_experiment("fetched over http")
    log_run(
        at, experiment, metrics={"loss": [1.0, float("nan"), float("inf")]}, pictures={"a/b": [0, 1]}, tags=OURS
    )
    log_run(at, experiment, metrics={"loss": [2.0], "acc": [0.5]})
    query = Query("", experiments=("fetched over http",))
    with Between(mlflow_server) as between:
        first = fetching.fetch(query, Options(), Reading(between.address))
        assert len(between.asked_for("get-history-bulk")) == 2
        assert between.asked_for("metrics/get-history?") == []
        between.paths.clear()
        again = fetching.fetch(query, Options(), Reading(between.address))
        asked = [path.partition("?")[0].rsplit("/", 1)[-1] for path in between.paths]
        # Whether it answers, the experiment, its runs, and the experiment's name.
        assert sorted(asked) == ["get", "get-by-name", "health", "search"]
    assert_same(again, first)
    [run] = [run for run in first.runs if run.frames]
    np.testing.assert_array_equal(run.histories["loss"].values, [1.0, np.nan, np.inf])


def test_a_server_that_fails_for_one_run_costs_that_run(mlflow_server, impatient):
    at = MlflowClient(mlflow_server)
    experiment = at.create_experiment("one fails")
    good = log_run(at, experiment, name="good", metrics={"loss": [1.0]})
    bad = log_run(at, experiment, name="bad", metrics={"loss": [1.0]})
    with Between(mlflow_server) as between:
        between.refuse = lambda path: 500 if "get-history" in path and bad in path else None
        bundle = fetching.fetch(Query("", experiments=("one fails",)), Options(), Reading(between.address))
    assert [run.id for run in bundle.runs] == [good]
    assert [gone.id for gone in bundle.excluded] == [bad]
    assert f"run {bad}: loss: " in bundle.problems[0]


@pytest.mark.parametrize("path", ["get-by-name", "runs/search"])
def test_a_server_that_fails_at_once_is_unreachable(mlflow_server, impatient, path):
    name = f"fails at {path}"
    MlflowClient(mlflow_server).create_experiment(name)
    with Between(mlflow_server) as between:
        between.refuse = lambda asked: 500 if path in asked else None
        for read in (fetching.fetch, fetching.preview):
            with pytest.raises(ServerUnreachable, match="fails: "):
                read(Query("", experiments=(name,)), Options(), Reading(between.address))


def test_a_run_that_cannot_be_asked_for_is_a_problem(mlflow_server, impatient):
    at = MlflowClient(mlflow_server)
    experiment = at.create_experiment("one is refused")
    good, bad = (log_run(at, experiment, name=name, metrics={"loss": [1.0]}) for name in ("good", "bad"))
    with Between(mlflow_server) as between:
        between.refuse = lambda path: 500 if "runs/get" in path and bad in path else None
        query = Query("", run_ids=(good, bad, "0" * 32))
        bundle = fetching.fetch(query, Options(), Reading(between.address))
    assert [run.id for run in bundle.runs] == [good]
    assert sorted(gone.id for gone in bundle.excluded) == sorted([bad, "0" * 32])
    absent, problem = sorted(bundle.problems, key=lambda each: bad in each)
    assert "0" * 32 in absent
    assert problem.startswith(f"Run {bad} could not be read: ")


def test_the_current_server_is_the_default(experiment, make_run, store_uri):
    run_id = make_run(metrics={"loss": [1.0]})
    mlflow.set_tracking_uri(store_uri)
    try:
        bundle = fetching.fetch(Query("", run_ids=(run_id,)), Options(), Reading())
    finally:
        mlflow.set_tracking_uri(None)
    assert [run.id for run in bundle.runs] == [run_id]
    assert bundle.query.server == "sqlite: mlflow.db"


def test_many_points_of_one_run_come_whole(client, experiment, fetch):
    run_id = client.create_run(experiment[0]).info.run_id
    for start in range(0, 5000, 1000):
        client.log_batch(run_id, metrics=[Metric("loss", at / 3, at, at) for at in range(start, start + 1000)])
    np.testing.assert_array_equal(fetch().runs[0].histories["loss"].values, np.arange(5000) / 3)
