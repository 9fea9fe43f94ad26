"""The bar, the tables and the alarms in a real browser, at the widths of MLflow's artifact viewer."""

from __future__ import annotations

import numpy as np
import pytest
from builders import analysis_of, run_data, series

from mlflow_dlviz.reporting import page as pages

pytestmark = pytest.mark.browser


@pytest.fixture
def saved(tmp_path):
    """Six runs in two groups, one of them with a NaN and a tag of its own, none with pictures."""
    epochs = np.arange(12)
    runs = [
        run_data(
            number,
            params={"lr": f"{10.0 ** -(number % 2 + 1):g}", "seed": str(number), "name": f"n{number}"},
            histories={
                "loss": series(*np.exp(-epochs / 4), *([float("nan")] if number == 3 else [])),
                "val_loss": series(*(np.exp(-epochs / 4) + 0.1 * number)),
            },
            tags={"dlviz.status": "ok"} | ({"team": "red"} if number == 3 else {}),
        )
        for number in range(6)
    ]
    path = tmp_path / "tables.html"
    analysis = analysis_of(*runs, group_by=("lr",), baseline="run-2")
    path.write_text(pages.render(analysis), encoding="utf-8")
    return path


def shown_names(page, section: str) -> list[str]:
    return page.locator(f"#{section} tbody tr:visible .name").all_inner_texts()


@pytest.mark.parametrize("width", [450, 900, 1300])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_sections_are_reached_by_keyboard(page, saved, width, scheme):
    page.set_viewport_size({"width": width, "height": 600})
    page.emulate_media(color_scheme=scheme)
    page.goto(saved.as_uri())
    buttons = page.locator("nav [data-go]")
    assert buttons.count() >= 6
    for place in range(buttons.count()):
        button = buttons.nth(place)
        section = button.get_attribute("data-go")
        button.focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == f"{section}-title"
        page.wait_for_function(
            """(id) => { const top = document.getElementById(id).getBoundingClientRect().top;
                const end = document.documentElement;
                return top < innerHeight / 2 || end.scrollTop + innerHeight >= end.scrollHeight - 2; }""",
            arg=section,
        )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.complaints == []


def test_the_bar_tells_which_section_is_read(page, saved):
    page.goto(saved.as_uri())
    assert page.locator("nav [aria-current]").count() == 0
    page.locator("nav [data-go=curves]").click()
    page.wait_for_function("() => document.querySelector('[data-go=curves][aria-current]') !== null")
    assert page.locator("nav [aria-current]").count() == 1


def test_what_differs_is_sorted_by_the_column_that_was_chosen(page, saved):
    page.goto(saved.as_uri())
    head = page.locator("#differences thead button", has_text="lr")
    head.click()
    rates = page.locator("#differences tbody tr td:nth-child(2)")
    assert rates.all_inner_texts() == ["0.01"] * 3 + ["0.1"] * 3
    head.press("Enter")
    assert rates.all_inner_texts() == ["0.1"] * 3 + ["0.01"] * 3
    page.locator("#differences thead button", has_text="team").click()
    assert shown_names(page, "differences")[0] == "run-3"


def test_the_difference_to_the_baseline_sorts_by_its_sign(page, saved):
    page.goto(saved.as_uri())
    page.locator("#table thead button", has_text="to the baseline").click()
    assert shown_names(page, "table") == [f"run-{number}" for number in range(6)]
    told = page.locator("#table tbody tr td.better").all_inner_texts()
    assert told == ["−0.2 better", "−0.1 better"]


def test_a_hidden_run_has_no_alarms(page, saved):
    page.goto(saved.as_uri())
    assert shown_names(page, "health") == ["run-3"]
    page.locator("#filter").fill("run-1")
    assert shown_names(page, "health") == []
    assert shown_names(page, "differences") == ["run-1"]
    page.locator("#filter").fill("")
    page.locator("#table label", has_text="run-3").click()
    assert shown_names(page, "health") == []
    assert len(shown_names(page, "table")) == 6
    assert page.complaints == []


def test_the_verdict_leads_to_the_evidence(page, saved):
    page.goto(saved.as_uri())
    page.locator("header [data-go=health]").click()
    assert page.evaluate("document.activeElement.id") == "health-title"


def test_of_very_many_runs_the_first_are_shown_the_others_found(page, tmp_path):
    runs = [run_data(n, name=f"run-{n:03}", histories={"loss": series(1, n)}) for n in range(1, 231)]
    path = tmp_path / "many.html"
    path.write_text(pages.render(analysis_of(*runs, group_by=())), encoding="utf-8")
    page.goto(path.as_uri())
    rows = page.locator("#table tbody tr")
    visible = page.locator("#table tbody tr:visible")
    assert (rows.count(), visible.count()) == (230, 200)
    page.locator("#filter").fill("run-22")
    assert visible.count() == 10
    page.locator("#filter").fill("")
    assert visible.count() == 200
    page.locator("#table .unfold").focus()
    page.keyboard.press("Enter")
    assert visible.count() == 230
    assert page.complaints == []


def test_the_bar_fades_where_it_goes_on(page, saved):
    page.set_viewport_size({"width": 450, "height": 800})
    page.goto(saved.as_uri())
    row = page.locator(".go")
    assert row.get_attribute("class").split() == ["go", "more-right"]
    row.evaluate("row => { row.scrollLeft = 40; }")
    page.wait_for_timeout(200)
    assert row.get_attribute("class").split() == ["go", "more-right", "more-left"]
    page.set_viewport_size({"width": 1300, "height": 800})
    page.wait_for_timeout(200)
    assert row.get_attribute("class").split() == ["go"]


def test_no_band_stands_between_health_and_its_first_alarm(page, saved):
    page.goto(saved.as_uri())
    head, first = (page.locator(f"#health {each}").first.bounding_box() for each in ("h2", "h3"))
    assert first["y"] - head["y"] - head["height"] <= 14
