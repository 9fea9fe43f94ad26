"""PNG: what is drawn of an analysis, and into which files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from builders import analysis_of, run_data, series
from hostile import CORPUS
from PIL import Image

from mlflow_dlviz.reporting.exports import pictures
from mlflow_dlviz.reporting.exports.files import file_names
from mlflow_dlviz.reporting.options import Choice
from mlflow_dlviz.reporting.standings import standings


def repeated(count=3):
    return [
        run_data(
            number,
            params={"lr": f"0.{1 + number // count}", "seed": str(number % count)},
            histories={
                "val_loss": series(1.0, 0.5 + number / 10),
                "loss": series(1.0, 0.4),
                "accuracy": series(0.9),
            },
        )
        for number in range(2 * count)
    ]


def panel(analysis, base):
    return next(each for each in pictures.chosen_panels(analysis) if each.base == base)


def test_a_picture_of_each_main_metric_and_of_the_groups(tmp_path):
    paths = pictures.write_pictures(analysis_of(*repeated()), tmp_path / "pictures")
    assert [path.name for path in paths] == ["curves-loss.png", "curves-accuracy.png", "groups.png"]
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.size) == ("PNG", (750, 500))
            # Nothing that tells when or with what it was drawn.
            assert image.info == {}


def test_twice_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in pictures.write_pictures(analysis_of(*repeated()), tmp_path)]
    assert [path.read_bytes() for path in pictures.write_pictures(analysis_of(*repeated()), tmp_path)] == first


def test_groups_are_drawn_by_their_standing_with_bands():
    analysis = analysis_of(*reversed(repeated()))
    told = pictures.curves_of(analysis, panel(analysis, "loss"))
    assert told["labels"] == ["0.1 (n=3)", "0.2 (n=3)"]
    assert told["heading"] == "lr"
    assert {(line.series, line.validation) for line in told["lines"]} == {
        (0, False),
        (0, True),
        (1, False),
        (1, True),
    }
    [best] = [line for line in told["lines"] if (line.series, line.validation) == (0, True)]
    assert best.values[-1] == pytest.approx(standings(analysis)[0].iqm)
    assert best.low[-1] < best.values[-1] < best.high[-1]


def test_groups_too_small_for_a_band_show_their_runs():
    analysis = analysis_of(*repeated(count=2))
    lines = pictures.curves_of(analysis, panel(analysis, "loss"))["lines"]
    assert len([line for line in lines if (line.series, line.validation) == (0, True)]) == 2
    assert all(line.low is None for line in lines)


def test_failed_runs_are_in_no_group():
    runs = [*repeated(), run_data(9, params={"lr": "0.1", "seed": "9"}, status="FAILED")]
    analysis = analysis_of(*runs)
    told = pictures.groups_of(analysis)
    assert (told["counts"], told["totals"]) == ([3, 3], [4, 3])
    np.testing.assert_array_equal(told["centers"], [each.iqm for each in standings(analysis)])


def test_runs_that_no_other_repeats_are_drawn_each():
    analysis = analysis_of(*(run_data(number, params={"lr": str(number)}) for number in range(3)))
    assert not pictures.repeated(analysis)
    told = pictures.curves_of(analysis, panel(analysis, "loss"))
    assert told["labels"] == list(analysis.labels)
    assert len(told["lines"]) == 6


@pytest.mark.parametrize(
    ("metrics", "bases"),
    [
        ((), ["loss"]),
        ((Choice("zeta"),), ["zeta"]),
        ((Choice("val_*"), Choice("zeta")), ["loss", "zeta"]),
        ((Choice("nothing"),), []),
    ],
)
def test_only_the_metrics_that_were_asked_for(metrics, bases):
    analysis = analysis_of(
        run_data(histories={"loss": series(1.0), "val_loss": series(2.0), "zeta": series(3.0)}), metrics=metrics
    )
    assert [each.base for each in pictures.chosen_panels(analysis)] == bases
    if "val_*" in {choice.pattern for choice in metrics}:
        assert [line.validation for line in pictures.curves_of(analysis, panel(analysis, "loss"))["lines"]] == [
            True
        ]


def test_a_run_without_metrics_has_no_picture(tmp_path):
    assert pictures.write_pictures(analysis_of(run_data(histories={})), tmp_path / "none") == ()


def test_hostile_names_are_drawn_and_stay_in_the_folder(tmp_path):
    runs = [run_data(number, name=text, histories={text: series(1.0, 2.0)}) for number, text in enumerate(CORPUS)]
    paths = pictures.write_pictures(analysis_of(*runs), tmp_path)
    assert {path.parent for path in paths} == {tmp_path}
    assert len(list(tmp_path.iterdir())) == len(paths) > 0


def test_names_of_files_differ_where_case_does_not_count():
    found = file_names(["Loss", "loss", "a/b", "a b", "..", "x" * 300], ".png")
    assert found == ["Loss.png", "loss-2.png", "a_b.png", "a_b-2.png", "_.png", f"{'x' * 80}.png"]


def test_a_value_that_is_not_finite_breaks_nothing(tmp_path):
    run = run_data(histories={"loss": series(1.0, np.nan, np.inf, 2.0), "val_loss": series(np.nan)})
    [path] = pictures.write_pictures(analysis_of(run), tmp_path)
    assert Image.open(io.BytesIO(path.read_bytes())).size == (750, 500)
