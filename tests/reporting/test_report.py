"""The call: its arguments, what it returns, and what that can be turned into."""

from __future__ import annotations

import inspect
import io
import os
import re
import subprocess
import sys
import textwrap

import mlflow
import numpy as np
import pytest
from PIL import Image

import mlflow_dlviz.reporting as reporting
from mlflow_dlviz.reporting.bundle import RunData
from mlflow_dlviz.reporting.fetching.progress import _Lines
from mlflow_dlviz.reporting.summary import summary_arrays
from mlflow_dlviz.store.histories import Series

OURS = {"dlviz.status": "ok"}


@pytest.fixture
def report(experiment, store_uri):
    """A report on the test's experiment, as a function of what else is asked for."""

    def make(experiments=experiment[1], **told):
        return reporting.report(experiments, **{"tracking_uri": store_uri, "progress": False} | told)

    return make


@pytest.fixture
def torn(make_run, client, tmp_path):
    """A run one of whose pictures can't be read."""
    run_id = make_run(metrics={"loss": [1.0]}, pictures={"a/b": [0]})
    bad = tmp_path / "a~b+step+1+timestamp+5+11111111-1111-1111-1111-111111111111.png"
    bad.write_bytes(b"not a picture")
    client.log_artifact(run_id, str(bad), "images")
    return run_id


def test_the_runs_that_are_asked_for(make_run, report):
    first, second, third = (make_run(name=f"r{n}", metrics={"loss": [float(n)]}) for n in range(3))
    failed = make_run(metrics={"loss": [3.0]}, status="FAILED")

    def ids(**told):
        return {run.id for run in report(**told).bundle.runs}

    assert ids() == {first, second, third, failed}
    assert ids(filter="metrics.loss > 1.5") == {third, failed}
    assert ids(filter=["metrics.loss > 2.5", "metrics.loss < 0.5"]) == {first, failed}
    assert ids(status="failed") == {failed}
    assert ids(order_by="metrics.loss ASC", limit=2) == {first, second}
    assert "More than 2 runs match" in report(limit=2).html
    found = report((), run_ids=[first, "0" * 32])
    assert [run.id for run in found.bundle.runs] == [first]
    assert found.bundle.excluded[0].id == "0" * 32


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": True},
        {"filter": 3},
        {"run_ids": [7]},
        {"experiments": [""]},
        {"status": "lost"},
        {"since": "7 days ago"},
        {"order_by": 1},
        {"goal": 1},
        {"metrics": ""},
        {"x": "weeks"},
        {"group_by": "lr,,depth"},
        {"baseline": 3},
        {"seed_keys": [""]},
        {"images": ""},
        {"epochs": "first"},
        {"smoothing": 1.0},
        {"max_mb": 0.5},
        {"redact": "("},
        {"output": 3},
        {"output": ""},
        {"output": "."},
        {"tracking_uri": 5},
        {"jobs": 0},
        {"jobs": 2.5},
        {"cache": "no"},
        {"refresh": 1},
        {"strict": "yes"},
        {"progress": None},
    ],
    ids=str,
)
def test_a_wrong_argument_is_named_before_anything_is_read(report, wrong):
    [(name, value)] = wrong.items()
    # Were anything read, the server that is not there would be what is wrong.
    nowhere = {"tracking_uri": "http://127.0.0.1:9"}
    with pytest.raises(ValueError, match=rf"^{name}=.*expected") as caught:
        report(**nowhere | wrong)
    shown = value[0] if isinstance(value, list) else value
    assert str(shown).lower() in str(caught.value).lower()
    if name not in ("output", "strict", "progress"):
        with pytest.raises(ValueError, match=f"^{name}="):
            reporting.preview(**nowhere | wrong)


