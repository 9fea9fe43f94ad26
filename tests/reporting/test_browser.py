"""The page in a real browser: from disk, and in the artifact viewer of a real MLflow server."""

from __future__ import annotations

import numpy as np
import pytest
from logged import picture
from mlflow import MlflowClient
from waiting import wait_until

import mlflow_dlviz.reporting as reporting

pytestmark = pytest.mark.browser

OURS = {"dlviz.status": "ok"}
KEYS = ["activations/01.conv", "boundary/plane"]


@pytest.fixture
def saved(experiment, make_run, store_uri, tmp_path):
    """A report of three runs on disk: fox (best), owl, and elk, which failed and has one picture."""
    epochs = np.arange(10)
    for name, floor in (("fox", 0.1), ("owl", 0.3)):
        loss = (floor + np.exp(-epochs / 3)).tolist()
        make_run(
            name=name,
            metrics={"loss": loss, "val_loss": [1.1 * value for value in loss], "momentum": [0.9] * 10},
            params={"lr": floor},
            tags=OURS,
            pictures={key: [0, 4, 9] for key in KEYS},
        )
    make_run(
        name="elk", metrics={"loss": [1.0, float("nan")]}, status="FAILED", tags=OURS, pictures={KEYS[0]: [4]}
    )
    path = tmp_path / "report.html"
    reporting.report(experiment[1], tracking_uri=store_uri, output=path, progress=False)
    return path


def has_ink(frame) -> bool:
    """Whether the first chart's canvas holds anything that is not transparent."""
    script = """() => {
        const all = (root) => [...root.querySelectorAll("*")]
            .flatMap((each) => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]);
        const pixels = (canvas) =>
            canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return all(document).filter((each) => each.tagName === "CANVAS" && each.width > 100)
            .some((canvas) => pixels(canvas).some((value) => value > 0));
    }"""
    return frame.evaluate(script)


def set_slider(page, place: int) -> None:
    page.locator("#epoch").fill(str(place))


def test_from_disk_it_is_complete_and_silent(page, saved):
    page.goto(saved.as_uri())
    page.locator("[data-go=curves]").click()
    wait_until(lambda: has_ink(page))
    page.locator("#more summary").click()
    page.locator("#log").check()
    page.locator("[data-go=pictures]").click()
    page.wait_for_timeout(300)
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_one_slider_moves_all_pictures(page, saved):
    page.goto(saved.as_uri())
    tiles = page.locator(".tile:visible")
    assert tiles.count() == 6
    assert page.locator("#epoch-shown").inner_text() == "epoch 9"
    assert page.locator("img:visible").first.get_attribute("alt") == "activations/01.conv of fox, epoch 9"
    last = page.locator("img:visible").first.get_attribute("src")
    set_slider(page, 1)
    shown = [tile.replace("\n", " ") for tile in tiles.all_inner_texts()]
    assert shown[0] == "activations/01.conv epoch 4"
    assert page.locator("img:visible").first.get_attribute("src") != last
    set_slider(page, 0)
    assert "first picture at epoch 4" in tiles.nth(4).inner_text()
    assert "no such picture" in tiles.nth(5).inner_text()
    set_slider(page, 2)
    # elk has nothing at epoch 9: its nearest earlier picture, and its true epoch.
    assert tiles.nth(4).inner_text().endswith("epoch 4")
    assert tiles.nth(4).locator(".note.early").count() == 1


def test_the_slider_is_reached_and_moved_by_keyboard_and_plays(page, saved):
    page.goto(saved.as_uri())
    page.locator("#play").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert page.locator("#epoch-shown").inner_text() == "epoch 0"
    page.keyboard.press("ArrowRight")
    assert page.locator("#epoch-shown").inner_text() == "epoch 4"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    wait_until(lambda: page.locator("#epoch-shown").inner_text() == "epoch 9")
    wait_until(lambda: page.locator("#play").get_attribute("aria-pressed") == "false")


def test_a_filter_and_a_box_hide_a_run_everywhere(page, saved):
    page.goto(saved.as_uri())
    page.locator("#filter").fill("FOX")
    assert page.locator("#count").inner_text() == "1 of 3 runs"
    assert page.locator("#table tbody tr:visible").count() == 1
    assert page.locator("#differences tbody tr:visible").count() == 1
    assert page.locator("#legend button").count() == 1
    assert page.locator(".row:visible").count() == 1
    page.locator("#filter").fill("lr-nothing")
    assert page.locator(".row:visible").count() == 0
    page.locator("#filter").fill("")
    page.locator("#table tbody input").first.uncheck()
    assert page.locator("#count").inner_text() == "2 of 3 runs"
    assert page.locator("#table tbody tr:visible").count() == 3
    assert page.locator("#differences tbody tr:visible").count() == 2
    page.locator("#legend button").first.click()
    assert page.locator("#count").inner_text() == "3 of 3 runs"
    assert page.complaints == []


