"""The sweep: its axes, what is said of importance, and how it is used in a browser."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import HOSTILE, Elements, analysis_of, run_data, series

from mlflow_dlviz.reporting import page as whole_page
from mlflow_dlviz.reporting.importance import Importance
from mlflow_dlviz.reporting.sections import sweep

NAN = float("nan")


def run(number, loss, **params):
    shown = {name: str(value) for name, value in params.items()} | {"seed": str(number)}
    return run_data(number, params=shown, histories={"val_loss": series(loss)})


def lr_sweep(n: int, **told):
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-4, -1, n)
    runs = [
        run(number, float((np.log10(rate) + 2.5) ** 2 + 0.1 + 0.1 * rng.random()), lr=f"{rate:.3g}", width=width)
        for number, (rate, width) in enumerate(zip(rates, rng.choice([16, 32, 64], n).tolist(), strict=True))
    ]
    return analysis_of(*runs, **told)


def places(text: str) -> list[float]:
    import base64

    return np.frombuffer(base64.b64decode(text), "<f4").tolist()


def test_an_axis_per_param_that_differs_and_the_goal():
    runs = [run(0, 0.1, lr="0.1", net="a"), run(1, 0.3, lr="1e-4", net="b"), run(2, NAN, lr="0.01", same=1)]
    section = sweep.build(analysis_of(*runs))
    axes = section.data["axes"]
    assert [axis["name"] for axis in axes] == ["lr", "net", "val_loss"]
    assert [axis["scale"] and axis["scale"][2] for axis in axes] == [True, None, False]
    assert places(axes[0]["places"]) == pytest.approx([1, 0, 2 / 3])
    assert places(axes[1]["places"]) == pytest.approx([0.25, 0.75, NAN], nan_ok=True)
    assert places(axes[2]["places"]) == pytest.approx([0, 1, NAN], nan_ok=True)
    assert places(section.data["shades"]) == pytest.approx([0, 1, NAN], nan_ok=True)
    assert json.dumps(section.data, allow_nan=False)


def test_the_best_is_the_best_where_greater_is_better():
    runs = [run_data(i, params={"k": str(i)}, histories={"accuracy": series(0.1 * i)}) for i in range(3)]
    analysis = analysis_of(*runs)
    assert [each.name for each in analysis.runs] == ["run-2", "run-1", "run-0"]
    assert places(sweep.build(analysis).data["shades"]) == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("analysis", "reason"),
    [
        (analysis_of(run(1, 0.1, lr=1)), "only one run"),
        (analysis_of(run(1, 0.1, lr=1), run(2, 0.1, lr=1)), "differ in no parameter"),
        (analysis_of(run(1, NAN, lr=1), run(2, NAN, lr=2)), "no run has a finite value"),
        (analysis_of(*(run(i, 0.1 * i, out=f"folder-{i}") for i in range(30))), "values that repeat"),
    ],
)
def test_where_there_is_nothing_to_say_it_says_why(analysis, reason):
    assert reason in sweep.build(analysis).reason
    assert reason in Elements(whole_page.render(analysis)).text


def test_importance_is_shown_where_it_holds():
    section = sweep.build(lr_sweep(50))
    assert isinstance(section.values["importance"], Importance)
    best, *_ = section.values["bars"]
    assert (best.name, best.width, best.clear) == ("lr", 100.0, True)
    assert [axis["name"] for axis in section.data["axes"]][0] == "lr"
    text = Elements(whole_page.render(lr_sweep(50))).text
    assert "50 runs, out-of-bag R² = 0." in text
    assert "noise line" in text


def test_importance_is_refused_with_the_number_of_runs():
    section = sweep.build(lr_sweep(12))
    assert section.values["bars"] == []
    assert "12 of the runs can be compared and 20 are needed" in section.values["refusal"]
    assert section.values["refusal"] in Elements(whole_page.render(lr_sweep(12))).text


def test_importance_is_refused_where_params_explain_nothing():
    rng = np.random.default_rng(0)
    analysis = analysis_of(*(run(i, float(rng.random()), a=f"{rng.random():.3f}", b=i % 3) for i in range(40)))
    refusal = sweep.build(analysis).values["refusal"]
    assert "over 40 runs" in refusal
    assert f"R² = {sweep.judge(analysis, ['a', 'b']).r2:.2f}" in refusal


def test_runs_that_failed_or_diverged_teach_nothing():
    good = [run(number, 0.1 * number, lr=0.1 * number) for number in range(1, 20)]
    lost = [run_data(99, params={"lr": "5"}, status="FAILED"), run(98, NAN, lr="6")]
    assert sweep.judge(analysis_of(*good, *lost), ["lr"]).n == 19


def test_what_most_runs_have_comes_first_and_one_thing_once():
    ours = [
        run(number, 0.1 * number, zoom=number, lr=0.1**number, optimizer_lr=float(np.float32(0.1**number)))
        for number in range(1, 5)
    ]
    stock = run(6, 0.3, zoom=1, verbose=1, **{f"stock{number}": number for number in range(28)})
    by_hand = [run(number, 0.2, lr=number, aaa=number, decay="None") for number in (7, 8)]
    assert sweep.swept(analysis_of(*ours, stock, *by_hand)) == ["lr", "zoom", "optimizer_lr", "aaa"]


def test_none_is_a_missing_value():
    runs = [run(number, 0.1, decay=decay, k=number) for number, decay in enumerate(("None", "none", "0.1", "0.2"))]
    axes = {axis["name"]: axis for axis in sweep.build(analysis_of(*runs)).data["axes"]}
    assert list(axes) == ["k", "decay", "val_loss"]
    assert axes["decay"]["scale"] is not None
    assert sum(np.isnan(places(axes["decay"]["places"]))) == 2


def test_what_has_no_axis_is_named():
    runs = [run(number, 0.1 * number, out=f"folder-{number}", lr=0.1 * number) for number in range(25)]
    assert sweep.build(analysis_of(*runs)).values["refused"] == ["out"]


def test_more_params_than_axes():
    few, many = ({f"p{number:02}": number + more for number in range(60)} for more in (0, 1))
    section = sweep.build(analysis_of(run(0, 0.1, **few), run(1, 0.2, **many)))
    assert len(section.data["axes"]) == sweep.MOST_AXES + 1
    assert len(section.values["refused"]) == 60 - sweep.MOST_AXES


def test_names_are_text():
    params = [{text: f"{text}{place * number}" for place, text in enumerate(HOSTILE, 1)} for number in range(3)]
    runs = [run_data(number, name=HOSTILE[number], params=each) for number, each in enumerate(params)]
    parsed = Elements(whole_page.render(analysis_of(*runs)))
    assert not [tag for tag, _ in parsed.elements if tag in ("img", "iframe", "a")]
    assert {axis["name"] for axis in parsed.data("data-sweep")["axes"]} > set(HOSTILE)


@pytest.fixture
def opened(page, tmp_path):
    def open_page(analysis):
        path = tmp_path / "report.html"
        path.write_text(whole_page.render(analysis), encoding="utf-8")
        page.goto(path.as_uri())
        page.locator("#sweep-chart").scroll_into_view_if_needed()
        page.wait_for_timeout(200)
        return page

    return open_page


INK = """() => {
    const canvas = document.querySelector("#sweep-chart canvas");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let sum = 0;
    for (let at = 3; at < pixels.length; at += 4) sum += pixels[at] > 0;
    return sum;
}"""


PICTURE = """() => document.querySelector("#sweep-chart canvas").toDataURL()"""


@pytest.mark.browser
def test_runs_are_stepped_through_by_keyboard(opened):
    analysis = lr_sweep(25)
    shown = opened(analysis)
    assert shown.evaluate(INK) > 2000
    told = shown.locator("#sweep-told")
    shown.locator("#sweep-chart").focus()
    shown.keyboard.press("ArrowDown")
    assert told.locator("strong").inner_text() == analysis.labels[0]
    assert f"lr {float(analysis.runs[0].params['lr']):g}" in told.inner_text().replace("\n", " ")
    shown.keyboard.press("ArrowDown")
    assert told.locator("strong").inner_text() == analysis.labels[1]
    shown.keyboard.press("End")
    assert told.locator("strong").inner_text() == analysis.labels[-1]
    shown.keyboard.press("Escape")
    assert told.locator("strong").count() == 0
    assert shown.complaints == []


@pytest.mark.browser
def test_a_range_keeps_some_runs(opened):
    analysis = lr_sweep(25)
    shown = opened(analysis)
    said = shown.locator("#sweep-count")
    assert said.inner_text().startswith("25 of 25 runs")
    shown.locator("#sweep-axis").select_option(label="width")
    shown.locator("#sweep-to").fill("0")
    of_16 = [run for run in analysis.runs if run.params["width"] == "16"]
    assert f"width: 16 · {len(of_16)} of 25 runs · best of them {of_16[0].name} (val_loss " in said.inner_text()
    shown.locator("#sweep-chart").focus()
    shown.keyboard.press("ArrowDown")
    assert shown.locator("#sweep-told strong").inner_text() == of_16[0].name
    shown.locator("#sweep-clear").click()
    assert said.inner_text().startswith("25 of 25 runs")
    assert shown.complaints == []


@pytest.mark.browser
def test_dragging_along_an_axis_and_pointing_at_a_line(opened):
    shown = opened(lr_sweep(25))
    box = shown.locator("#sweep-chart canvas").bounding_box()
    x = box["x"] + 18
    shown.mouse.move(x, box["y"] + 60)
    shown.mouse.down()
    shown.mouse.move(x, box["y"] + 150, steps=4)
    shown.mouse.up()
    said = shown.locator("#sweep-count").inner_text()
    assert said.startswith("lr: ")
    assert "25 of 25" not in said
    shown.mouse.move(x, box["y"] + 200)
    shown.mouse.down()
    shown.mouse.up()
    assert shown.locator("#sweep-count").inner_text().startswith("25 of 25 runs")
    told = shown.locator("#sweep-told strong")
    for height in range(60, 300, 12):
        shown.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + height)
        if told.count():
            break
    assert told.count() == 1
    assert shown.complaints == []


@pytest.mark.browser
def test_only_shown_runs_and_axes_are_drawn(opened):
    shown = opened(lr_sweep(25))
    whole = shown.evaluate(PICTURE)
    shown.locator("#filter").fill("run-1")
    assert " of 11 runs" in shown.locator("#sweep-count").inner_text()
    shown.wait_for_timeout(100)
    fewer = shown.evaluate(PICTURE)
    assert fewer != whole
    shown.locator("#sweep-axes").get_by_role("button", name="width").click()
    assert shown.locator("#sweep-axis option").all_inner_texts() == ["lr", "val_loss"]
    shown.wait_for_timeout(100)
    assert shown.evaluate(PICTURE) != fewer
    assert shown.complaints == []
