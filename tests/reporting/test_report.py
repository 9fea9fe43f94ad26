"""From a real store to a report."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

import mlflow_dlviz.reporting as reporting
from mlflow_dlviz.reporting import fetch as fetching
from mlflow_dlviz.reporting.progress import _Lines

OURS = {"dlviz.status": "ok"}


def test_runs_are_fetched_with_all_they_have(experiment, make_run, store_uri):
    run_id = make_run(
        name="fox",
        metrics={"loss": [1.0, 0.5], "dlviz/seconds": [1.0], "best_loss": [0.5]},
        params={"lr": 0.1},
        pictures={"activations/01.conv": [0, 1]},
    )
    make_run(name="empty")
    stages = []
    bundle = fetching.fetch(
        [experiment[1]], tracking_uri=store_uri, progress=lambda what, done, total: stages.append(what)
    )
    [run] = bundle.runs
    assert (run.id, run.name, run.experiment, run.status) == (run_id, "fox", experiment[1], "FINISHED")
    assert (run.seconds, run.params["lr"]) == (125.0, "0.1")
    assert list(run.histories) == ["loss"]
    assert [(frame.key, frame.step) for frame in run.frames] == [("activations/01.conv", step) for step in (0, 1)]
    assert Image.open(io.BytesIO(run.frames[0].webp)).format == "WEBP"
    assert [(gone.name, gone.reason) for gone in bundle.excluded] == [("empty", "no metrics and no pictures")]
    assert set(stages) == {"metrics", "pictures", "pictures: listing"}
    assert bundle.problems == ()


def test_limit_filter_and_ids(experiment, make_run, store_uri):
    first, second, third = (make_run(name=f"r{n}", metrics={"loss": [float(n)]}) for n in range(3))
    asked = {"tracking_uri": store_uri, "progress": False}
    assert {run.id for run in reporting.report(experiment[1], **asked).bundle.runs} == {first, second, third}
    found = reporting.report([experiment[1]], filter="metrics.loss > 0.5", **asked)
    assert {run.id for run in found.bundle.runs} == {second, third}
    found = reporting.report(run_ids=[first, "0" * 32], **asked)
    assert [run.id for run in found.bundle.runs] == [first]
    assert found.bundle.excluded[0].id == "0" * 32
    found = reporting.report([experiment[1]], limit=2, **asked)
    assert len(found.bundle.runs) == 2
    assert "More than 2 runs match" in found.html


def test_wrong_questions_are_refused_in_words(experiment, make_run, store_uri):
    make_run(metrics={"loss": [1.0]})
    asked = {"tracking_uri": store_uri, "progress": False}
    for wrong in (
        {"limit": 0},
        {"limit": True},
        {"filter": 3},
        {"run_ids": [7]},
        {"experiments": [""]},
        {"goal": 1},
    ):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))}="):
            reporting.report(**wrong, **asked)
    with pytest.raises(ValueError, match="goal='f2': no run has it; there are loss"):
        reporting.report(experiment[1], goal="f2", **asked)
    with pytest.raises(reporting.NothingMatched, match=r"metrics\.loss > 5"):
        reporting.report(experiment[1], filter="metrics.loss > 5", **asked)
    with pytest.raises(reporting.UnknownExperiment):
        reporting.report("no such", **asked)
    with pytest.raises(reporting.ServerUnreachable):
        reporting.report(tracking_uri="http://127.0.0.1:9", progress=False)


def test_a_damaged_picture_is_told_and_the_report_is_made(experiment, make_run, client, store_uri, tmp_path):
    run_id = make_run(metrics={"loss": [1.0]}, pictures={"a/b": [0]})
    bad = tmp_path / "a~b+step+1+timestamp+5+11111111-1111-1111-1111-111111111111.png"
    bad.write_bytes(b"not a picture")
    client.log_artifact(run_id, str(bad), "images")
    made = reporting.report(experiment[1], tracking_uri=store_uri, progress=False)
    assert [frame.webp is None for frame in made.bundle.runs[0].frames] == [False, True]
    assert "not a readable image" in made.bundle.runs[0].frames[1].reason
    assert made.problems == ("1 picture could not be read; the tiles say why.",)
    assert "Not everything could be read" in made.html


def test_too_many_pictures_are_thinned_and_it_is_said(experiment, make_run, store_uri):
    make_run(metrics={"loss": [1.0]}, pictures={"a/b": range(9)})
    bundle = fetching.fetch([experiment[1]], tracking_uri=store_uri, max_frames=3)
    assert [frame.step for frame in bundle.runs[0].frames] == [0, 4, 8]
    assert "3 of 9 pictures are shown" in bundle.notes[0]


def test_two_builds_are_the_same_bytes(experiment, make_run, store_uri, tmp_path, monkeypatch):
    for number in range(3):
        make_run(name="twin", metrics={"loss": [1.0, number]}, tags=OURS, pictures={"a/b": [0, 1]})
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    paths = [tmp_path / "sub" / name for name in ("one.html", "two.html")]
    for path in paths:
        reporting.report(experiment[1], tracking_uri=store_uri, output=path, progress=False)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["one.html", "two.html"]
    assert str(tmp_path) not in paths[0].read_text("utf-8")


def test_it_shows_itself_in_a_notebook(experiment, make_run, store_uri):
    make_run(metrics={"loss": [1.0]})
    shown = reporting.report(experiment[1], tracking_uri=store_uri, progress=False)._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert 'sandbox="allow-scripts"' in shown
    assert len(re.findall("<", shown)) == 2


def test_a_run_has_a_page_and_a_summary(make_run, store_uri, capfd):
    run_id = make_run(
        name="a $x^$ fox", metrics={"loss": [1.0, 0.4], "val_loss": [1.0, float("nan")], "mcc": [0.1, 0.2]},
        tags=OURS, pictures={"a/b": [0, 1]},
    )  # fmt: skip
    files = reporting.run_page(store_uri, run_id)
    assert sorted(files) == ["report.html", "summary.png"]
    assert b"a $x^$ fox" in files["report.html"]
    assert Image.open(io.BytesIO(files["summary.png"])).format == "PNG"
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    bare = make_run(params={"lr": 1})
    assert reporting.run_page(store_uri, bare) == {}
    assert reporting.run_page(store_uri, "0" * 32) == {}


def test_summary_arrays_line_up(make_run, store_uri):
    run_id = make_run(metrics={"loss": [3.0, 2.0, 1.0], "val_loss": [(0, 5.0), (2, 4.0)], "zeta": [1.0]})
    [run] = fetching.fetch(run_ids=[run_id], tracking_uri=store_uri).runs
    from mlflow_dlviz.reporting.summary import summary_arrays

    arrays = summary_arrays(run)
    assert arrays["names"].tolist() == ["loss", "val_loss"]
    np.testing.assert_array_equal(arrays["epochs"], [0, 1, 2])
    np.testing.assert_array_equal(arrays["values"], [[3, 2, 1], [5, np.nan, 4]])


def test_progress_is_silent_off_a_terminal_until_it_takes_long(capsys):
    lines = _Lines()
    lines.advance("metrics", 1, 9)
    assert capsys.readouterr().err == ""
    lines._told -= 60
    lines.advance("metrics", 2, 9)
    assert capsys.readouterr().err.startswith("metrics: 2 of 9 after")


def test_neither_keras_nor_tensorflow_is_imported(make_run, store_uri):
    run_id = make_run(metrics={"loss": [1.0, 0.4]}, pictures={"a/b": [0]})
    code = f"""
        import sys
        import mlflow_dlviz.reporting as reporting
        reporting.report(run_ids={run_id!r}, tracking_uri={store_uri!r}, progress=False)
        reporting.run_page({store_uri!r}, {run_id!r})
        heavy = {{"keras", "tensorflow", "tf_keras", "matplotlib.pyplot"}} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)
