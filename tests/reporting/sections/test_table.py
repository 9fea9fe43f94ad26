"""The table of runs: best, last, and the others at the best one's step."""

from __future__ import annotations

from builders import analysis_of, parse, run_data, series

from mlflow_dlviz.reporting.sections import table


def shown(found, *columns: str) -> list[list[str]]:
    places = [found.heads.index(column) for column in columns] if columns else range(len(found.heads))
    return [[f"{row[place].text} {row[place].note}".strip() for place in places] for row in found.rows]


def test_values_at_the_best_step():
    runs = [
        run_data(1, histories={"val_loss": series(3, 1, 2), "accuracy": series(0.1, 0.2, 0.3)}),
        run_data(2, histories={"val_loss": series(float("nan"), float("inf"))}, status="RUNNING"),
        run_data(3, histories={"accuracy": series(0.1)}, seconds=None),
    ]
    found = table.summary(analysis_of(*runs, group_by=()))
    assert found.heads == ("Status", "best val_loss", "last val_loss", "accuracy", "Duration")
    assert found.notes == ("", "in 2 of 3 runs", "", "in 2 of 3 runs", "")
    assert shown(found) == [
        ["finished", "1 @ 1", "2", "0.2", "12 s"],
        ["running", "—", "inf", "—", "12 s so far"],
        ["finished", "—", "—", "—", "—"],
    ]
    assert [row[1].title for row in found.rows] == ["", "never a finite value", "not logged"]


def test_the_difference_to_the_baseline_in_sign_and_words():
    runs = [run_data(n, histories={"val_loss": series(value)}) for n, value in enumerate([0.5, 0.25, 0.75])]
    runs.append(run_data(3, histories={"mae": series(1)}))
    found = table.summary(analysis_of(*runs, baseline="run-0"))
    assert shown(found, "to the baseline") == [["−0.25 better"], ["baseline"], ["+0.25 worse"], ["—"]]
    assert [row[2].sort for row in found.rows] == [-0.25, 0.0, 0.25, None]
    higher = [run_data(n, histories={"val_accuracy": series(value)}) for n, value in enumerate([0.5, 0.75])]
    assert shown(table.summary(analysis_of(*higher, baseline="run-0")), "to the baseline") == [
        ["+0.25 better"],
        ["baseline"],
    ]


def test_a_baseline_without_the_goal_has_no_column():
    runs = [run_data(0, histories={"mae": series(1)}), run_data(1), run_data(2)]
    assert "to the baseline" not in table.summary(analysis_of(*runs, baseline="run-0")).heads


def test_the_group_where_groups_tell_something():
    runs = [run_data(n, params={"lr": str(n % 2), "seed": str(n)}) for n in range(4)]
    found = table.summary(analysis_of(*runs))
    assert found.heads[0] == "Group"
    assert {text for [text] in shown(found, "Group")} == {"lr=0", "lr=1"}
    for single in ({"group_by": ()}, {"group_by": ("seed",)}):
        assert "Group" not in table.summary(analysis_of(*runs, **single)).heads


def test_what_the_figures_are_is_told_below():
    text = parse(run_data(1), run_data(2), baseline="run-1").text
    assert "Best: the lowest finite val_loss of the run, behind @ the step at which it was first reached" in text
    assert "difference: best value minus that of run-1." in text


def test_runs_without_any_metric_have_a_table():
    found = table.summary(analysis_of(run_data(1, histories={}), run_data(2, histories={})))
    assert found.heads == ("Status", "Duration")
