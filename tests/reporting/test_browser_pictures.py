"""Pictures and distributions in a real browser, from disk and in a sandboxed frame."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from builders import analysis_of, run_data
from PIL import Image, ImageDraw
from waiting import wait_until

from mlflow_dlviz.reporting import page as pages
from mlflow_dlviz.reporting import pictures
from mlflow_dlviz.reporting.bundle import Frame

pytestmark = pytest.mark.browser

OURS = {"dlviz.status": "ok"}
KEYS = ("activations/01.conv", "boundary/plane")


@cache
def webp(text: str) -> bytes:
    """A picture of the size that the report makes, with noise that does not compress away."""
    noise = np.random.default_rng(zlib.crc32(text.encode())).integers(0, 256, (25, 37, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((pictures.WIDTH, 300), Image.Resampling.NEAREST)
    ImageDraw.Draw(image).text((20, 20), text, fill="black", font_size=30)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=80, method=0)
    return out.getvalue()


def frames(name: str, steps, keys=KEYS) -> tuple[Frame, ...]:
    return tuple(Frame(key, step, webp(f"{name} {key} {step}")) for key in keys for step in steps)


def histograms(seed: int, epochs=(0, 2, 5), classes: int = 3) -> dict:
    """More and more confident predictions of ``classes`` classes."""
    rng = np.random.default_rng(seed)
    stored = {}
    for epoch in epochs:
        own, other = rng.beta(1 + epoch, 2, (classes, 200)), rng.beta(1, 3 + epoch, (classes, 400))
        both = [[np.histogram(each, 100, (0, 1))[0] for each in (other[k], own[k])] for k in range(classes)]
        names = np.array(["cat", "dog", "fox"][:classes])
        stored[epoch] = {"counts": np.array(both), "edges": np.linspace(0, 1, 101), "class_names": names}
    return {"probabilities": {"validation": stored}}


@pytest.fixture
def opened(page, tmp_path):
    """Write a report of these runs, open it, and give the page."""

    def open_report(*runs, **told):
        path = tmp_path / "report.html"
        path.write_text(pages.render(analysis_of(*runs, **told)), encoding="utf-8")
        page.goto(path.as_uri())
        return page

    return open_report


def widths(page) -> list[int]:
    """Of what the visible pictures were decoded to; 0 where there is nothing."""
    return page.locator(".tile img:visible").evaluate_all("images => images.map((each) => each.naturalWidth)")


def three_runs():
    return (
        run_data(1, name="fox", tags=OURS, frames=frames("fox", (0, 4, 9))),
        run_data(2, name="owl", tags=OURS, frames=frames("owl", (0, 4, 9))),
        run_data(3, name="elk", tags=OURS, status="FAILED", frames=frames("elk", (4,), KEYS[:1])),
    )


# ---- the slider ----------------------------------------------------------------------------------------------


def test_one_slider_moves_all_and_earlier_pictures_are_marked(opened):
    page = opened(*three_runs())
    tiles = page.locator("#tiles .tile:visible")
    assert tiles.count() == 6
    wait_until(lambda: widths(page) == [450] * 5)
    assert page.locator("#epoch-shown").inner_text() == "epoch 9"
    assert page.locator("#tiles img:visible").first.get_attribute("alt") == "activations/01.conv of fox, epoch 9"
    assert tiles.nth(4).inner_text().split() == ["activations/01.conv", "◂", "epoch", "4"]
    assert page.locator(".note.early:visible").count() == 1
    assert "no such picture" in tiles.nth(5).inner_text()
    page.locator("#epoch").fill("0")
    assert "first picture at epoch 4" in tiles.nth(4).inner_text()
    assert tiles.nth(0).inner_text().split() == ["activations/01.conv", "epoch", "0"]
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_every_tile_shows_its_own_picture(opened):
    page = opened(*three_runs())
    read = """images => images.map((image) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 30, height: 20 });
        canvas.getContext("2d").drawImage(image, 0, 0, 30, 20);
        return [...canvas.getContext("2d").getImageData(0, 0, 30, 20).data];
    })"""
    for place, step in enumerate((0, 4, 9)):
        page.locator("#epoch").fill(str(place))
        images = page.locator("#tiles img:visible")
        wait_until(lambda images=images: images.evaluate_all("images => images.every((each) => each.complete)"))
        shown = np.array(images.evaluate_all(read)[:4]).reshape(4, 20, 30, 4)[..., :3]
        drawn = [frame.webp for name in ("fox", "owl") for frame in frames(name, (step,))]
        small = [Image.open(io.BytesIO(image)).convert("RGB").resize((30, 20)) for image in drawn]
        apart = [[np.abs(pixels - np.asarray(other, int)).mean() for other in small] for pixels in shown]
        assert np.argmin(apart, axis=1).tolist() == [0, 1, 2, 3]
        assert np.diag(apart).max() < np.median(apart) / 2


def test_it_plays_to_the_end_and_by_keyboard(opened):
    page = opened(*three_runs())
    page.locator("#play").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert page.locator("#epoch-shown").inner_text() == "epoch 0"
    page.keyboard.press("ArrowRight")
    assert page.locator("#epoch-shown").inner_text() == "epoch 4"
    page.keyboard.press("End")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert page.locator("#epoch-shown").inner_text() == "epoch 0"
    wait_until(lambda: page.locator("#epoch-shown").inner_text() == "epoch 9")
    wait_until(lambda: page.locator("#play").get_attribute("aria-pressed") == "false")


def test_two_epochs_stand_side_by_side(opened):
    page = opened(*three_runs())
    assert not page.locator("#other").is_visible()
    page.get_by_role("button", name="Compare").click()
    assert page.locator("#other").is_visible()
    tile = page.locator("#tiles .tile:visible").first
    assert tile.inner_text().split() == ["activations/01.conv", "epoch", "9", "epoch", "0"]
    alts = [f"activations/01.conv of fox, epoch {epoch}" for epoch in (9, 0)]
    assert [image.get_attribute("alt") for image in tile.locator("img:visible").all()] == alts
    page.locator("#other").fill("1")
    assert tile.inner_text().split()[-1] == "4"
    left, right = (image.bounding_box() for image in tile.locator("img:visible").all())
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    page.get_by_role("button", name="Compare").click()
    assert tile.locator("img:visible").count() == 1


# ---- the large view ------------------------------------------------------------------------------------------


def test_a_tile_is_enlarged_stepped_and_closed_by_keyboard(opened):
    page = opened(*three_runs())
    page.locator("#tiles .open").first.focus()
    small = page.locator("#tiles img").first.bounding_box()["width"]
    page.keyboard.press("Enter")
    large = page.locator("#large")
    assert large.is_visible()
    assert large.locator("h3").inner_text() == "fox · activations/01.conv"
    assert large.locator("img:visible").bounding_box()["width"] > 1.5 * small
    assert large.locator("img:visible").get_attribute("alt") == "activations/01.conv of fox, epoch 9"
    page.keyboard.press("ArrowLeft")
    assert large.locator("img:visible").get_attribute("alt") == "activations/01.conv of fox, epoch 4"
    assert page.locator("#epoch-shown").inner_text() == "epoch 4"
    page.keyboard.press("Escape")
    assert not large.is_visible()
    assert page.evaluate("document.activeElement.className") == "open"
    assert page.complaints == []


def test_on_a_narrow_page_the_large_view_stacks_two_epochs(opened, page):
    page.set_viewport_size({"width": 450, "height": 800})
    opened(*three_runs())
    page.get_by_role("button", name="Compare").click()
    page.locator("#tiles .open").first.click()
    upper, lower = (image.bounding_box() for image in page.locator("#large img:visible").all())
    assert upper["y"] + upper["height"] <= lower["y"]
    assert upper["width"] > 350
    assert page.locator("#large .note:visible").all_inner_texts() == ["epoch 9", "epoch 0"]
    page.get_by_role("button", name="Close").click()
    assert not page.locator("#large").is_visible()


# ---- what there is no picture of -----------------------------------------------------------------------------


def test_what_cannot_be_shown_has_a_hatched_tile_that_says_why(opened):
    reasons = ["not a readable image (UnidentifiedImageError)", "HTTPError: 404 Not Found", "<b>8000 x 8000</b>"]
    broken = tuple(Frame(f"a/{place}", 0, None, reason) for place, reason in enumerate(reasons))
    page = opened(run_data(1, frames=(*broken, Frame("a/3", 0, b"no picture at all"), Frame("a/4", 0, webp("x")))))
    tiles = page.locator("#tiles .tile")
    for place, reason in enumerate(reasons):
        assert f"not available: {reason}" in tiles.nth(place).inner_text()
        assert tiles.nth(place).locator(".open").is_disabled()
    wait_until(lambda: "the browser cannot decode it" in tiles.nth(3).inner_text())
    wait_until(lambda: widths(page) == [450])
    hatch = tiles.nth(0).locator(".none").first.evaluate("none => getComputedStyle(none).backgroundImage")
    assert hatch.startswith("repeating-linear-gradient")
    assert page.complaints == []


# ---- many runs -----------------------------------------------------------------------------------------------


def test_of_many_runs_only_the_rows_near_the_window_are_drawn(opened):
    shared = frames("shared", (0, 1))
    page = opened(*(run_data(number, name=f"run {number}", frames=shared) for number in range(60)))
    page.locator("#pictures").scroll_into_view_if_needed()
    wait_until(lambda: page.locator("#tiles .tile").count() > 0)
    rows = page.locator("#tiles .row")
    assert rows.count() == 60
    assert page.locator("#tiles .tile").count() <= 20
    assert "60 of 60 runs with pictures" in page.locator("#pictures-count").inner_text()
    rows.nth(59).scroll_into_view_if_needed()
    wait_until(lambda: rows.nth(59).locator(".tile").count() == 2)
    wait_until(lambda: rows.nth(0).locator(".tile").count() == 0)
    wait_until(lambda: rows.nth(59).locator("img").first.evaluate("image => image.naturalWidth") == 450)
    page.locator("#epoch").fill("0")
    assert rows.nth(59).locator("img").first.get_attribute("alt").endswith("step 0")
    # Those that were not on the screen show the same epoch when they come back.
    rows.nth(0).scroll_into_view_if_needed()
    wait_until(lambda: rows.nth(0).locator("img:visible").count() == 2)
    assert rows.nth(0).locator("img").first.get_attribute("alt").endswith("step 0")


def test_the_run_filter_hides_rows_and_counts(opened):
    page = opened(*three_runs(), run_data(4, name="gnu"))
    assert page.locator("#pictures-count").inner_text() == "3 of 3 runs with pictures · 1 have none"
    # By its id: other runs' rows may name a run too.
    page.locator("#filter").fill(f"{2:032x}")
    assert page.locator("#tiles .row:visible h3").all_inner_texts() == ["owl"]
    assert page.locator("#pictures-count").inner_text().startswith("1 of 3 runs")
    page.locator("#filter").fill("")
    assert page.locator("#tiles .row:visible").count() == 3


def test_kinds_are_chosen_by_button(opened):
    keys = ("activations/1", "activations/2", "boundary/plane", "curves/loss", "probabilities/validation")
    page = opened(*(run_data(number, frames=frames("x", (0,), keys)) for number in range(2)))
    assert page.locator("#kinds button").all_inner_texts() == [
        "all",
        "activations",
        "boundary",
        "curves",
        "probabilities",
    ]
    assert page.locator("#tiles .tile:visible").count() == 4
    page.get_by_role("button", name="boundary", exact=True).click()
    assert page.locator("#tiles .tile:visible .what").all_inner_texts() == ["boundary/plane"] * 2
    assert page.locator("#kinds [aria-pressed=true]").inner_text() == "boundary"
    page.get_by_role("button", name="all", exact=True).click()
    assert page.locator("#tiles .tile:visible").count() == 10


# ---- in a sandboxed frame ------------------------------------------------------------------------------------


def test_a_row_has_the_columns_of_its_experiment(opened):
    digits, moons = ("activations/01.conv", "weights/a"), ("boundary/plane", "weights/b")
    page = opened(
        run_data(1, experiment="digits", tags=OURS, frames=frames("fox", (0,), digits)),
        run_data(2, experiment="digits", tags=OURS, frames=frames("owl", (0,), digits[:1])),
        run_data(3, experiment="moons", tags=OURS, frames=frames("elk", (0,), moons)),
    )
    rows = page.locator("#tiles .row")
    titles = [row.locator(".what").all_inner_texts() for row in rows.all()]
    assert titles == [list(digits), list(digits), list(moons)]
    assert rows.nth(1).get_by_text("no such picture").count() == 1
    page.locator("#kinds").get_by_role("button", name="boundary").click()
    assert page.locator("#tiles .row:visible h3").all_inner_texts() == ["run-3"]
    assert "2 of them none of this kind" in page.locator("#pictures-count").inner_text()


def test_columns_stay_aligned_where_experiments_share_a_kind(opened):
    keys = ("weights/a", "weights/b", "weights/c")
    page = opened(
        run_data(1, experiment="digits", tags=OURS, frames=frames("fox", (0,), keys)),
        run_data(2, experiment="moons", tags=OURS, frames=frames("owl", (0,), keys[::2])),
    )
    rows = page.locator("#tiles .row")
    assert rows.nth(1).locator(".what").all_inner_texts() == list(keys)


def test_an_evolution_is_of_all_epochs_and_never_earlier(opened):
    evolution = (Frame("probabilities/validation-evolution", 4, webp("evolution")),)
    page = opened(run_data(1, tags=OURS, frames=frames("fox", (0, 4, 9)) + evolution), run_data(2))
    tile = page.locator("#tiles .tile").nth(2)
    for place in range(3):
        page.locator("#epoch").fill(str(place))
        wait_until(lambda: tile.locator("img:visible").count() == 1)
        assert tile.inner_text().split() == ["probabilities/validation-evolution", "all", "epochs"]
        assert tile.locator(".early").count() == 0


def test_in_a_sandboxed_blob_frame_pictures_and_the_large_view_work(page, tmp_path):
    """As in MLflow's artifact viewer."""
    text = pages.render(analysis_of(*three_runs(), run_data(5, numbers=histograms(1))))
    page.route("http://host/", lambda route: route.fulfill(body="<!doctype html><body>", content_type="text/html"))
    page.goto("http://host/")
    page.evaluate(
        """(text) => {
            const frame = document.createElement("iframe");
            frame.setAttribute("sandbox", "allow-scripts");
            frame.style = "width:660px;height:490px";
            frame.src = URL.createObjectURL(new Blob([text], { type: "text/html" }));
            document.body.append(frame);
        }""",
        text,
    )
    frame = page.wait_for_selector("iframe").content_frame()
    frame.locator("[data-go=pictures]").click()
    wait_until(lambda: widths(frame) == [450] * 5)
    frame.locator("#epoch").fill("0")
    frame.locator("#tiles .open").first.click()
    assert frame.locator("#large img:visible").get_attribute("alt").endswith("epoch 0")
    frame.page.keyboard.press("Escape")
    assert not frame.locator("#large").is_visible()
    frame.locator("[data-go=distributions]").click()
    wait_until(lambda: inked(frame) == 4)
    assert page.complaints == []


