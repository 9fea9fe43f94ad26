"""What the script of the curves is given."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from builders import analysis_of, parse, run_data, series

from mlflow_dlviz.reporting import room
from mlflow_dlviz.reporting.options import Choice
from mlflow_dlviz.reporting.sections import curves
from mlflow_dlviz.store.histories import Series

OURS = {"dlviz.status": "ok"}


def numbers(text: str) -> list[float]:
    return np.frombuffer(base64.b64decode(text), "<f4").tolist()


def seeds(count: int, **told):
    """Runs that differ in nothing but their seeds."""
    return [run_data(number, params={"seed": str(number)}, **told) for number in range(count)]


def test_a_line_is_sent_whole_and_says_what_is_not_finite():
    run = run_data(tags=OURS, histories={"loss": series(1, float("nan"), float("inf"), -2, float("inf"))})
    section = curves.build(analysis_of(run))
    [panel] = section.data["panels"]
    [line] = panel.pop("lines")
    assert panel == {"name": "loss", "main": True, "axis": "epoch", "bands": []}
    np.testing.assert_array_equal(numbers(line.pop("y")), [1, np.nan, np.inf, -2, np.inf])
    assert line == {"run": 0, "half": "train", "bad": [[1, "NaN", 1], [2, "∞", 2]], "lost": 1}
    json.dumps(section.data, allow_nan=False)


def test_halves_share_a_panel_and_a_resumed_run_is_told():
    resumed = Series(np.array([0, 10, 20, 10]), np.array([3.0, 2, 1, 7]), np.arange(4))
    section = curves.build(analysis_of(run_data(histories={"loss": resumed, "val_loss": series(1)})))
    [panel] = section.data["panels"]
    train, val = panel["lines"]
    assert (train["half"], val["half"]) == ("train", "val")
    assert numbers(train["y"]) == [3, 7, 1]
    assert train["x"] == {"first": 0, "last": 20}
    assert "1 value was replaced by a later one" in section.values["notes"][0]


def test_only_what_is_asked_for_is_shown_and_never_folded():
    run = run_data(histories={name: series(1, 2) for name in ("loss", "val_loss", "zeta", "eta")})
    section = curves.build(analysis_of(run, metrics=(Choice("val_*"), Choice("zeta"))))
    shown = [
        (panel["name"], panel["main"], [line["half"] for line in panel["lines"]])
        for panel in section.data["panels"]
    ]
    assert shown == [("loss", True, ["val"]), ("zeta", True, ["train"])]


def test_without_curves_it_says_why():
    assert curves.build(analysis_of(run_data(histories={}))).reason == "no metrics were logged"
    assert curves.build(analysis_of(run_data(), metrics=(Choice("x"),))).reason == "no metric is called so"


@pytest.mark.parametrize(("count", "view"), [(30, "runs"), (31, "groups")])
def test_groups_come_first_when_runs_are_many(count, view):
    section = curves.build(analysis_of(*seeds(count)))
    assert section.data["view"] == view
    [group] = section.data["groups"]
    assert group == {"label": "all runs", "members": list(range(count)), "of": count}
    [panel] = section.data["panels"]
    assert [(band["group"], band["half"], band["n"]) for band in panel["bands"]] == [
        (0, "train", count),
        (0, "val", count),
    ]


def test_without_three_runs_of_a_group_there_are_none():
    failed = run_data(7, status="FAILED")
    section = curves.build(analysis_of(*seeds(2), failed))
    assert section.data["groups"] == []
    assert section.values["grouped"] is False
    assert section.values["notes"] == []
    grouped = curves.build(analysis_of(*seeds(3), failed, group_by=()))
    assert grouped.data["groups"] == [{"label": "all runs", "members": [0, 1, 2], "of": 4}]
    assert grouped.values["notes"] == ["Not counted in the curves of groups: 1 failed."]
    torn = run_data(8, histories={"loss": series(1, 2), "val_loss": series(0.1, np.nan)})
    grouped = curves.build(analysis_of(*seeds(3), failed, torn, group_by=()))
    assert [len(group["members"]) for group in grouped.data["groups"]] == [3]
    assert grouped.values["notes"] == ["Not counted in the curves of groups: 1 diverged, 1 failed."]


def test_groups_that_were_asked_for_come_first_or_it_says_why_there_are_none():
    asked = [run_data(number, params={"lr": "0.1"}) for number in range(3)]
    section = curves.build(analysis_of(*asked, group_by=("lr",)))
    assert (section.data["view"], section.values["hint"]) == ("groups", "")
    assert curves.build(analysis_of(*asked, group_by=())).data["view"] == "runs"
    section = curves.build(analysis_of(*asked[:2], group_by=("lr",)))
    assert section.data["view"] == "runs"
    assert section.values["hint"] == (
        "Groups are not drawn: each needs 3 runs that count, finished and not diverged."
    )
    assert "Groups are not drawn" in parse(*asked[:2], group_by=("lr",)).text
    alone = [run_data(number, params={"lr": str(number)}) for number in range(3)]
    assert curves.build(analysis_of(*alone)).values["hint"] == ""


def test_the_smoothing_and_axis_asked_for_come_first():
    section = curves.build(analysis_of(run_data(), smoothing=0.7, x="time"))
    assert section.data["stops"] == [0.0, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
    assert section.data["stops"][section.data["stop"]] == 0.7
    assert section.data["x"] == "relative"


def long_runs(count: int, length: int):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(count, length))
    return [run_data(number, histories={"loss": series(*row)}) for number, row in enumerate(values)], values


def test_what_is_too_long_is_shortened_and_keeps_its_ends_and_says_so():
    runs, values = long_runs(40, 20_000)
    section = curves.build(analysis_of(*runs, run_data(99, histories={"loss": series(1, 2)}), max_mb=2.5))
    [panel] = section.data["panels"]
    assert len(json.dumps(section.data)) < 2.5e6 - 1.6e6
    assert section.values["notes"][0].startswith("40 of 41 curves are too long for 2.5 MB")
    by_first = {np.float32(row[0]): row.astype(np.float32) for row in values}
    shortened = [line for line in panel["lines"] if "even" in line]
    assert len(shortened) == 40
    for line in shortened:
        kept = numbers(line["y"])
        whole = by_first[np.float32(kept[0])]
        assert (min(kept), max(kept), kept[-1]) == (whole.min(), whole.max(), whole[-1])
        assert len(kept) < 2000


def test_no_curve_takes_more_shortened_than_whole():
    rng = np.random.default_rng(0)
    runs = [run_data(n, histories={f"m{k}": series(*rng.random(50)) for k in range(20)}) for n in range(60)]
    large, small = (curves.build(analysis_of(*runs, max_mb=size)) for size in (12.0, 2.0))
    assert len(json.dumps(small.data)) <= len(json.dumps(large.data))
    assert small.values["notes"] == []


def test_short_curves_leave_their_share_to_long_ones():
    runs, _ = long_runs(3, 3000)
    alone = analysis_of(*runs, max_mb=2.0)
    fits = room.plan(alone, [of_run["loss", "train"] for of_run in alone.curves], 1)
    assert np.isinf(fits.characters)
    longer, _ = long_runs(3, 60_000)
    tight = analysis_of(*longer, max_mb=2.0)
    found = room.plan(tight, [of_run["loss", "train"] for of_run in tight.curves], 1)
    assert 24 < found.points(6) < 60_000
    assert found.clock < fits.clock


def test_five_hundred_runs_fit_whole_into_twelve_megabytes():
    steps = np.arange(500)
    rng = np.random.default_rng(0)
    names = [half + base for base in ("loss", "mae", "mse") for half in ("", "val_")]
    runs = [
        run_data(
            number,
            params={"lr": str(number // 4), "seed": str(number % 4)},
            histories={name: Series(steps, rng.normal(size=500), steps * 1000 + number) for name in names},
        )
        for number in range(500)
    ]
    section = curves.build(analysis_of(*runs))
    assert not any("too long" in note for note in section.values["notes"])
    # BokehJS and the tables take the rest.
    assert len(json.dumps(section.data)) < 12e6 - 2.4e6
