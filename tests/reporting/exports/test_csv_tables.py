"""CSV: read back as others read it, bit by bit, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import struct

import numpy as np
import pytest
from builders import analysis_of, run_data, series
from hostile import CORPUS
from hypothesis import example, given
from hypothesis import strategies as st

from mlflow_dlviz.reporting.bundle import Dataset
from mlflow_dlviz.reporting.exports import csv_tables
from mlflow_dlviz.reporting.standings import standings
from mlflow_dlviz.store.histories import Series

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def read(path):
    """The rows of a file as dicts, read strictly."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.fixture
def write(tmp_path):
    """Write an analysis of runs; the three tables as dicts."""

    def tables(*runs, **told):
        paths = csv_tables.write_csv(analysis_of(*runs, **told), tmp_path)
        assert [path.name for path in paths] == ["runs.csv", "metrics.csv", "groups.csv"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["groups.csv", "metrics.csv", "runs.csv"]
        return [read(path) for path in paths]

    return tables


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


@given(st.lists(st.floats(), max_size=20))
@example([float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2])
def test_every_float64_comes_back_bit_by_bit(tmp_path_factory, values):
    run = run_data(histories={"loss": series(*values)})
    folder = tmp_path_factory.mktemp("csv")
    rows = read(csv_tables.write_csv(analysis_of(run), folder)[1])
    found = [float(row["value"]) for row in rows]
    assert len(found) == len(values)
    for left, right in zip(found, values, strict=True):
        assert np.isnan(right) if np.isnan(left) else bits(left) == bits(right)


def test_all_points_are_there_as_logged(write):
    logged = Series(np.array([5, 0, 5, -1]), np.array([1.0, 2.0, 3.0, np.nan]), np.array([10, 20, 30, 40]))
    _, metrics, _ = write(run_data(histories={"loss": logged, "val_loss": series(4.0)}))
    assert [(row["metric"], row["step"], row["time"], row["value"]) for row in metrics] == [
        ("loss", "5", "10", "1.0"),
        ("loss", "0", "20", "2.0"),
        ("loss", "5", "30", "3.0"),
        ("loss", "-1", "40", "nan"),
        ("val_loss", "0", "0", "4.0"),
    ]
    assert {row["run_id"] for row in metrics} == {run_data().id}


def test_a_row_per_run_best_first_with_the_others_at_that_step(write):
    fox = run_data(
        0,
        name="fox",
        start=1_700_000_000_123,
        params={"lr": "0.1", "seed": "3"},
        tags={"team": "a"},
        datasets=(Dataset("digits", "abc", "training"),),
    )
    owl = run_data(1, name="owl", params={"lr": "0.2"}, histories={"val_loss": series(0.2)}, seconds=None)
    runs, _, _ = write(fox, owl)
    assert [row["name"] for row in runs] == ["owl", "fox"]
    told = runs[1]
    assert (told["goal"], told["best"], told["best_step"], told["last"]) == ("val_loss", "0.25", "1", "0.3")
    assert (told["at_best.loss"], told["at_best.val_loss"]) == ("2.0", "0.25")
    assert (told["start"], told["seconds"]) == ("2023-11-14T22:13:20.123+00:00", "12.0")
    assert (told["param.lr"], told["param.seed"], told["tag.team"]) == ("0.1", "3", "a")
    assert (told["datasets"], told["group"]) == ("training digits abc", "lr=0.1")
    assert (runs[0]["at_best.loss"], runs[0]["seconds"], runs[0]["tag.team"], runs[0]["start"]) == ("", "", "", "")


def test_a_row_per_group_says_what_it_is_over(write):
    finished = [
        run_data(number, params={"lr": str(number % 2), "seed": str(number)}, histories={"loss": series(number)})
        for number in range(8)
    ]
    failed = run_data(8, params={"lr": "0", "seed": "8"}, status="FAILED", histories={"loss": series(0.0)})
    analysis = analysis_of(*finished, failed, baseline="run-0")
    _, _, groups = write(*finished, failed, baseline="run-0")
    expected = standings(analysis)
    assert [row["group"] for row in groups] == ["lr=0", "lr=1"]
    for row, standing in zip(groups, expected, strict=True):
        assert float(row["iqm"]) == standing.iqm
        assert float(row["low"]) == standing.interval.low
        assert (int(row["counted"]), int(row["total"])) == (len(standing.values), standing.total)
        assert row["goal"] == "loss"
    assert (groups[0]["left_out.failed"], groups[1]["left_out.failed"]) == ("1", "0")
    assert (groups[0]["better_than_baseline"], groups[0]["key.lr"]) == ("", "0")
    assert float(groups[1]["better_than_baseline"]) == expected[1].improvement.probability
    assert groups[1]["runs"].split() == [finished[number].id for number in (1, 3, 5, 7)]


def test_runs_without_any_metric_have_rows_too(write):
    runs, metrics, groups = write(run_data(histories={}))
    assert (len(runs), len(metrics), len(groups)) == (1, 0, 1)
    assert (runs[0]["best"], runs[0]["goal"], groups[0]["iqm"]) == ("", "", "")


def test_text_is_no_formula_and_stays_the_same_text(write):
    texts = [*CORPUS, *(f"{sign}SUM(A1)" for sign in FORMULAS), "=1", "'quoted", 'say "no"', "a,b;c"]
    runs, metrics, groups = write(
        *(
            run_data(
                number,
                name=text,
                experiment=text,
                params={"note": text, text: "key"},
                tags={text: text},
                histories={text: series(1.0)},
                datasets=(Dataset(text, text),),
            )
            for number, text in enumerate(texts)
        ),
        group_by=("note",),
    )
    for row in [*runs, *metrics, *groups]:
        for cell in [*row, *row.values()]:
            assert not cell.startswith(FORMULAS) or is_number(cell), cell
    told = {row["name"].removeprefix("'") for row in runs}
    for text in ["=1", "a,b;c", 'say "no"', "🦊", "a line\nand another\r\nand \u2028 and \u2029 and \x85"]:
        assert any(text in each for each in told), text


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("number", ["-1", "+1", "-0.5", "-1e-9", "-inf", "-.5", "-7."])
def test_numbers_among_the_params_are_left_as_they_are(write, number):
    runs, _, _ = write(run_data(params={"bias": number}))
    assert runs[0]["param.bias"] == number


@pytest.mark.parametrize("text", ["-1+1", "+A1", "--1", "-", "-infinity war", "=1", "-1\n"])
def test_what_only_begins_as_a_number_is_not(write, text):
    runs, _, _ = write(run_data(params={"bias": text}))
    assert runs[0]["param.bias"] == f"'{text}"


def test_secrets_are_masked(tmp_path):
    run = run_data(params={"api_key": "hunter2", "user_name": "eve"}, tags={"HF_TOKEN": "hunter2"})
    for path in csv_tables.write_csv(analysis_of(run, redact=("^user_",)), tmp_path):
        assert "hunter2" not in path.read_text("utf-8")
        assert "eve" not in path.read_text("utf-8")


def test_halves_of_characters_and_nul_do_no_harm(write):
    runs, _, _ = write(run_data(name="a\ud800b", params={"note": "nul\0nul"}))
    assert runs[0]["name"] == "a?b"
    assert runs[0]["param.note"] == "nul\0nul"


def test_the_dialect_is_that_of_rfc_4180(tmp_path):
    [path, *_] = csv_tables.write_csv(analysis_of(run_data(name='a "b"\nc')), tmp_path)
    content = path.read_bytes()
    assert not content.startswith(b"\xef\xbb\xbf")
    assert content.endswith(b"\r\n")
    assert b'"a ""b""\nc"' in content