# ---- distributions -------------------------------------------------------------------------------------------


def inked(page) -> int:
    """How many of the charts of distributions, brought into view, hold anything that is not transparent."""
    charts = page.locator("#spread-panels .chart")
    for place in range(charts.count()):
        charts.nth(place).scroll_into_view_if_needed()
    return charts.evaluate_all("""charts => {
        const all = (root) => [...root.querySelectorAll("*")]
            .flatMap((each) => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]);
        const blank = ({ width, height }) => Object.assign(document.createElement("canvas"), { width, height });
        const isInked = (each) => each.tagName === "CANVAS" && each.width > 100
            && each.toDataURL() !== blank(each).toDataURL();
        return charts.filter((chart) => all(chart).some(isInked)).length;
    }""")


def four_runs():
    params = [{"lr": "0.1", "seed": "0"}, {"lr": "0.1", "seed": "1"}, {"lr": "0.2", "seed": "0"}]
    return [
        *(run_data(k, tags=OURS, params=params[k], numbers=histograms(k)) for k in range(3)),
        run_data(3, tags=OURS, params={"lr": "0.2", "seed": "1"}, numbers=histograms(3, (0, 3)), status="FAILED"),
    ]


def test_distributions_are_drawn_and_follow_their_slider(opened):
    page = opened(*four_runs())
    page.locator("[data-go=distributions]").click()
    wait_until(lambda: inked(page) == 4)
    assert page.locator("#spread-shown").inner_text() == "epoch 5"
    told = page.locator("#spread-legend li").all_inner_texts()
    assert len(told) == 4
    assert [text.split("epoch ")[1].split(",")[0] for text in sorted(told)] == ["5", "5", "5", "◂ 3"]
    assert all("n = 600" in text for text in told)
    page.locator("#spread-epoch").fill("0")
    assert page.locator("#spread-shown").inner_text() == "epoch 0"
    assert "epoch 0" in page.locator("#spread-legend li").first.inner_text()
    page.locator("#class").select_option(label="dog")
    assert all("n = 200" in text for text in page.locator("#spread-legend li").all_inner_texts())
    page.locator("#filter").fill("run-1")
    assert page.locator("#spread-legend .name").all_inner_texts() == ["run-1"]
    assert page.complaints == []


