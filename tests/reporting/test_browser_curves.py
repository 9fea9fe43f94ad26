"""The curves in a real browser: the numbers as Python has them, and what a reader can ask of the panels."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
from browsing import contrast
from builders import analysis_of, run_data, series
from waiting import wait_until

from mlflow_dlviz.reporting import encode
from mlflow_dlviz.reporting import page as pages
from mlflow_dlviz.reporting.compaction import moving_average
from mlflow_dlviz.store.histories import Series

pytestmark = pytest.mark.browser

OURS = {"dlviz.status": "ok"}
START = 1_700_000_000_000


@pytest.fixture
def numbers(page):
    """A blank page that knows our pure scripts alone."""
    for name in ("numbers", "series"):
        text = resources.files("mlflow_dlviz.reporting").joinpath("scripts", f"{name}.js").read_text("utf-8")
        page.add_script_tag(content=text)
    return page


def listed(values) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def asked(page, expression: str, *told) -> np.ndarray:
    """The array that ``expression`` of a, b, c gives, null as NaN in both directions."""
    script = f"""([a, b, c]) => {{
        const floats = (given) => Array.isArray(given) ? Float64Array.from(given, (each) => each ?? NaN) : given;
        const found = ((a, b, c) => {expression})(floats(a), floats(b), floats(c));
        return Array.from(found, (value) => Number.isFinite(value) ? value : null);
    }}"""
    given = [listed(each) if isinstance(each, np.ndarray) else each for each in (*told, None, None, None)[:3]]
    return np.array([np.nan if value is None else value for value in page.evaluate(script, given)])


@pytest.mark.parametrize("weight", [0.0, 0.6, 0.9, 0.99])
def test_smoothing_is_that_of_numpy(numbers, weight):
    values = np.random.default_rng(0).normal(size=500)
    values[[0, 7, 8, 499]] = np.nan, np.inf, -np.inf, np.nan
    found = asked(numbers, "series.smooth(a, b)", values, weight)
    np.testing.assert_allclose(found, moving_average(values, weight), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "steps", [range(9), [3], [5, 15, 25], [0, 7, 15, 23, 31], [0, 1, 9, 700], [0, 1, 100_000], []]
)
def test_steps_arrive(numbers, steps):
    steps = np.array(steps, int)
    assert asked(numbers, "unpackSteps(a, b)", encode.steps(steps), len(steps)).tolist() == steps.tolist()


def test_values_arrive(numbers):
    values = np.array([0.1, np.nan, 1e-6, 30.0])
    np.testing.assert_allclose(asked(numbers, "unpackFloats(a)", encode.floats(values)), values, rtol=1e-7)
    ratios = encode.scaled(values, logarithmic=True)
    np.testing.assert_allclose(asked(numbers, "unpackScaled(a)", ratios), values, rtol=3e-4)
    linear = asked(numbers, "unpackScaled(a)", encode.scaled(values))
    np.testing.assert_allclose(linear, values, atol=30 / 131_000)


def test_looking_up_is_that_of_numpy(numbers):
    rng = np.random.default_rng(1)
    xs, ys = np.sort(rng.choice(1000, 40, replace=False)).astype(float), rng.normal(size=40)
    wanted = np.sort(rng.uniform(-50, 1050, 60))
    found = asked(numbers, "series.between(a, b, c)", wanted, xs, ys)
    np.testing.assert_allclose(found, np.interp(wanted, xs, ys))
    nearest = asked(numbers, "a.map((x) => series.nearest(b, x))", wanted, xs)
    assert np.abs(xs[nearest.astype(int)] - wanted).tolist() == np.abs(xs[:, None] - wanted).min(axis=0).tolist()


def test_thinning_keeps_the_extremes_and_shows_all_of_a_part(numbers):
    values = np.random.default_rng(2).normal(size=5000)
    values[[1234, 4321]] = 50, -50
    xs = np.arange(5000.0)
    thin = "[...(found = series.thin(a, b, c)).xs, ...found.ys]"
    xs_kept, ys_kept = np.split(
        asked(numbers, f"(() => {{ let found; return {thin} }})()", xs, values, {"stretches": 100}), 2
    )
    assert len(xs_kept) <= 202
    assert {0, 1234, 4321, 4999} <= set(xs_kept.tolist())
    assert ys_kept.tolist() == values[xs_kept.astype(int)].tolist()
    part = {"stretches": 100, "from": 1000.5, "to": 1100.5}
    xs_part, _ = np.split(asked(numbers, f"(() => {{ let found; return {thin} }})()", xs, values, part), 2)
    assert xs_part.tolist() == list(range(1000, 1102))


def timed(values, minutes: float = 1.0) -> Series:
    steps = np.arange(len(values))
    times = START + (60_000 * minutes * (steps + 1)).astype(np.int64)
    return Series(steps, np.asarray(values, float), times)


def trained(number: int, epochs: int = 40, **told):
    """A run of one of three groups, its losses falling."""
    rng = np.random.default_rng(number)
    loss = 0.2 * (number % 3 + 1) + np.exp(-np.arange(epochs) / 8) + 0.02 * rng.normal(size=epochs)
    usual = {
        "params": {"lr": str(number % 3), "seed": str(number)},
        "histories": {"loss": timed(loss), "val_loss": timed(loss * 1.2), "accuracy": timed(1 - loss / 3)},
        "tags": OURS,
        "start": START,
    }
    return run_data(number, **usual | told)


@pytest.fixture
def opened(page, tmp_path):
    """Opens a report of such runs at its curves, drawn."""

    def open_report(*runs, **told):
        path = tmp_path / "report.html"
        path.write_text(pages.render(analysis_of(*runs, **told)), encoding="utf-8")
        page.goto(path.as_uri())
        page.locator("#curves").evaluate("section => section.scrollIntoView()")
        wait_until(lambda: page.locator("#panels .chart").first.evaluate("chart => chart.childElementCount > 0"))
        page.wait_for_timeout(400)
        return page

    return open_report


def tip_at(page, share: float, panel: int = 0) -> str:
    box = page.locator("#panels .chart").nth(panel).bounding_box()
    for move in (0, 3):
        page.mouse.move(box["x"] + share * box["width"] + move, box["y"] + 120)
    tip = page.locator(".tip:visible")
    wait_until(lambda: tip.count() == 1)
    return tip.inner_text()


def pressed(page, group: str) -> list[str]:
    return page.locator(f"#{group} [aria-pressed=true]").all_inner_texts()


def test_many_runs_are_shown_as_groups_that_can_be_hidden(opened):
    page = opened(*map(trained, range(33)), trained(33, status="FAILED"))
    assert pressed(page, "curves-view") == ["Groups"]
    legend = page.locator("#legend button")
    assert legend.all_inner_texts() == ["lr=0 (n = 11 of 12)", "lr=1 (n = 11)", "lr=2 (n = 11)"]
    assert page.locator("#smoothing").is_disabled()
    told = tip_at(page, 0.6)
    assert told.count("n = 11") == 6
    assert " to " in told
    legend.nth(1).click()
    page.wait_for_timeout(300)
    told = tip_at(page, 0.5)
    assert "lr=0" in told
    assert "lr=1" not in told
    page.locator("#curves-view [data-to=runs]").click()
    assert legend.count() == 34
    assert page.locator("#smoothing").is_enabled()
    assert page.complaints == []


def test_few_runs_are_shown_one_by_one(opened):
    page = opened(trained(0), trained(1))
    assert page.locator("#curves-view").count() == 0
    assert page.locator("#legend button").all_inner_texts() == ["run-0", "run-1"]


def test_curves_over_time_and_date(opened):
    page = opened(trained(0), trained(1), x="time")
    assert pressed(page, "curves-x") == ["time"]
    head = tip_at(page, 0.5).splitlines()[0]
    assert head.endswith(" min")
    minutes = float(head.split()[0])
    assert f"epoch {minutes - 1:.0f}" in tip_at(page, 0.5)
    page.locator("#curves-x [data-to=wall]").click()
    page.wait_for_timeout(500)
    assert tip_at(page, 0.5).startswith("2023-11-14 22:")
    page.locator("#curves-x [data-to=step]").click()
    page.wait_for_timeout(500)
    assert tip_at(page, 0.5).startswith("epoch ")
    assert page.complaints == []


def test_the_smoothing_slider_has_stops_for_the_keyboard(opened):
    page = opened(trained(0))
    shown = page.locator("#smoothing-shown")
    assert shown.inner_text() == "off"
    page.locator("#smoothing").focus()
    page.keyboard.press("ArrowRight")
    assert shown.inner_text() == "0.6"
    assert page.locator("#smoothing").get_attribute("aria-valuetext") == "0.6"
    page.keyboard.press("End")
    page.wait_for_timeout(300)
    page.locator("#panels .chart").first.focus()
    page.keyboard.press("End")
    wait_until(lambda: page.locator(".tip:visible").count() == 1)
    told = page.locator(".tip:visible").inner_text().split("\n")
    assert told[0] == "epoch 39, smoothed 0.99"
    values = analysis_of(trained(0)).runs[0].histories["loss"].values
    expected = moving_average(values, 0.99)[-1]
    assert float(told[told.index("training") + 1]) == pytest.approx(expected, rel=1e-4)


def test_arrow_keys_read_a_panel(opened):
    page = opened(trained(0), trained(1))
    page.locator("#panels .chart").first.focus()
    tip = page.locator(".tip:visible")
    for key, epoch in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 39)):
        page.keyboard.press(key)
        wait_until(lambda epoch=epoch: tip.count() == 1 and tip.inner_text().startswith(f"epoch {epoch}\n"))
    page.keyboard.press("Escape")
    wait_until(lambda: tip.count() == 0)


def test_what_is_not_finite_or_not_positive_is_told(opened):
    bad = run_data(0, histories={"loss": series(1, float("nan"), 2, -1, 3, float("inf"))}, tags=OURS)
    page = opened(
        bad, run_data(1, histories={"loss": series(1, 2, 3, 4, 5)}), run_data(2, histories={"mae": series(1)})
    )
    note = page.locator("#panels .panel h3 .note").first
    assert note.inner_text() == "in 2 of 3 runs · ✕ not finite in 1"
    page.locator("#log").check()
    wait_until(lambda: note.inner_text().endswith("1 value ≤ 0 not shown"))
    page.locator("#filter").fill("run-1")
    wait_until(lambda: note.inner_text() == "")
    assert page.complaints == []


STROKES = """
    window.strokes = { lines: 0, longest: 0 };
    const { lineTo, beginPath } = CanvasRenderingContext2D.prototype;
    let length = 0;
    CanvasRenderingContext2D.prototype.beginPath = function () { length = 0; return beginPath.call(this); };
    CanvasRenderingContext2D.prototype.lineTo = function (...at) {
      window.strokes.lines++;
      window.strokes.longest = Math.max(window.strokes.longest, ++length);
      return lineTo.apply(this, at);
    };
