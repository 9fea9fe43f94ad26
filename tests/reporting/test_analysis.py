"""What the sections are given: runs best first, without secrets, with labels, goal, baseline and groups."""

from __future__ import annotations

import pytest
from builders import analysis_of, run_data, series

from mlflow_dlviz.reporting.options import Choice
from mlflow_dlviz.reporting.sections.curves import wanted_lines


def names(analysis) -> list[str]:
    return [run.name for run in analysis.runs]


def test_runs_are_ranked_those_without_the_goal_last_the_newest_first():
    runs = [
        run_data(1, histories={"val_loss": series(0.4)}, start=1),
        run_data(2, histories={"mae": series(1)}, start=1),
        run_data(3, histories={"val_loss": series(0.9, 0.1, float("nan"))}),
        run_data(4, histories={"mae": series(1)}, start=2),
        run_data(5, histories={"val_loss": series(float("nan"))}, start=3),
        run_data(6, histories={"val_loss": series(0.4)}, start=2),
    ]
    analysis = analysis_of(*runs)
    assert analysis.goal == "val_loss"
    assert names(analysis) == ["run-3", "run-6", "run-1", "run-5", "run-4", "run-2"]
    assert [analysis.best(place) is None for place in range(6)] == [False] * 3 + [True] * 3
    assert names(analysis_of(*runs, goal="mae"))[:2] == ["run-4", "run-2"]


def test_the_direction_is_known_by_name_and_can_be_said():
    runs = [run_data(n, histories={"val_accuracy": series(n / 10)}) for n in range(3)]
    assert names(analysis_of(*runs))[0] == "run-2"
    said = analysis_of(*runs, metrics=(Choice("val_*", True),))
    assert names(said)[0] == "run-0"
    assert said.smaller("val_accuracy")


def test_the_goal_that_two_names_share_is_ranked_as_it_is_shown():
    """Stock autologging writes val_loss, and validation_loss on step 0 for every epoch."""
    one = run_data(1, histories={"val_loss": series(0.5, 0.2), "validation_loss": series(0.9)})
    two = run_data(2, histories={"val_loss": series(0.4, 0.3), "validation_loss": series(0.1)})
    analysis = analysis_of(one, two, goal="validation_loss")
    assert names(analysis) == ["run-1", "run-2"]
    assert analysis.best(0).value == 0.2


@pytest.mark.parametrize(("goal", "other"), [("train_loss", "loss"), ("eval_loss", "val_loss")])
def test_a_goal_beside_a_shorter_name_is_ranked_by_its_own_values(goal, other):
    one = run_data(1, histories={other: series(0.2), goal: series(0.9)})
    two = run_data(2, histories={other: series(0.8), goal: series(0.1)})
    analysis = analysis_of(one, two, goal=goal)
    assert names(analysis) == ["run-2", "run-1"]
    assert analysis.best(0).value == 0.1
    assert [line.metric for line in wanted_lines(analysis)] == [goal, goal]


def test_a_goal_that_no_run_has():
    with pytest.raises(ValueError, match="goal='f1': no run has it; there are loss, val_loss"):
        analysis_of(run_data(), goal="f1")


@pytest.mark.parametrize("wanted", ["run-1", "1" * 32, "1" * 8])
def test_the_baseline_by_name_id_or_its_beginning(wanted):
    runs = [run_data(1, id="1" * 32), run_data(2, id="2" * 32, histories={"val_loss": series(0.01)})]
    assert analysis_of(*runs, baseline=wanted).baseline == 1
    assert analysis_of(*runs, baseline="best").baseline == 0
    assert analysis_of(*runs).baseline is None


def test_a_baseline_that_is_not_there_or_not_one():
    runs = [run_data(n, name="fox") for n in (1, 2)]
    with pytest.raises(ValueError, match="baseline='owl': no run is called so"):
        analysis_of(*runs, baseline="owl")
    with pytest.raises(ValueError, match="baseline='fox': several runs are called so"):
        analysis_of(*runs, baseline="fox")


def test_groups_are_looked_up_by_place():
    runs = [run_data(n, params={"lr": str(n % 3), "seed": str(n)}) for n in range(9)]
    analysis = analysis_of(*runs)
    assert analysis.keys == ("lr",)
    for number, group in enumerate(analysis.groups):
        assert {analysis.group_of(place) for place in group.members} == {number}
    assert sum(len(group.members) for group in analysis.groups) == 9


def test_which_runs_count():
    analysis = analysis_of(run_data(1), run_data(2, status="KILLED"), statuses=("KILLED",))
    assert [analysis.counts(place) for place in range(2)] == [run.status == "KILLED" for run in analysis.runs]


def test_steps_are_epochs_where_all_runs_are_ours():
    ours = {"dlviz.status": "ok"}
    assert analysis_of(run_data(1, tags=ours), run_data(2, tags=ours)).axis == "epoch"
    assert analysis_of(run_data(1, tags=ours), run_data(2)).axis == "step"


def test_repetitions_with_and_without_a_param_are_two_groups():
    runs = [run_data(number, params={"dropout": "0.5"} if number % 2 else {}) for number in range(4)]
    assert sorted(group.label for group in analysis_of(*runs).groups) == ["dropout=0.5", "without dropout"]


def test_a_run_of_another_tool_is_a_group_of_its_own():
    ours = [run_data(number, params={"lr": str(number // 2)}) for number in range(4)]
    stock, by_hand = run_data(5, params={f"stock{number}": "1" for number in range(28)}), run_data(6)
    analysis = analysis_of(*ours, stock, by_hand)
    assert analysis.keys == ("lr",)
    assert sorted(group.label for group in analysis.groups) == [
        "lr=0",
        "lr=1",
        "run-5, without lr",
        "run-6, without lr",
    ]