def test_groups_put_the_counts_of_their_finished_runs_together(opened):
    page = opened(*four_runs())
    page.locator("[data-go=distributions]").click()
    page.locator("#spread-who").get_by_role("button", name="groups").click()
    told = dict(zip(
        page.locator("#spread-legend .name").all_inner_texts(),
        page.locator("#spread-legend .note").all_inner_texts(),
        strict=True,
    ))  # fmt: skip
    assert told == {
        "lr=0.1": "2 runs, epoch 5, n = 1,200",
        "lr=0.2": "epoch 5, n = 600, 1 not finished left out",
    }
    assert page.complaints == []


def test_each_output_can_be_chosen_with_its_own_epochs_and_classes(opened):
    several = histograms(1)["probabilities"] | {
        "training": histograms(2, (0, 7), 2)["probabilities"]["validation"]
    }
    page = opened(run_data(0, tags=OURS, numbers={"probabilities": several}), run_data(1, tags=OURS))
    assert page.locator("#leaf option").all_inner_texts() == ["validation", "training"]
    assert page.locator("#class option").all_inner_texts() == ["all classes", "cat", "dog", "fox"]
    page.locator("#leaf").select_option(label="training")
    assert page.locator("#class option").all_inner_texts() == ["all classes", "cat", "dog"]
    assert page.locator("#spread-shown").inner_text() == "epoch 7"
    assert "n = 400" in page.locator("#spread-legend li").inner_text()
    assert page.complaints == []