def test_hover_tells_the_values_of_an_epoch(page, saved):
    page.goto(saved.as_uri())
    page.locator("[data-go=curves]").click()
    wait_until(lambda: has_ink(page))
    page.wait_for_timeout(800)
    box = page.locator(".chart").first.bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 120)
    page.mouse.move(box["x"] + 153, box["y"] + 120)
    tip = page.locator(".tip:visible")
    wait_until(lambda: tip.count() == 1)
    told = tip.inner_text()
    assert told.startswith("epoch ")
    assert "fox" in told
    assert "owl" in told
    page.mouse.move(2, 2)
    wait_until(lambda: tip.count() == 0)


def test_tables_sort_with_the_missing_last(page, saved):
    page.goto(saved.as_uri())

    def names() -> list[str]:
        return page.locator("#table tbody .name").all_inner_texts()

    assert names() == ["fox", "owl", "elk"]
    head = page.get_by_role("button", name="best val_loss")
    head.click()
    assert names() == ["fox", "owl", "elk"]
    head.click()
    assert names() == ["owl", "fox", "elk"]
    assert page.locator("#table th[aria-sort=descending]").count() == 1


@pytest.mark.parametrize("width", [450, 900, 1300])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width_in_its_own_colours(page, saved, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(saved.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_hostile_names_do_nothing(page, make_run, store_uri, tmp_path):
    names = [
        "<img src=x onerror=window.hit=1>",
        "</script><script>window.hit=1</script>",
        "🦊\u202e" + "x" * 200,
    ]
    ids = [
        make_run(name=name, metrics={"loss": [1.0, 0.5]}, params={"p": f"{name}{place}"}, pictures={"a/b": [0]})
        for place, name in enumerate(names)
    ]
    path = tmp_path / "hostile.html"
    reporting.report(run_ids=ids, tracking_uri=store_uri, output=path, progress=False)
    page.goto(path.as_uri())
    page.locator("[data-go=curves]").click()
    wait_until(lambda: has_ink(page))
    page.wait_for_timeout(800)
    box = page.locator(".chart").first.bounding_box()
    page.mouse.move(box["x"] + 90, box["y"] + 100)
    page.mouse.move(box["x"] + 93, box["y"] + 100)
    wait_until(lambda: page.locator(".tip:visible").count() == 1)
    assert page.evaluate("window.hit") is None
    assert page.complaints == []
    for name in names:
        assert page.locator("#legend").get_by_text(name, exact=True).count() == 1


def test_inside_mlflows_artifact_viewer(page, saved, mlflow_server):
    client = MlflowClient(mlflow_server)
    run_id = client.create_run("0").info.run_id
    client.log_artifact(run_id, str(saved))
    page.goto(f"{mlflow_server}/#/experiments/0/runs/{run_id}/artifacts/report.html?workflowType=machine_learning")
    frame = page.wait_for_selector("iframe[src^='blob:']", timeout=60_000).content_frame()
    frame.locator("[data-go=curves]").click(timeout=30_000)
    wait_until(lambda: has_ink(frame))
    frame.locator("[data-go=pictures]").click()
    frame.locator("#epoch").fill("0")
    assert frame.locator("#epoch-shown").inner_text() == "epoch 0"
    wait_until(lambda: frame.locator("img:visible").first.evaluate("image => image.naturalWidth") == 300)
    # What MLflow's own page complains about is not ours.
    ours = [said for said in page.complaints if "blob:" in said or "Content Security" in said or "bokeh" in said]
    assert ours == []


def test_runs_are_reported_over_http(mlflow_server, page, tmp_path):
    client = MlflowClient(mlflow_server)
    run_id = client.create_run("0", run_name="far").info.run_id
    client.log_metric(run_id, "loss", 0.5, step=0)
    client.log_image(run_id, picture("far"), key="a/b", step=0)
    made = reporting.report(run_ids=run_id, tracking_uri=mlflow_server, progress=False)
    assert made.problems == ()
    assert made.bundle.runs[0].frames[0].webp
    page.goto(made.save(tmp_path / "far.html").as_uri())
    assert page.locator("img:visible").count() == 1
