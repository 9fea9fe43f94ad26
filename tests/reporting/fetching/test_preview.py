"""What a report would read, told without reading it."""

from __future__ import annotations

from dataclasses import replace

from asked import history_requests, split_up, statements

from mlflow_dlviz.reporting.bundle import Query
from mlflow_dlviz.reporting.fetching.preview import preview


def test_a_preview_reads_nothing_but_the_list(experiment, make_run, store_uri):
    make_run(metrics={"loss": [1.0, 0.5, 0.2], "acc": [0.5]}, pictures={"a/b": [0]})
    make_run(metrics={"loss": [1.0]}, status="FAILED")
    make_run(metrics={"loss": [1.0]}, status="FAILED")
    query, options, reading = split_up({"limit": 9}, experiment[1], store_uri)
    with statements(store_uri) as seen:
        told = preview(query, options, reading)
    assert history_requests(seen) == []
    assert (told.runs, told.points, told.pictured) == (3, 6, 1)
    assert list(told.by_status.items()) == [("FAILED", 2), ("FINISHED", 1)]
    assert list(told.metrics.items()) == [("loss", 3), ("acc", 1)]
    assert told.experiments == {experiment[1]: 3}
    lines = told.lines()
    assert "runs: 3 (FAILED 2, FINISHED 1)" in lines
    assert "points: about 6" in lines
    nothing = preview(replace(query, filters=("metrics.loss > 5",)), options, reading)
    assert "runs: 0" in nothing.lines()
    missing = preview(Query("", run_ids=("0" * 32,)), options, reading)
    assert missing.lines()[-1].startswith(f"left out: {'0' * 32}: ")