def test_what_the_runs_do_not_have_is_named(make_run, report):
    make_run(metrics={"loss": [1.0]})
    with pytest.raises(ValueError, match="goal='f2': no run has it; there are loss"):
        report(goal="f2")
    with pytest.raises(reporting.NothingMatched, match=r"metrics\.loss > 5"):
        report(filter="metrics.loss > 5")
    with pytest.raises(reporting.NothingMatched, match="status KILLED; of the last 7 days"):
        report(status="killed", since="7d")
    with pytest.raises(reporting.UnknownExperiment):
        report("no such")
    with pytest.raises(reporting.ServerUnreachable):
        report(tracking_uri="http://127.0.0.1:9")


def test_every_argument_is_explained():
    told = inspect.getdoc(reporting.report)
    for name in inspect.signature(reporting.report).parameters:
        assert re.search(rf"^{name}: ", told, flags=re.MULTILINE), name


def test_what_could_not_be_read_is_told_and_the_report_is_made(torn, report, tmp_path):
    made = report(output=tmp_path / "r.html")
    assert made.problems == ("1 picture could not be read; the tiles say why.",)
    assert "Not everything could be read" in made.html
    assert (tmp_path / "r.html").read_text("utf-8") == made.html


def test_strictly_it_is_not(torn, report, tmp_path):
    with pytest.raises(reporting.Incomplete, match="1 picture could not be read"):
        report(output=tmp_path / "r.html", strict=True)
    assert not (tmp_path / "r.html").exists()


def test_a_preview_takes_the_same_arguments(make_run, experiment, store_uri):
    make_run(metrics={"loss": [1.0, 2.0]})
    make_run(metrics={"loss": [1.0]}, status="FAILED")
    told = reporting.preview(
        experiment[1], tracking_uri=store_uri, metrics="loss", group_by="none", output="x.html"
    )
    assert (told.runs, dict(told.by_status)) == (2, {"FAILED": 1, "FINISHED": 1})
    assert not os.path.exists("x.html")
    with pytest.raises(TypeError, match="nonsense"):
        reporting.preview(nonsense=1)


def test_two_builds_are_the_same_bytes_in_every_form(make_run, report, tmp_path, monkeypatch):
    for number in range(6):
        params = {"lr": number // 3, "seed": number % 3}
        make_run(
            name="twin", metrics={"loss": [1.0, 0.1 * number]}, params=params, tags=OURS, pictures={"a/b": [0, 1]}
        )
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    written = []
    for name, how in (("one", {}), ("two", {"cache": False, "jobs": 1}), ("three", {"refresh": True})):
        made = report(output=tmp_path / name / "r.html", **how)
        made.to_csv(tmp_path / name)
        made.to_markdown(tmp_path / name / "r.md")
        made.to_png(tmp_path / name)
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1] == written[2]
    expected = {"r.html", "runs.csv", "metrics.csv", "groups.csv", "r.md", "curves-loss.png", "groups.png"}
    assert set(written[0]) == expected
    assert str(tmp_path).encode() not in b"".join(written[0].values())


