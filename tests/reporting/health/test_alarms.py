"""Which run raises which alarm, with which numbers, and that a healthy one raises none."""

from __future__ import annotations

import numpy as np
import pytest
from builders import analysis_of, run_data, series

from mlflow_dlviz.reporting.health.alarms import alarms, by_kind, unchecked
from mlflow_dlviz.reporting.health.kinds import KINDS
from mlflow_dlviz.reporting.options import Choice

OURS = {"dlviz.status": "ok"}


def falling(seed=0, count=20, floor=0.2, noise=0.01):
    rng = np.random.default_rng(seed)
    return floor + np.exp(-np.arange(count) / 6) + noise * rng.standard_normal(count)


def healthy(seed=0, **told):
    histories = {
        "loss": series(*falling(seed)),
        "val_loss": series(*falling(seed + 1000, floor=0.3)),
        "accuracy": series(*(1 - falling(seed) / 2)),
        "learning_rate": series(*[0.001] * 20),
        "activations.dead/01.dense": series(0, 0.1, 0.2),
    }
    return run_data(seed, **{"histories": histories | told.pop("histories", {}), "tags": OURS} | told)


def raised(*runs, **told):
    return alarms(analysis_of(*runs, **told))


def kinds(*runs, **told) -> list[str]:
    return [alarm.kind for alarm in raised(*runs, **told)]


def test_healthy_runs_raise_nothing():
    assert raised(*(healthy(seed) for seed in range(40))) == ()


def test_not_finite_with_its_first_step():
    run = healthy(histories={"mae": series(1, float("nan"), 2), "val_auc": series(float("inf"), 1)})
    [alarm] = raised(run)
    assert (alarm.kind, alarm.severity, alarm.places) == ("not_finite", "bad", (0,))
    assert alarm.text == "val_auc is inf at epoch 0"
    assert alarm.evidence == (
        "val_auc: 1 of 2 values, the first (inf) at epoch 0; mae: 1 of 3 values, the first (nan) at epoch 1"
    )


def test_divergence():
    diverged = np.concatenate([falling(count=10), [3, 9, 27, 81]])
    [alarm] = raised(healthy(histories={"loss": series(*diverged)}, tags={}))
    assert alarm.kind == "diverged"
    assert alarm.text == "loss ended at 27"
    assert alarm.evidence.endswith("27 at the end (step 13)")


def test_overfitting_is_told_once_and_is_no_plateau():
    val = falling(7, 30, floor=0.3) + np.maximum(0, np.arange(30) - 10) * 0.05
    train = falling(8, 30) - 0.004 * np.arange(30)
    [alarm] = raised(healthy(histories={"loss": series(*train), "val_loss": series(*val)}))
    assert (alarm.kind, alarm.severity) == ("overfitting", "warn")
    assert alarm.text.startswith("val_loss rose since epoch ")
    assert "to 29: validation " in alarm.evidence


def test_plateau_and_the_rate_that_never_changed():
    val = np.concatenate([falling(9, 10, noise=0), 0.45 + 0.001 * np.arange(12)])
    found = raised(healthy(histories={"val_loss": series(*val)}))
    assert [alarm.kind for alarm in found] == ["plateau", "learning_rate"]
    assert "at epoch 9; epoch 11 to 21 bettered it by nothing" in found[0].evidence
    assert found[1].evidence == "learning_rate = 0.001 from epoch 0 to 19"
    changing = series(*np.geomspace(0.01, 0.001, 20))
    assert kinds(healthy(histories={"val_loss": series(*val), "learning_rate": changing})) == ["plateau"]


def test_a_plateau_of_what_is_maximised():
    accuracy = series(*([0.5, 0.7, 0.8, 0.9, 0.95] + [0.94] * 7))
    assert kinds(run_data(histories={"val_accuracy": accuracy})) == ["plateau"]
    assert kinds(run_data(histories={"val_accuracy": series(*np.linspace(0.5, 0.9, 12))})) == []


def test_dead_units():
    shares = [0.5, 0.6, 0.9, 0.7, 0.8]
    layers = {f"activations.dead/{n:02}.dense": series(0.1, share) for n, share in enumerate(shares)}
    [alarm] = raised(healthy(histories=layers))
    assert alarm.text == "4 layers mostly dead"
    assert alarm.evidence == (
        "02.dense: 90% dead at epoch 1; 04.dense: 80% dead at epoch 1; 03.dense: 70% dead at epoch 1; "
        "and 1 more layer"
    )


