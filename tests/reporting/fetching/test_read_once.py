"""What has not changed is read from the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from asked import OURS, history_requests, shown, statements
from between import Between
from logged import log_run
from mlflow import MlflowClient
from PIL import Image

from mlflow_dlviz.reporting.bundle import Query
from mlflow_dlviz.reporting.fetching.fetch import fetch as fetch_bundle
from mlflow_dlviz.reporting.fetching.source import Reading
from mlflow_dlviz.reporting.options import Options


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


def test_over_http_it_is_the_same_and_read_once(mlflow_server, tmp_path):
    at = MlflowClient(mlflow_server)
    experiment = at.create_experiment("fetched over http")
    log_run(
        at, experiment, metrics={"loss": [1.0, float("nan"), float("inf")]}, pictures={"a/b": [0, 1]}, tags=OURS
    )
    log_run(at, experiment, metrics={"loss": [2.0], "acc": [0.5]})
    query = Query("", experiments=("fetched over http",))
    with Between(mlflow_server) as between:
        first = fetch_bundle(query, Options(), Reading(between.address))
        assert len(between.asked_for("get-history-bulk")) == 2
        assert between.asked_for("metrics/get-history?") == []
        between.paths.clear()
        again = fetch_bundle(query, Options(), Reading(between.address))
        asked = [path.partition("?")[0].rsplit("/", 1)[-1] for path in between.paths]
        # Whether it answers, the experiment, its runs, and the experiment's name.
        assert sorted(asked) == ["get", "get-by-name", "health", "search"]
    assert_same(again, first)
    [run] = [run for run in first.runs if run.frames]
    np.testing.assert_array_equal(run.histories["loss"].values, [1.0, np.nan, np.inf])


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