"""


def axis_ticks(page) -> list[float]:
    """What stands on the horizontal axis of the panel that was drawn last."""
    return page.evaluate("""() => {
        const [{ below: [axis], x_range }] = Bokeh.documents.at(-1).roots();
        return axis.ticker.get_ticks(x_range.start, x_range.end, x_range, 0).major;
    }""")


def test_between_two_epochs_there_is_no_tick_unless_it_is_a_time(opened):
    page = opened(*(trained(number, histories={"loss": timed(np.arange(3.0), 0.01)}) for number in range(2)))
    page.wait_for_timeout(300)
    assert {0, 1, 2} == set(axis_ticks(page))
    page.locator("#curves-x [data-to=relative]").click()
    page.wait_for_timeout(500)
    assert [tick for tick in axis_ticks(page) if tick % 1]


def test_all_panels_are_there_for_paper_before_they_are_seen(page, opened):
    page.set_viewport_size({"width": 500, "height": 500})
    histories = {f"{name}{half}": timed(np.arange(5.0)) for name in ("loss", "mcc", "f1") for half in ("", "_k")}
    opened(*(trained(number, histories=histories) for number in range(2)))
    panels = page.locator("#panels .chart")
    assert panels.count() > 2
    wait_until(lambda: panels.evaluate_all("charts => charts.every((chart) => chart.childElementCount > 0)"))
    assert page.complaints == []


def test_a_filter_that_matches_nothing_says_so_and_notes_follow_it(opened):
    extra = {"histories": {"loss": timed(np.arange(5.0)), "f1": timed(np.arange(5.0))}}
    page = opened(trained(0, **extra), trained(1, **extra), trained(2))
    note = page.locator("#curves .panel", has_text="f1").locator(".note").first
    wait_until(lambda: note.inner_text() == "in 2 of 3 runs")
    page.locator("#filter").fill("run-1")
    wait_until(lambda: note.inner_text() == "")
    page.locator("#filter").fill("zzz")
    assert page.locator("#curves .nothing").inner_text() == "No run matches the filter."
    assert page.locator("#curves .panel:visible").count() == 0
    page.locator("#filter").fill("")
    assert page.locator("#curves .nothing:visible").count() == 0
    for box in page.locator("#table tbody input").all():
        box.uncheck()
    assert page.locator("#curves .nothing").inner_text() == "No run is ticked."
    assert page.complaints == []


def test_one_panel_uses_the_width(page, opened):
    page.set_viewport_size({"width": 1300, "height": 900})
    opened(*(trained(number, histories={"loss": timed(np.arange(5.0))}) for number in range(2)))
    assert page.locator("#panels .panel").bounding_box()["width"] == pytest.approx(700)


def test_a_long_curve_is_thinned_to_the_panel_and_whole_again_when_zoomed(page, opened):
    page.add_init_script(STROKES)
    values = np.random.default_rng(0).normal(size=20_000)
    page = opened(run_data(0, histories={"loss": series(*values)}))
    width = page.locator("#panels .chart").first.evaluate("chart => chart.clientWidth")
    assert width < page.evaluate("strokes.longest") <= 2 * width + 2
    frame = page.locator("#panels .chart").first.bounding_box()
    page.mouse.move(frame["x"] + 200, frame["y"] + 120)
    page.wait_for_timeout(300)
    page.get_by_title("Box Zoom", exact=False).first.click()
    page.wait_for_timeout(500)
    page.mouse.move(frame["x"] + 200, frame["y"] + 60)
    page.mouse.down()
    page.mouse.move(frame["x"] + 209, frame["y"] + 200, steps=6)
    page.mouse.up()

    def drawn_again() -> int:
        page.evaluate("strokes.longest = 0")
        page.locator(".half").first.click()
        page.locator(".half").first.click()
        page.wait_for_timeout(500)
        return page.evaluate("strokes.longest")

    # Nine pixels of 350 to 700 are 250 to 500 of the 20,000 steps: all of them, and no others.
    wait_until(lambda: 150 < drawn_again() < 700)
    assert page.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_line_stands_out_from_its_ground(page, opened, scheme):
    page.emulate_media(color_scheme=scheme)
    page = opened(*(run_data(number, params={"seed": str(number)}) for number in range(9)))
    ground = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--bg').trim()")
    marks = page.locator("#legend .dot")
    colours = [mark.evaluate("dot => getComputedStyle(dot).backgroundColor") for mark in marks.all()]
    hexes = ["#" + "".join(f"{int(part):02x}" for part in colour[4:-1].split(",")) for colour in colours]
    assert len(set(hexes)) == 7
    assert min(contrast(colour, ground) for colour in hexes) >= 3
    # The eighth has the first one's colour, and another shape.
    shapes = [mark.get_attribute("data-shape") for mark in marks.all()]
    assert (hexes[7], shapes[0], shapes[7]) == (hexes[0], "circle", "square")


@pytest.mark.slow
@pytest.mark.parametrize(("count", "max_mb"), [(500, 12.0), (2000, 20.0)])
def test_many_runs_fit_and_open(page, opened, tmp_path, count, max_mb):
    steps, rng = np.arange(500), np.random.default_rng(0)
    names = [half + base for base in ("loss", "accuracy", "mcc") for half in ("", "val_")]
    runs = [
        run_data(
            number,
            params={"lr": str(number // 5), "seed": str(number % 5)},
            tags=OURS,
            histories={
                name: Series(steps, np.exp(-steps / 90) + 0.1 * rng.random(500), steps * 900) for name in names
            },
        )
        for number in range(count)
    ]
    opened(*runs, max_mb=max_mb)
    assert (tmp_path / "report.html").stat().st_size <= max_mb * 1e6
    assert pressed(page, "curves-view") == ["Groups"]
    page.locator("#curves-view [data-to=runs]").click()
    wait_until(lambda: page.evaluate("document.querySelectorAll('#curves canvas').length") > 0)
    assert page.complaints == []
