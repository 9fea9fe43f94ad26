"""The page as text: what it says, and that nothing in it runs."""

from __future__ import annotations

import html.parser
import json
import re

import numpy as np
import pytest

from mlflow_dlviz.reporting import charts, page, tables
from mlflow_dlviz.reporting.align import Curve
from mlflow_dlviz.reporting.bundle import Bundle, Excluded, Frame, Query, RunData
from mlflow_dlviz.store.histories import Series

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!-- <script>",
    "{{ 7 * 7 }} ${alert(1)}",
    "\u202eright to left\u2029 and \u2028 lines",
    "🦊 emoji",
    "first line\nsecond line",
    "x" * 500,
    "' onmouseover='alert(1)",
]


def series(*values: float) -> Series:
    steps = np.arange(len(values))
    return Series(steps, np.array(values, float), steps)


def run_data(number: int = 0, **told) -> RunData:
    told = {
        "name": f"run-{number}",
        "histories": {"val_loss": series(0.5, 0.25, 0.3), "loss": series(1, 2, 3)},
    } | told
    return RunData(
        **{"id": f"{number:032x}", "experiment": "vision", "status": "FINISHED", "seconds": 12.0} | told
    )


def bundle(*runs: RunData, **told) -> Bundle:
    return Bundle(Query("http://host", ("vision",)), runs, **told)