@pytest.mark.parametrize("name", ["gradients.norm/01.dense", "grad_norm", "train/gradient_norm", "gradients/x"])
def test_gradients(name):
    assert kinds(healthy(histories={name: series(*[1.0] * 5, *[1e-9] * 5)})) == ["gradients"]
    assert kinds(healthy(histories={name: series(*[1.0] * 9, 5000.0)})) == ["gradients"]
    assert kinds(healthy(histories={name: series(*[1.0] * 9, 30.0)})) == []


def test_a_gradient_beside_larger_ones():
    norms = {"gradients.norm/01.a": series(*[2e-6] * 10), "gradients.norm/09.z": series(*[1.0] * 10)}
    [alarm] = raised(healthy(histories=norms))
    assert alarm.evidence == "gradients.norm/01.a: 2e-06 at the end, where the largest is 1"
    assert kinds(healthy(histories={"upgrade_count": series(0, 0, 0), "gradation": series(0, 0, 0)})) == []


def test_duplicates_share_params_seeds_and_every_value():
    same = {"params": {"lr": "1e-3", "seed": "1"}}
    twins = [healthy(0, **same), healthy(0, **same | {"id": "f" * 32, "params": {"lr": "0.001", "seed": "1"}})]
    clock = [healthy(0, id=f"{n}" * 32, histories={"epoch_seconds": series(n, n)}) for n in (1, 2)]
    [alarm] = raised(*twins, healthy(0, id="e" * 32, params={"lr": "0.001", "seed": "2"}), healthy(3, **same))
    assert (alarm.kind, len(alarm.places)) == ("duplicates", 2)
    assert alarm.evidence == "2 runs with the same 2 params and the same values of 5 metrics"
    assert kinds(*clock) == ["duplicates"]
    points = [run_data(n, histories={"accuracy": series(0.9)}) for n in range(2)]
    assert kinds(*points) == []


def test_runs_that_failed():
    found = raised(healthy(0, status="FAILED"), healthy(1, status="KILLED", seconds=None))
    assert sorted((alarm.text, alarm.evidence) for alarm in found) == [
        ("failed after 12 s", "its last epoch is 19"),
        ("killed", "its last epoch is 19"),
    ]


def test_a_run_that_is_silent_for_more_than_a_day():
    run = healthy(status="RUNNING", start=1_700_000_000_000, seconds=100.0)
    assert kinds(run, generated=1_700_000_100.0 + 23.9 * 3600) == []
    [alarm] = raised(run, generated=1_700_000_100.0 + 72 * 3600)
    assert alarm.text == "RUNNING, but silent for 3 days"
    assert alarm.evidence == "last sign of life 2023-11-14 22:15 UTC"
    assert kinds(healthy(status="RUNNING"), generated=9e9) == []


@pytest.mark.parametrize("status", ["partial", "failed"])
def test_an_incomplete_recording(status):
    [alarm] = raised(healthy(tags={"dlviz.status": status}))
    assert (alarm.kind, alarm.text) == ("recording", f"recording {status}")


def test_the_worst_come_first():
    ill = healthy(0, histories={"mae": series(float("nan"))}, status="KILLED", tags={"dlviz.status": "partial"})
    found = raised(ill, healthy(1, histories={"mae": series(float("nan"))}))
    assert [alarm.kind for alarm in found] == ["not_finite", "not_finite", "failed", "recording"]
    counts = [(kind.id, len(each)) for kind, each in by_kind(found)]
    assert counts == [("not_finite", 2), ("failed", 1), ("recording", 1)]
    severities = [kind.severity for kind in KINDS]
    assert severities == sorted(severities, key=["bad", "warn", "note"].index)


def test_what_cannot_be_judged_is_said():
    assert len(unchecked(analysis_of(run_data(histories={"bleu": series(1, 2)})))) == 4
    assert unchecked(analysis_of(healthy())) == ("gradients (no norms are logged)",)
    narrowed = unchecked(analysis_of(healthy(), metrics=(Choice("*"),)))
    assert narrowed == ("gradients (no norms are among the metrics shown)",)
