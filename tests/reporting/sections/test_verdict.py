"""What the page says first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import analysis_of, parse, run_data, series

from mlflow_dlviz.reporting.bundle import Dataset, Excluded, Query
from mlflow_dlviz.reporting.options import Choice
from mlflow_dlviz.reporting.sections import verdict


def groups(**told):
    """lr=0 about 0.1, lr=1 about 0.5, five seeds each."""
    return [
        run_data(
            number,
            params={"lr": str(number % 2), "seed": str(number // 2)},
            histories={"val_loss": series(1, 0.1 + 0.4 * (number % 2) + 0.01 * number)},
            **told,
        )
        for number in range(10)
    ]


def test_the_best_run_comes_first_and_is_named():
    worse, better = run_data(1), run_data(2, histories={"val_loss": series(0.4, 0.1, 0.9)}, status="KILLED")
    parsed = parse(worse, run_data(3, histories={"mae": series(1)}), better)
    assert [run["label"] for run in parsed.data()["runs"]] == ["run-2", "run-1", "run-3"]
    assert "Best run run-2 killed val_loss = 0.1 at step 1 lower is better, by its name" in parsed.text
    assert "--metric val_loss:max says otherwise" in parsed.text


def test_a_direction_that_was_asked_for():
    text = parse(run_data(1), run_data(2), goal="loss", metrics=(Choice("*", False),)).text
    assert "loss = 3 at step 2 higher is better, as asked" in text


def test_the_best_group_and_how_sure_that_is():
    analysis = analysis_of(*groups(), baseline="run-1")
    told = verdict.build(analysis).values["group"]
    assert (told["label"], told["counted"], told["total"]) == ("lr=0", 5, 5)
    assert told["iqm"] == "0.14"
    chance = told["chance"]
    assert (chance["label"], chance["probability"]) == ("lr=1", "1.00")
    assert chance["compared"] == "n = 5 and 5, paired by seed"
    text = parse(*groups(), baseline="run-1").text
    assert "Best group lr=0 IQM of val_loss = 0.14, 95 % interval" in text
    assert "Beats the baseline’s, lr=1, with probability 1.00" in text


def test_without_a_baseline_the_next_best_group_is_beaten():
    assert "Beats the next best, lr=1, with probability 1.00" in parse(*groups()).text


def test_the_baseline_may_be_in_the_best_group():
    assert "It is the baseline’s own group." in parse(*groups(), baseline="run-0").text


def test_a_group_of_one_run_is_not_the_best_group():
    lucky = run_data(99, params={"lr": "9", "seed": "0"}, histories={"val_loss": series(0.001)})
    told = verdict.build(analysis_of(lucky, *groups())).values["group"]
    assert told["label"] == "lr=0"
    assert told["chance"]["label"] == "lr=1"
    told = verdict.build(analysis_of(lucky, *groups()[::2])).values["group"]
    assert (told["label"], told["chance"]) == ("lr=0", None)


@pytest.mark.parametrize("told", [{"group_by": ()}, {"group_by": ("seed", "lr")}])
def test_no_group_where_there_is_nothing_to_compare(told):
    assert verdict.build(analysis_of(*groups(), **told)).values["group"] is None


def test_the_query_in_words():
    query = Query(
        "http://host", ("a", "b"), ("1" * 32,), ("x = 1", "y = 2"), ("FAILED",), 7 * 86400, ("metrics.z ASC",), 50
    )
    assert dict(verdict.query_facts(query)) == {
        "Experiments asked for": "a, b",
        "Runs asked for": "11111111",
        "Filter": "x = 1 or y = 2",
        "Status": "FAILED",
        "Begun within": "7 days",
        "Limit": "50 runs, metrics.z ASC",
    }
    assert dict(verdict.query_facts(Query(""))) == {
        "Experiments asked for": "all",
        "Limit": "1000 runs, newest first",
    }
    assert dict(verdict.query_facts(Query("", since=5400.0)))["Begun within"] == "1 h 30 min"


def test_runs_left_out_by_reason():
    excluded = [Excluded(f"{n:032x}", f"try-{n}", "no metrics") for n in range(20)]
    excluded.append(Excluded("f" * 32, "", "deleted"))
    first, second = verdict.left_out(excluded)
    assert (first.reason, first.count, first.more) == ("no metrics", 20, 8)
    assert first.named[0] == "try-0 (00000000)"
    assert (second.count, second.named) == (1, ("f" * 32,))
    text = parse(run_data(1), run_data(2), excluded=tuple(excluded)).text
    assert "23 found, 2 used, 21 left out" in text
    assert "deleted (1): " + "f" * 32 in text
    assert "and 8 more" in text


def test_health_in_short():
    ill = run_data(1, histories={"loss": series(1, float("nan"))}, status="FAILED")
    text = parse(ill, run_data(2)).text
    assert "Health ✕ Not a finite number 1 run✕ Failed or killed 1 run See the evidence" in text
    assert "✓ nothing found" in parse(run_data(2), run_data(3, histories={"loss": series(1)})).text


def test_of_too_few_runs_no_probability_is_told():
    runs = groups()[:3]
    text = parse(*runs, baseline="run-1").text
    assert "Whether it beats the baseline’s, lr=1, can’t be told: too few runs (1 pair of one seed)" in text
    apart = [replace(run, params={"lr": run.params["lr"], "seed": run.id}) for run in runs]
    assert "can’t be told: too few runs (n = 2 and 1)" in parse(*apart).text
    assert "with probability" not in parse(*apart).text


def evaluated(number, *datasets):
    return run_data(number, datasets=tuple(Dataset("d", digest, context) for digest, context in datasets))


def test_different_data_are_told_at_once():
    analysis = analysis_of(evaluated(1, ("a", "eval")), evaluated(2, ("b", "validation")))
    told = verdict.build(analysis).values["notes"]
    assert told == ["Runs were evaluated on different data: 2 kinds; see What differs."]
    assert told[0] in parse(evaluated(1, ("a", "eval")), evaluated(2, ("b", "eval"))).text


@pytest.mark.parametrize(
    "other", [(), (("a", "eval"),), (("a", "validation"), ("b", "test")), (("b", "train"),), (("", "eval"),)]
)
def test_data_that_are_not_known_to_differ(other):
    assert verdict.build(analysis_of(evaluated(1, ("a", "eval")), evaluated(2, *other))).values["notes"] == []