class Elements(html.parser.HTMLParser):
    """All elements with their attributes, and all text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        if tag == "script" and self.cdata_elem:
            self.scripts.append((attributes, data))
        else:
            self.texts.append(data)


def parse(*runs: RunData, **told) -> tuple[Elements, dict]:
    parsed = Elements(page.render(bundle(*runs, **told), generated=0))
    data = "".join(text for attributes, text in parsed.scripts if attributes.get("id") == "data")
    return parsed, json.loads(data)


def test_hostile_text_stays_text():
    runs = [
        run_data(
            number,
            name=text,
            params={text: text},
            histories={"loss": series(1, number), text: series(1)},
            tags={"mlflow.user": text},
            frames=(Frame(text, 0, None, text),),
            experiment=text,
        )
        for number, text in enumerate(HOSTILE)
    ]
    parsed, data = parse(
        *runs,
        notes=tuple(HOSTILE),
        problems=tuple(HOSTILE),
        excluded=tuple(Excluded("id", text, text) for text in HOSTILE),
    )
    plain, _ = parse(run_data(1), run_data(2), problems=("p",), excluded=(Excluded("i", "n", "r"),))
    assert [attributes for tag, attributes in parsed.elements if tag == "script"] == [
        attributes for tag, attributes in plain.elements if tag == "script"
    ]
    assert not [tag for tag, _ in parsed.elements if tag in ("img", "iframe", "object", "form", "a", "base")]
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert {run["label"] for run in data["runs"]} == set(HOSTILE)
    text = "".join(parsed.texts)
    assert all(name in text for name in HOSTILE)


def test_script_data_cannot_end_its_element():
    value = {"</script>": ["<!--", "&amp;", "\u2028"]}
    text = str(page.as_script_data(value))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_nothing_points_outside_the_page():
    parsed, _ = parse(run_data(1), run_data(2))
    for tag, attributes in parsed.elements:
        assert not attributes.get("src"), tag
        assert attributes.get("href", "data:,") == "data:,"
    assert ("meta", {"charset": "utf-8"}) in parsed.elements
    policy = next(a["content"] for _, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_the_same_data_make_the_same_page():
    runs = [run_data(1), run_data(2, frames=(Frame("a/b", 0, b"x"), Frame("a/b", 1, b"x")))]
    assert page.render(bundle(*runs), generated=5.0) == page.render(bundle(*runs), generated=5.0)
    assert page.generated_now({"SOURCE_DATE_EPOCH": "86400"}, 1.0) == 86400
    assert page.generated_now({}, 1.0) == 1.0
    assert "1970-01-02 00:00 UTC" in page.render(bundle(*runs), generated=86400)


def test_the_best_run_comes_first_and_is_named():
    worse, better = run_data(1), run_data(2, histories={"val_loss": series(0.4, 0.1, 0.9)}, status="KILLED")
    parsed, data = parse(worse, run_data(3, histories={"mae": series(1)}), better)
    assert [run["label"] for run in data["runs"]] == ["run-2", "run-1", "run-3"]
    text = re.sub(r"\s+", " ", "".join(parsed.texts))
    assert "Best run: run-2 killed, val_loss = 0.1 at step 1 (lower is better)" in text


def test_the_summary_has_values_at_the_best_step():
    runs = [
        run_data(1, histories={"val_loss": series(3, 1, 2), "accuracy": series(0.1, 0.2, 0.3)}),
        run_data(2, histories={"val_loss": series(float("nan"), float("inf"))}, status="RUNNING"),
        run_data(3, histories={"accuracy": series(0.1)}, seconds=None),
    ]
    table = tables.summary(runs, [charts.run_curves(run) for run in runs], "val_loss")
    assert table.heads == ("Status", "best val_loss", "last val_loss", "accuracy", "Duration")
    shown = [[cell.text + cell.note for cell in row] for row in table.rows]
    assert shown == [
        ["finished", "1@ 1", "2", "0.2", "12 s"],
        ["running", "—", "inf", "—", "12 sso far"],
        ["finished", "—", "—", "—", "—"],
    ]


def test_differing_params_and_masks():
    runs = [
        run_data(1, params={"lr": "1e-3", "api_key": "s1"}),
        run_data(2, params={"lr": "0.001", "api_key": "s2"}),
    ]
    table = tables.params(runs)
    assert table.heads == ("api_key",)
    assert {row[0].text for row in table.rows} == {"••••••"}
    assert "s1" not in json.dumps([row[0].title for row in table.rows])
    assert tables.params(runs[:1]).heads == ("api_key", "lr")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.44, "0.4 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")]
)
def test_durations(seconds, words):
    assert tables.duration_words(seconds) == words


def test_panels_say_what_is_missing_and_not_finite():
    runs = [run_data(1, tags={"dlviz.status": "ok"}, histories={"loss": series(1, float("nan"), float("inf"))})]
    [panel] = charts.panels(runs, [charts.run_curves(run) for run in runs])
    assert panel == {
        "name": "loss", "main": True, "axis": "epoch",
        "lines": [{"run": 0, "half": "train", "y": [1.0, None, None], "bad": [1, 2]}],
    }  # fmt: skip


def test_a_long_curve_is_shortened_without_losing_its_spikes():
    values = np.zeros(10_000)
    values[[1234, 7777]] = 5.0, -3.0
    values[3000:3500] = np.nan
    short = charts.shorten(Curve(np.arange(10_000), values), 500)
    assert len(short.steps) <= 500
    assert {0, 1234, 7777, 9999} <= set(short.steps.tolist())
    assert np.isnan(short.values).any()


def test_one_run_has_a_page_of_its_own():
    parsed, data = parse(run_data(1, params={"lr": "0.1"}))
    assert ("body", {"class": "single"}) in parsed.elements
    assert not [attributes for _, attributes in parsed.elements if attributes.get("id") in ("filter", "legend")]
    assert len(data["runs"]) == 1


def test_a_run_with_nothing_but_params_has_a_page():
    parsed, data = parse(run_data(1, histories={}, params={"lr": "0.1"}))
    assert "No metrics were logged." in "".join(parsed.texts)
    assert data["panels"] == []


def test_pictures_are_stored_once_each():
    frames = (
        Frame("a/x", 0, b"one"),
        Frame("a/x", 2, b"two"),
        Frame("b/y", 1, b"one"),
        Frame("b/y", 5, None, "gone"),
    )
    parsed, data = parse(run_data(1), run_data(2, frames=frames, histories={}))
    images = json.loads("".join(text for attributes, text in parsed.scripts if attributes.get("id") == "images"))
    assert len(images) == 2
    assert data["pictures"]["steps"] == [0, 1, 2, 5]
    assert data["pictures"]["strips"] == [{"run": 1, "frames": [[[0, 0], [2, 1]], [[1, 0], [5, "gone"]]]}]
