"""All that can be done on a page, done: from disk and in MLflow's viewer, narrow and wide, light and dark.

On the example report of the documentation, which has all sections, of real runs.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from waiting import wait_until

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-report.html"
SECTIONS = [
    "table", "differences", "curves", "groups", "sweep", "pictures", "distributions", "health", "provenance",
]  # fmt: skip


def reach_all_sections(frame) -> None:
    buttons = frame.locator("nav [data-go]")
    assert [button.get_attribute("data-go") for button in buttons.all()] == SECTIONS
    for section in SECTIONS:
        frame.locator(f"nav [data-go={section}]").click()
        wait_until(
            lambda section=section: frame.evaluate(
                """id => { const { top } = document.getElementById(id).getBoundingClientRect();
                  const page = document.documentElement;
                  return top < innerHeight / 2 || page.scrollTop + innerHeight >= page.scrollHeight - 2; }""",
                section,
            )
        )


def go(frame, section: str) -> None:
    frame.locator(f"nav [data-go={section}]").click()
    above = "id => document.getElementById(id).getBoundingClientRect().top < innerHeight"
    wait_until(lambda: frame.evaluate(above, section))


def use_curves(frame) -> None:
    go(frame, "curves")
    chart = frame.locator("#panels .chart").first
    # Asked for by --group-by, groups come first; smoothing is of runs.
    frame.locator("#curves-view [data-to=runs]").click()
    wait_until(lambda: chart.locator("canvas").count() > 0)
    tip = frame.locator("#panels .tip:visible")

    def is_told() -> bool:
        # While the page still scrolls to the section, the pointer may be beside the chart.
        for x in (150, 154):
            chart.hover(position={"x": x, "y": 120}, force=True)
        frame.wait_for_timeout(100)
        return tip.count() > 0

    wait_until(is_told)
    assert "epoch" in tip.first.inner_text()
    smoothing = frame.locator("#smoothing")
    smoothing.focus()
    smoothing.press("ArrowRight")
    assert frame.locator("#smoothing-shown").inner_text() != "off"
    frame.locator("#log").check()
    frame.locator("#log").uncheck()
    for to in ("relative", "wall", "step"):
        frame.locator(f"#curves-x [data-to={to}]").click()
    frame.locator("#curves-view [data-to=groups]").click()
    assert frame.locator("#legend button").count() == 3
    frame.locator("#legend button").first.click()
    assert frame.locator("#legend [aria-pressed=false]").count() == 1
    frame.locator("#legend button").first.click()
    frame.locator("#curves-view [data-to=runs]").click()
    assert frame.locator("#legend button").count() == 9
    wait_until(lambda: chart.locator("canvas").count() > 0)


def use_pictures(frame) -> None:
    go(frame, "pictures")
    slider, shown = frame.locator("#epoch"), frame.locator("#epoch-shown")
    told = []
    slider.focus()
    slider.press("Home")
    for _ in range(int(slider.get_attribute("max")) + 1):
        told.append(shown.inner_text())
        drawn = frame.locator("#tiles img:visible")
        wait_until(lambda drawn=drawn: drawn.first.evaluate("image => image.naturalWidth") > 0)
        assert all(image.get_attribute("alt") for image in drawn.all())
        slider.press("ArrowRight")
    assert told == ["epoch 0", "epoch 2", "epoch 5"]


def use_the_rest(frame) -> None:
    go(frame, "sweep")
    frame.locator("#sweep-chart").focus()
    frame.locator("#sweep-chart").press("ArrowDown")
    assert "rate" in frame.locator("#sweep-told").inner_text()
    go(frame, "distributions")
    wait_until(lambda: frame.locator("#spread-panels canvas").count() > 0)
    frame.locator("#spread-epoch").focus()
    frame.locator("#spread-epoch").press("Home")
    assert frame.locator("#spread-shown").inner_text() == "epoch 0"


def filter_runs(frame) -> None:
    frame.locator("#filter").fill("0.01,")
    assert frame.locator("#count").inner_text() == "3 of 9 runs"
    assert frame.locator("#table tbody tr:visible").count() == 3
    assert frame.locator("#legend button").count() == 3
    frame.locator("#filter").fill("")
    assert frame.locator("#count").inner_text() == "9 of 9 runs"


def use_everything(frame) -> None:
    reach_all_sections(frame)
    use_curves(frame)
    use_pictures(frame)
    use_the_rest(frame)
    filter_runs(frame)
    assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (450, "dark"),
        *(
            pytest.param(width, scheme, marks=pytest.mark.slow)
            for width, scheme in ((450, "light"), (900, "light"), (900, "dark"), (1300, "light"), (1300, "dark"))
        ),
    ],
)
class TestEverything:
    def test_from_disk(self, page, width, scheme):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        page.goto(EXAMPLE.as_uri())
        use_everything(page)
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []

    def test_in_mlflows_artifact_viewer(self, page, mlflow_server, width, scheme):
        client = MlflowClient(mlflow_server)
        run_id = client.create_run("0").info.run_id
        client.log_artifact(run_id, str(EXAMPLE))
        # Beside the frame MLflow shows its own bars and the tree of artifacts.
        page.set_viewport_size({"width": int((width + 185) / 0.5625), "height": 1000})
        page.emulate_media(color_scheme=scheme)
        path = f"#/experiments/0/runs/{run_id}/artifacts/{EXAMPLE.name}?workflowType=machine_learning"
        page.goto(f"{mlflow_server}/{path}")
        frame = page.wait_for_selector("iframe[src^='blob:']", timeout=60_000).content_frame()
        frame.wait_for_selector("nav [data-go]", timeout=30_000)
        assert abs(frame.evaluate("innerWidth") - width) < 90
        use_everything(frame)
        # What MLflow's own page complains about is not ours.
        ours = [
            said for said in page.complaints if "blob:" in said or "Content Security" in said or "bokeh" in said
        ]
        assert ours == []