def test_hover_tells_the_share_and_how_many(opened):
    page = opened(*four_runs()[:1])
    page.locator("[data-go=distributions]").click()
    wait_until(lambda: inked(page) == 4)
    page.wait_for_timeout(800)
    tip = page.locator("#spread-panels .tip:visible")
    for place, words in ((0, "others"), (1, " of "), (2, "epoch"), (3, "quartile")):
        chart = page.locator("#spread-panels .chart").nth(place)
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
        page.mouse.move(box["x"] + box["width"] / 2 + 4, box["y"] + 100)
        wait_until(lambda: tip.count() == 1)
        assert words in tip.inner_text()
        assert "run-0" in tip.inner_text()
        page.mouse.move(2, 2)
        wait_until(lambda: tip.count() == 0)
    assert page.complaints == []


def test_the_arrow_keys_go_from_bin_to_bin_and_from_epoch_to_epoch(opened):
    page = opened(*four_runs()[:1])
    page.locator("[data-go=distributions]").click()
    wait_until(lambda: inked(page) == 4)
    page.wait_for_timeout(500)
    head = page.locator("#spread-panels .tip:visible > .note")
    for place, told in ((0, ["0 to 0.05", "0.05 to 0.1", "0.95 to 1"]), (2, ["epoch 0", "epoch 2", "epoch 5"])):
        page.locator("#spread-panels .chart").nth(place).focus()
        for key, words in zip(("Home", "ArrowRight", "End"), told, strict=True):
            page.keyboard.press(key)
            wait_until(lambda words=words: head.count() == 1 and words in head.inner_text())
        page.keyboard.press("Escape")
        wait_until(lambda: head.count() == 0)


