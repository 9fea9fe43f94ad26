"""Where everything comes from, and the command that makes the page again."""

from __future__ import annotations

import re
from importlib import metadata

from builders import analysis_of, parse, run_data

from mlflow_dlviz import __version__
from mlflow_dlviz.reporting.bundle import Dataset, Query
from mlflow_dlviz.reporting.options import Choice
from mlflow_dlviz.reporting.sections import provenance


def run(number: int, **tags):
    return run_data(
        number,
        params={"model.seed": str(number), "lr": "1"},
        tags={"mlflow.user": "ada", "mlflow.source.name": "train.py", "mlflow.source.git.commit": "c" * 40} | tags,
        datasets=(Dataset("digits", "d1a2", "training"),),
        start=86_400_000 * (number + 1),
    )


def values(*runs, **told):
    return provenance.build(analysis_of(*runs, **told)).values


def test_what_the_page_was_made_with():
    found = dict(provenance.versions())
    assert found["mlflow-dlviz"] == __version__
    assert found["mlflow"] == metadata.version("mlflow")


def test_what_is_the_same_in_all_runs_is_told_once():
    told = values(run(0), run(1))
    assert dict(told["common"]) == {
        "Experiment": "vision",
        "Data sets": "digits d1a2 (training)",
        "Source": "train.py",
        "Commit": "c" * 40,
        "User": "ada",
    }
    assert told["table"].heads == ("Run id", "Started", "Seeds")
    by_id = {row[0].text: [cell.text for cell in row[1:]] for row in told["table"].rows}
    assert by_id[f"{1:032x}"] == ["1970-01-03 00:00 UTC", "model.seed=1"]


def test_commits_that_differ_are_counted_and_told_by_run():
    runs = [run(0), run(1), run(2, **{"mlflow.source.git.commit": "d" * 40}), run_data(3)]
    told = values(*runs)
    assert dict(told["common"])["Commit"] == f"{'c' * 12}… (2 of 4 runs); {'d' * 12}… (1 of 4 runs)"
    assert "Commit" in told["table"].heads


def test_definitions_say_what_was_asked_for():
    told = dict(provenance.definitions(analysis_of(run(0), run(1), metrics=(Choice("*", True),))))
    assert told["Direction"] == "Of val_loss, less is better, as was asked for."
    assert told["Groups"].startswith("All runs: they differ in no param but seeds.")
    assert "FINISHED" in told["Runs that count"]
    alone = dict(provenance.definitions(analysis_of(run(0))))
    assert "Groups" not in alone
    assert "by its name" in alone["Direction"]


def test_the_command_is_on_the_page():
    query = Query("http://host:5000", ("a b",), filters=("params.x = 'y'",))
    parsed = parse(run(0), run(1), query=query, goal="loss")
    command = """mlflow-dlviz report 'a b' --filter 'params.x = '"'"'y'"'"'' --goal loss --tracking-uri http://host:5000"""
    assert command in parsed.text


def test_a_run_alone_has_no_table():
    assert values(run(0))["table"] is None
    assert not re.search("All 1 runs", parse(run(0)).text)