def test_files_of_a_failed_write_are_left_as_they_were(make_run, report, tmp_path):
    make_run(metrics={"loss": [1.0]})
    made = report()
    (tmp_path / "taken").mkdir()
    for write in (made.save, made.to_markdown):
        with pytest.raises(OSError, match="taken"):
            write(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["taken"]


def test_it_is_logged_where_it_was_read(make_run, report, experiment, client, capsys):
    read = make_run(metrics={"loss": [1.0]})
    made = report()
    # The current server is another one by now.
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    try:
        run_id = made.log()
        assert made.log(read, name="both runs.html", quiet=True) == read
    finally:
        mlflow.set_tracking_uri(None)
    assert client.get_run(run_id).info.experiment_id == experiment[0]
    [said] = capsys.readouterr().out.splitlines()
    assert said.endswith(f"/runs/{run_id}/artifacts/report.html?workflowType=machine_learning")
    assert [item.path for item in client.list_artifacts(read)] == ["both runs.html"]
    again = report()
    assert [run.id for run in again.bundle.runs] == [read]
    assert [run.id for run in again.bundle.excluded] == [run_id]
    with pytest.raises(ValueError, match="log_to='ffff"):
        made.log("f" * 32)


def test_of_runs_alone_it_is_logged_to_the_best_ones_experiment(make_run, report, experiment, client):
    run_id = make_run(metrics={"loss": [1.0]})
    assert client.get_run(report((), run_ids=run_id).log(quiet=True)).info.experiment_id == experiment[0]


def test_nothing_masked_is_in_any_form(make_run, report, tmp_path):
    for number in range(2):
        make_run(
            name="fox",
            metrics={"loss": [1.0]},
            params={
                "api_key": f"hunter{number}22",
                "user_id": f"eve{number}55",
                "url": f"https://u:swordfish{number}@h/",
            },
            tags={"HF_TOKEN": "hunter322"},
        )
    made = report(redact="^user_", group_by=["user_id", "url"])
    made.save(tmp_path / "r.html")
    made.to_csv(tmp_path)
    made.to_markdown(tmp_path / "r.md")
    for path in tmp_path.glob("*.*"):
        content = path.read_text("utf-8")
        for secret in ("hunter", "eve0", "eve1", "swordfish"):
            assert secret not in content, path


def test_it_shows_itself_in_a_notebook(make_run, report):
    make_run(metrics={"loss": [1.0]})
    shown = report()._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert 'sandbox="allow-scripts"' in shown
    assert len(re.findall("<", shown)) == 2


def test_it_does_not_show_the_address_by_chance(make_run, report):
    make_run(metrics={"loss": [1.0]})
    assert re.fullmatch(r"<Report of 1 run, \d\.\d MB; save\(path\) writes it>", repr(report()))


def test_a_run_has_a_page_and_a_summary(make_run, store_uri, cache_folder, capfd):
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
    # A training leaves nothing on the machine that nobody asked for.
    assert not cache_folder.exists()


def test_a_runs_page_is_by_the_metric_that_its_user_monitored(make_run, store_uri):
    metrics = {"val_loss": [1.0, 0.4, 0.2], "val_mcc": [0.1, 0.9, 0.3]}
    best = {}
    for monitor in ("", "val_mcc", "absent"):
        run_id = make_run(metrics=metrics, tags={**OURS, **({"dlviz.monitor": monitor} if monitor else {})})
        files = reporting.run_page(store_uri, run_id)
        words = " ".join(re.sub(r"<[^>]*>", " ", files["report.html"].decode()).split())
        best[monitor] = re.search(r"(\S+) = (\S+) at epoch (\d+)", words).groups()
        best[monitor, "summary"] = files["summary.png"]
    assert best["val_mcc"] == ("val_mcc", "0.9", "1")
    assert best[""] == best["absent"] == ("val_loss", "0.2", "2")
    assert best["", "summary"] == best["absent", "summary"] != best["val_mcc", "summary"]


def test_summary_arrays_line_up():
    def series(*points):
        steps, values = zip(*points, strict=True)
        return Series(np.array(steps), np.array(values, float), np.array(steps))

    histories = {
        "loss": series((0, 3), (1, 2), (2, 1)),
        "val_loss": series((0, 5), (2, 4)),
        "zeta": series((0, 1)),
    }
    arrays = summary_arrays(RunData("0", "fox", "test", "FINISHED", histories=histories))
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


def test_neither_keras_nor_tensorflow_is_imported(make_run, store_uri, tmp_path):
    run_id = make_run(metrics={"loss": [1.0, 0.4]}, pictures={"a/b": [0]})
    code = f"""
        import sys
        import mlflow_dlviz.reporting as reporting
        made = reporting.report(run_ids={run_id!r}, tracking_uri={store_uri!r}, progress=False)
        made.to_csv("."), made.to_markdown(), made.to_png(".")
        reporting.run_page({store_uri!r}, {run_id!r})
        heavy = {{"keras", "tensorflow", "tf_keras", "matplotlib.pyplot"}} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120, cwd=tmp_path)