def test_many_runs_begin_with_the_best_few(opened):
    page = opened(*(run_data(k, tags=OURS, numbers=histograms(k)) for k in range(12)))
    assert page.locator("#spread-legend li").count() == 5
    page.locator("#spread-who").get_by_role("button", name="all 12 runs").click()
    assert page.locator("#spread-legend li").count() == 12


@pytest.mark.parametrize("width", [450, 1300])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_fit_every_width(opened, page, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    runs = [run_data(k, frames=frames("x", (0, 3)), numbers=histograms(k)) for k in range(3)]
    opened(*runs)
    page.get_by_role("button", name="Compare").click()
    page.locator("[data-go=distributions]").click()
    wait_until(lambda: inked(page) == 4)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.complaints == []


def test_bins_of_few_samples_are_faded_and_not_joined(opened):
    [run, *others] = four_runs()
    few = histograms(0)
    for stored in few["probabilities"]["validation"].values():
        stored["counts"] = stored["counts"] // 2
    page = opened(replace(run, numbers=few), *others)
    page.locator("[data-go=distributions]").click()
    wait_until(lambda: inked(page) == 4)
    lines, dots = page.evaluate("""() => {
        const found = Bokeh.documents.flatMap((each) => each.roots())
            .find((model) => model.below[0].axis_label === "mean predicted probability");
        const sources = found.renderers.map(({ data_source }) => data_source.data);
        const heights = sources.find(({ ys, xs }) => xs && xs.length).ys;
        const listed = (values) => Array.from(values, (value) => Number.isFinite(value) ? value : null);
        return [Array.from(heights).flatMap((ys) => listed(ys)), listed(sources.at(-1).alpha)];
    }""")
    assert len(lines) == len(dots)
    assert {alpha for alpha in dots} == {1, 0.3}
    assert [value is None for value in lines] == [alpha < 1 for alpha in dots]


def test_distributions_are_there_for_paper_before_they_are_seen(opened):
    page = opened(*four_runs())
    charts = page.locator("#spread-panels .chart")
    wait_until(lambda: charts.evaluate_all("charts => charts.every((chart) => chart.childElementCount > 0)"))
    assert page.evaluate("scrollY") == 0
    assert page.complaints == []
