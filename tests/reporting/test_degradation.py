"""What a report must not break on: each case of input, and what the page shows of it."""

from __future__ import annotations

import numpy as np
import pytest
from builders import analysis_of, parse, run_data, series
from click.testing import CliRunner
from logged import log_run

from mlflow_dlviz.cli import main
from mlflow_dlviz.reporting import api, page, standings
from mlflow_dlviz.reporting.bundle import Frame
from mlflow_dlviz.reporting.exports import csv_tables
from mlflow_dlviz.reporting.exports.markdown import markdown
from mlflow_dlviz.reporting.sections import curves, groups, table
from mlflow_dlviz.store.histories import Series

NAN, INF = float("nan"), float("inf")


def panel(analysis, name):
    return next(each for each in curves.build(analysis).data["panels"] if each["name"] == name)


def seeds(count):
    """So many runs of one setting, each with a seed of its own."""
    return [
        run_data(n, params={"lr": "0.1", "seed": str(n)}, histories={"loss": series(1, 0.5 + n / 100)})
        for n in range(count)
    ]


def test_a_run_without_the_metric():
    runs = [run_data(1), run_data(2, histories={"accuracy": series(0.1)})]
    analysis = analysis_of(*runs, goal="val_loss")
    assert [line["run"] for line in panel(analysis, "accuracy")["lines"]] == [1]
    shown = table.summary(analysis)
    assert "in 1 of 2 runs" in shown.notes
    assert shown.rows[1][shown.heads.index("best val_loss")].text == "—"


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED"])
def test_runs_that_are_not_finished(status):
    runs = [
        *seeds(4),
        run_data(9, params={"lr": "0.1", "seed": "9"}, status=status, histories={"loss": series(9)}),
    ]
    analysis = analysis_of(*runs, goal="loss")
    [standing] = standings.standings(analysis)
    assert (len(standing.values), standing.total) == (4, 5)
    assert standing.left_out == {status.lower(): 1}
    shown = parse(*runs, goal="loss")
    marked = [a for tag, a in shown.elements if tag == "td" and status.lower() in (a.get("class") or "").split()]
    assert marked
    asked = analysis_of(*runs, goal="loss", statuses=("FINISHED", status))
    assert len(standings.standings(asked)[0].values) == 5


def test_values_that_are_not_finite():
    values = series(3, NAN, 1, INF, 2, -INF)
    analysis = analysis_of(
        run_data(1, histories={"loss": values}), run_data(2, histories={"loss": series(2, 1.5)})
    )
    assert analysis.best(0).value == 1.0
    [bad, _] = [line.get("bad") for line in panel(analysis, "loss")["lines"]]
    assert bad == [[1, "NaN", 1], [3, "∞", 1], [5, "−∞", 1]]
    [broken] = [run for run in standings.standings(analysis)[0].left_out.items()]
    assert broken == ("diverged", 1)
    assert "NaN" in parse(*analysis.bundle.runs).text


def test_one_epoch_one_run_one_group():
    alone = parse(run_data(1, histories={"loss": series(1)}))
    assert [len(each["lines"]) for each in alone.data("data-curves")["panels"]] == [1]
    for title in ("Groups", "Sweep"):
        assert f"{title}: " in alone.text.split("Not shown")[1]
    analysis = analysis_of(*seeds(2))
    assert len(analysis.groups) == 1
    assert groups.build(analysis).reason == "" or "group" in groups.build(analysis).reason


def test_other_lengths_and_steps_written_twice_or_out_of_order():
    steps, values = np.array([2, 0, 1, 1]), np.array([2.0, 0.5, 9.0, 1.0])
    resumed = Series(steps, values, np.array([3, 0, 1, 2]))
    analysis = analysis_of(run_data(1, histories={"loss": resumed}), run_data(2, histories={"loss": series(1, 2)}))
    lengths = {
        line["run"]: analysis.curves[line["run"]]["loss", "train"] for line in panel(analysis, "loss")["lines"]
    }
    assert [curve.steps.tolist() for curve in lengths.values()] == [[0, 1, 2], [0, 1]]
    assert lengths[0].values.tolist() == [0.5, 1.0, 2.0]
    assert "1 value was replaced by a later one at the same step" in parse(*analysis.bundle.runs).text


def test_values_that_a_logarithm_does_not_have():
    analysis = analysis_of(run_data(1, histories={"loss": series(1, 0, -2, 3)}))
    assert panel(analysis, "loss")["lines"][0]["lost"] == 2


def test_names_that_several_runs_have():
    twins = (run_data(number, id=f"abc0000{number}" + "0" * 24, name="twin") for number in range(2))
    labels = [run["label"] for run in parse(*twins).data()["runs"]]
    assert len(set(labels)) == 2
    assert all(label.startswith("twin #abc0000") for label in labels)


def test_pictures_that_are_damaged_missing_or_too_many(make_run, client, store_uri, tmp_path, monkeypatch):
    for name in ("MAX_RETRIES", "TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "2")
    run_id = make_run(metrics={"loss": [1.0]}, pictures={"a/b": [0]})
    bad = tmp_path / "a~b+step+1+timestamp+5+11111111-1111-1111-1111-111111111111.png"
    bad.write_bytes(b"not a picture")
    client.log_artifact(run_id, str(bad), "images")
    path = tmp_path / "r.html"
    done = CliRunner().invoke(
        main, ["report", "--run-id", run_id, "--tracking-uri", store_uri, "-o", str(path), "--no-cache"]
    )
    assert done.exit_code == 4, done.output
    assert "1 picture could not be read" in done.output
    assert "not a readable image" in path.read_text("utf-8")
    shown = parse(run_data(1, frames=(Frame("a/b", 0, None, "too large: 90 MB"),))).data("data-pictures")
    assert shown["strips"][0]["frames"] == [[[0, "too large: 90 MB"]]]


def test_secrets_are_nowhere(tmp_path):
    secrets = {"api_key": "s3cr3t", "lr": "0.3"}
    runs = [run_data(n, params={**secrets, "n": str(n)}, tags={"db_password": "hunter2"}) for n in (1, 2)]
    analysis = analysis_of(*runs, redact=("^lr$",))
    csv_tables.write_csv(analysis, tmp_path)
    texts = [page.render(analysis), markdown(analysis), *(path.read_text() for path in tmp_path.iterdir())]
    for text in texts:
        assert "s3cr3t" not in text
        assert "hunter2" not in text


def test_more_than_the_limits(experiment, client, store_uri):
    for number in range(3):
        log_run(client, experiment[0], name=f"r{number}", metrics={"loss": np.linspace(1, 0, 400).tolist()})
    made = api.report(experiment[1], tracking_uri=store_uri, limit=2, progress=False, cache=False)
    assert "More than 2 runs match" in made.html
    assert len(made.bundle.runs) == 2
    many = {f"m{k}": series(*np.random.default_rng(k).random(4000)) for k in range(60)}
    long = [run_data(n, histories=many) for n in range(2)]
    small = page.render(analysis_of(*long, max_mb=2.0))
    assert len(small.encode()) < 2.2e6
    assert "curves are too long for 2 MB" in small
