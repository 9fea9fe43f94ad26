"""The section on groups: what it says, when it is not there, what its chart draws."""

from __future__ import annotations

import json

import pytest
from builders import HOSTILE, Elements, analysis_of, run_data, series

from mlflow_dlviz.reporting import page as whole_page
from mlflow_dlviz.reporting.sections import groups
from mlflow_dlviz.reporting.standings import standings

NAN = float("nan")


def run(number, *losses, lr="0.1", **told):
    return run_data(
        number, params={"lr": lr, "seed": str(number)}, histories={"val_loss": series(*losses)}, **told
    )


def three_groups(**told):
    """0.1: four runs that count, one failed, one diverged; 0.01: three; 1: two."""
    good = [run(number, 1, 0.1 + 0.02 * number) for number in range(4)]
    lost = [run(4, 0.05, status="FAILED"), run(5, 0.2, NAN)]
    worse = [run(10 + number, 0.15 + 0.1 * number, lr="0.01") for number in range(3)]
    few = [run(20 + number, 0.9 + number, lr="1") for number in range(2)]
    return analysis_of(*few, *worse, *lost, *good, **told)


def shown(section) -> list[list[str]]:
    return [[row.label, *(cell.text for cell in row.cells)] for row in section.values["rows"]]


def test_a_row_per_group_best_first():
    section = groups.build(three_groups())
    assert section.reason == ""
    assert section.values["heads"] == ("n of runs, left out", "IQM", "95 % interval", "best run")
    rows = shown(section)
    assert [row[:3] for row in rows] == [
        ["lr=0.1", "4 of 6", "0.13"],
        ["lr=0.01", "3 of 3", "0.25"],
        ["lr=1", "2 of 2", "1.4"],
    ]
    assert rows[0][4] == "0.1"
    assert section.values["rows"][0].cells[0].note == "1 diverged, 1 failed"
    assert section.values["rows"][1].cells[0].note == ""
    assert rows[2][3] == "—"
    found = standings(three_groups())[0].interval
    assert rows[0][3] == f"{found.low:.4g} – {found.high:.4g}"
    assert section.values["rows"][0].members.split("\n")[:2] == ["run-4", "run-0"]


def test_the_chance_against_the_baselines_group():
    section = groups.build(three_groups(baseline="run-10"))
    assert section.values["heads"][4] == "P(beats baseline)"
    chances = [row.cells[4] for row in section.values["rows"]]
    assert [cell.text for cell in chances] == ["0.92", "baseline", "—"]
    assert chances[0].title == "4 × 3 couples"
    assert (chances[2].note, chances[2].sort) == ("too few runs (n = 2 and 3)", None)
    assert [row.baseline for row in section.values["rows"]] == [False, True, False]
    assert section.values["baseline"] == "lr=0.01"


@pytest.mark.parametrize(
    ("analysis", "reason"),
    [
        (analysis_of(run(1, 0.1)), "only one run"),
        (analysis_of(run_data(1, histories={}), run_data(2, histories={})), "no metric"),
        (analysis_of(run(1, 0.1), run(2, 0.2), group_by=()), "--group-by none"),
        (analysis_of(run(1, 0.1), run(2, 0.2, lr="1")), "every run is a group of its own; --group-by"),
    ],
)
def test_where_there_is_nothing_to_say_it_says_why(analysis, reason):
    assert reason in groups.build(analysis).reason
    assert reason in Elements(whole_page.render(analysis)).text


def test_one_group_has_its_row():
    assert (
        shown(groups.build(analysis_of(*(run(number, 0.1 * number) for number in range(1, 5)))))[0][1] == "4 of 4"
    )


def test_the_chart_is_on_one_scale():
    drawn = groups.build(three_groups(baseline="run-10")).data
    best, middle, worst = drawn["rows"]
    assert best["iqm"] < middle["iqm"] == drawn["baseline"] < worst["iqm"]
    assert worst["ends"] is None
    assert best["ends"][0] < best["iqm"] < best["ends"][1]
    assert len(best["members"]) == 6
    assert [text for *_, text in best["runs"]] == ["0.1", "0.12", "0.14", "0.16"]
    assert json.dumps(drawn, allow_nan=False)


def test_a_wide_interval_does_not_fill_the_chart():
    wild = [run(number, value) for number, value in enumerate((0.1, 5.0, 9.0))]
    calm = [run(10 + number, 4 + 0.1 * number, lr="1") for number in range(3)]
    found = standings(analysis_of(*wild, *calm))
    scale = groups.forest_scale(found)
    span = 9.0 - 0.1
    assert scale.high - scale.low <= 2.5 * span + 1e-9
    assert max(each.interval.high for each in found) > scale.high


def test_losses_of_many_sizes_are_on_a_logarithmic_scale():
    runs = [run(number, 10.0 ** -(number % 4), lr=str(number % 2)) for number in range(8)]
    drawn = groups.build(analysis_of(*runs)).data
    assert groups.forest_scale(standings(analysis_of(*runs))).log
    # An interval that reaches below zero leaves the axis at its lower end.
    assert drawn["rows"][0]["ends"][0] == -1


def test_the_largest_doubles_are_drawn():
    runs = [run(number, value) for number, value in enumerate((-1.7e308, 1.7e308, 1.0, 0.0))]
    assert json.dumps(groups.build(analysis_of(*runs)).data, allow_nan=False)


def test_names_are_text():
    runs = [
        run_data(number, name=HOSTILE[number // 2], params={"p": HOSTILE[number // 2]}) for number in range(18)
    ]
    parsed = Elements(whole_page.render(analysis_of(*runs, baseline=f"{0:032x}")))
    assert not [tag for tag, _ in parsed.elements if tag in ("img", "iframe", "a")]
    assert all(f"p={' '.join(text.split())}" in parsed.text for text in HOSTILE)


@pytest.fixture
def opened(page, tmp_path):
    def open_page(analysis):
        path = tmp_path / "report.html"
        path.write_text(whole_page.render(analysis), encoding="utf-8")
        page.goto(path.as_uri())
        return page

    return open_page


@pytest.mark.browser
def test_each_row_has_its_chart(opened):
    shown = opened(three_groups(baseline="run-10"))
    rows = shown.locator("table.forests tbody tr")
    assert rows.count() == 3
    assert [rows.nth(place).locator("circle.each").count() for place in range(3)] == [4, 3, 2]
    assert rows.nth(0).locator("circle.iqm").count() == rows.nth(0).locator("line.span").count() == 1
    assert rows.nth(2).locator("line.span").count() == 0
    boxes = [rows.nth(place).locator("circle.iqm").bounding_box()["x"] for place in range(3)]
    assert boxes == sorted(boxes)
    assert rows.nth(0).locator("circle.each title").first.text_content() == "run-0: 0.1"
    assert shown.locator("table.forests tfoot text").count() >= 2
    assert shown.complaints == []


@pytest.mark.browser
def test_groups_follow_the_filter_and_sort_by_keyboard(opened):
    shown = opened(three_groups())
    shown.locator("#filter").fill("run-1")
    visible = shown.locator("table.forests tbody tr:visible")
    names = [text.split("\n")[0] for text in visible.all_inner_texts()]
    assert len(names) == 2
    assert visible.first.locator("circle.each").count() == 1
    shown.locator("#filter").fill("")
    shown.get_by_role("button", name="IQM", exact=True).focus()
    shown.keyboard.press("Enter")
    shown.keyboard.press("Enter")
    assert shown.locator("table.forests tbody .name").all_inner_texts() == ["lr=1", "lr=0.01", "lr=0.1"]
    assert shown.complaints == []
