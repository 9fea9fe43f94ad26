"""What the checked options look like; that bad ones raise is tested with autolog."""

import pytest

from mlflow_dlviz import options
from mlflow_dlviz.store.runs import Limits
from mlflow_dlviz.visual import AtEnd, Every, LogSpaced

GOOD = {
    "visuals": None,
    "cadence": None,
    "probe": 64,
    "seed": 0,
    "metrics": None,
    "class_names": None,
    "monitor": None,
    "weighted": False,
    "log_models": True,
    "deadline": 10.0,
    "offline": False,
}


def check(**changes):
    return options.check(**{**GOOD, **changes})


def test_a_whole_number_is_a_cadence_for_all_visuals():
    assert {visual.cadence for visual in check(cadence=5).visuals} == {Every(5)}
    assert {visual.cadence for visual in check(cadence=AtEnd()).visuals} == {AtEnd()}


def test_without_a_cadence_each_visual_keeps_its_own():
    assert {visual.cadence for visual in check(visuals=["boundary"]).visuals} == {LogSpaced(20)}


def test_no_visuals_is_none_of_them():
    assert check(visuals=[]).visuals == ()


def test_class_names_are_text():
    assert check(class_names=[0, "cat", 2.5]).class_names == ("0", "cat", "2.5")
    assert check(class_names=iter(["a", "b"])).class_names == ("a", "b")


def test_an_own_formula_is_among_the_metrics():
    found = check(metrics={"miss_rate": lambda tp, tn, fp, fn: fn / (fn + tp)})
    assert "miss_rate" in found.metrics.own


def test_where_runs_are_spooled_is_asked_when_a_fit_begins(spool_root, monkeypatch, tmp_path):
    checked = check(deadline=2, offline=True)
    assert checked.limits() == Limits(spool_root, 2.0, True)
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL", str(tmp_path / "other"))
    assert checked.limits().root == tmp_path / "other"


@pytest.mark.parametrize("value", ["much", "-1", "inf"])
def test_a_bad_limit_of_the_spool_raises_at_once(monkeypatch, value):
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL_MB", value)
    with pytest.raises(ValueError, match=f"MLFLOW_DLVIZ_SPOOL_MB='{value}': expected a number of megabytes"):
        check()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("cadence", True),
        ("cadence", 2.5),
        ("cadence", AtEnd),
        ("probe", 6.4),
        ("seed", None),
        ("monitor", ""),
        ("class_names", 3),
        ("deadline", -1),
        ("deadline", True),
        ("deadline", "10"),
        ("deadline", float("inf")),
        ("deadline", float("nan")),
        ("offline", 1),
    ],
)
def test_the_message_has_the_argument_and_the_value(option, value):
    with pytest.raises((TypeError, ValueError)) as raised:
        check(**{option: value})
    assert f"{option}={value!r}" in str(raised.value)
