"""What differs between runs, by kind."""

from __future__ import annotations

from builders import analysis_of, parse, run_data

from mlflow_dlviz.reporting.bundle import Dataset
from mlflow_dlviz.reporting.redaction import MASK
from mlflow_dlviz.reporting.sections import differences


def columns(*runs, **told) -> dict[str, dict[str, list[str]]]:
    found = differences.parts(analysis_of(*runs, **told))
    return {
        part.title: {
            head: [row[place].text for row in part.table.rows] for place, head in enumerate(part.table.heads)
        }
        for part in found
    }


def test_only_what_differs_by_kind():
    one = run_data(
        1,
        params={"lr": "1e-3", "depth": "3", "same": "1"},
        tags={
            "team": "red",
            "mlflow.user": "ada",
            "mlflow.source.git.commit": "a" * 40,
            "mlflow.runName": "one",
            "mlflow.log-model.history": "[1]",
            "dlviz.status": "ok",
            "dlviz.next_epoch": "3",
        },
        datasets=(Dataset("digits", "d1", "training"), Dataset("digits", "d9", "validation")),
    )
    two = run_data(
        2,
        params={"lr": "0.001", "depth": "4", "same": "1.0"},
        tags={"mlflow.user": "bob", "mlflow.source.git.commit": "b" * 40, "dlviz.status": "partial"},
        datasets=(Dataset("digits", "d2", "training"), Dataset("digits", "d9", "validation")),
        experiment="other",
    )
    assert columns(one, two, goal="loss") == {
        "Params": {"depth": ["3", "4"]},
        "Tags": {"team": ["red", "—"]},
        "Data sets": {"training": ["digits (d1)", "digits (d2)"]},
        "Code": {"commit": ["a" * 12, "b" * 12]},
        "Environment": {
            "experiment": ["vision", "other"],
            "recording": ["ok", "partial"],
            "user": ["ada", "bob"],
        },
    }


def test_secrets_differ_without_being_told():
    runs = [run_data(n, params={"api_key": f"s{n}"}) for n in (1, 2)]
    assert columns(*runs) == {"Params": {"api_key": [MASK, f"{MASK} (2)"]}}


def test_nothing_differs():
    parsed = parse(run_data(1, params={"lr": "1"}), run_data(2, params={"lr": "1.0"}))
    assert "All 2 runs have the same params, tags, data sets, code and environment." in parsed.text


def test_too_many_columns_are_named_instead():
    runs = [run_data(n, params={f"p{place:03}": str(n) for place in range(200)}) for n in (1, 2)]
    [part] = differences.parts(analysis_of(*runs))
    assert part.table.heads == tuple(f"p{place:03}" for place in range(differences.MOST_COLUMNS))
    assert part.left_out == tuple(f"p{place:03}" for place in range(differences.MOST_COLUMNS, 200))
    text = parse(*runs).text
    assert "Params: 160 more differ and are not shown: p040, p041," in text
    assert "p069 and 130 more." in text


def test_a_long_value_is_cut_and_told_on_hover():
    long = "layer " * 50
    parsed = parse(run_data(1, params={"model": long}), run_data(2))
    cell = {"class": "words", "dir": "auto", "data-sort": long[:59] + "…", "title": long}
    assert ("td", cell) in parsed.elements
    assert parsed.text.count(long.strip()) == 0


def test_a_run_alone_tells_all_its_params():
    parsed = parse(run_data(1, params={"lr": "0.1", "api_key": "x"}))
    assert f"api_key{MASK}lr0.1" in parsed.text
    built = differences.build(analysis_of(run_data(1)))
    assert built.reason == "the run has no parameters"


def test_what_most_runs_have_comes_first():
    runs = [run_data(1, params={"aaa": "1", "z": "1"}), run_data(2, params={"z": "2", "b": "1"}), run_data(3)]
    assert differences.params(analysis_of(*runs)).heads == ("z", "aaa", "b")
