"""What the page is given of the pictures: which, of whom, and each only once."""

from __future__ import annotations

import base64

from builders import HOSTILE, analysis_of, parse, run_data

from mlflow_dlviz.reporting.bundle import Frame
from mlflow_dlviz.reporting.sections import pictures


def test_without_pictures_it_is_hidden_and_says_why():
    section = pictures.build(analysis_of(run_data(1), run_data(2)))
    assert section.reason == "no pictures were logged"
    assert "Pictures: no pictures were logged." in parse(run_data(1), run_data(2)).text
    for told in ({"images": "b/*"}, {"epochs": (3,)}):
        text = parse(run_data(1), run_data(2), **told).text
        assert "Pictures: no pictures of the keys and epochs asked for were logged." in text


def test_each_different_picture_is_there_once():
    frames = (
        Frame("b/y", 5, None, "gone"),
        Frame("a/x", 2, b"two"),
        Frame("a/x", 0, b"one"),
        Frame("b/y", 1, b"one"),
    )
    data = parse(run_data(1, frames=frames), run_data(2)).data("data-pictures")
    assert data["keys"] == ["a/x", "b/y"]
    assert data["steps"] == [0, 1, 2, 5]
    assert data["strips"] == [{"run": 0, "frames": [[[0, 0], [2, 1]], [[1, 0], [5, "gone"]]]}]
    assert [base64.b64decode(image) for image in data["images"]] == [b"one", b"two"]


def test_rows_are_the_runs_that_have_pictures_and_every_row_has_every_column():
    found = pictures.strips(
        [run_data(1), run_data(2, frames=(Frame("a", 0, b"a"),)), run_data(3, frames=(Frame("b", 4, b"b"),))]
    )
    assert [(strip["run"], strip["frames"]) for strip in found["strips"]] == [
        (1, [[[0, 0]], []]),
        (2, [[], [[4, 1]]]),
    ]


def test_steps_are_epochs_only_where_all_that_have_pictures_count_in_them():
    ours = run_data(1, frames=(Frame("a", 0, b"a"),), tags={"dlviz.status": "ok"})
    other = run_data(2, frames=(Frame("a", 0, b"a"),))
    assert pictures.strips([ours, run_data(3)])["axis"] == "epoch"
    assert pictures.strips([ours, other])["axis"] == "step"


def test_one_step_has_nothing_to_play_or_compare():
    one = parse(run_data(1, frames=(Frame("a", 3, b"a"),)))
    two = parse(run_data(1, frames=(Frame("a", 3, b"a"), Frame("a", 4, b"b"))))
    for parsed, alone in ((one, True), (two, False)):
        by_id = {attributes.get("id"): attributes for _, attributes in parsed.elements}
        assert ("hidden" in by_id["play"]) is alone
        assert ("hidden" in by_id["compare"]) is alone
        assert ("disabled" in by_id["epoch"]) is alone


def test_keys_and_reasons_stay_text():
    frames = tuple(Frame(text, 0, None, text) for text in HOSTILE)
    parsed = parse(run_data(1, frames=frames), run_data(2))
    data = parsed.data("data-pictures")
    assert set(data["keys"]) == set(HOSTILE)
    assert {each[0][1] for each in data["strips"][0]["frames"]} == set(HOSTILE)
    assert not [tag for tag, _ in parsed.elements if tag in ("img", "iframe", "a", "form")]
