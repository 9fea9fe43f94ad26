"""Alarms on the page, with their evidence and what was looked for."""

from __future__ import annotations

from builders import analysis_of, parse, run_data, series

from mlflow_dlviz.reporting.health.kinds import KINDS
from mlflow_dlviz.reporting.sections import health


def ill(number: int):
    return run_data(number, histories={"loss": series(1, float("nan"), float(number))}, status="KILLED")


def test_each_alarm_with_its_run_and_evidence():
    parsed = parse(ill(1), run_data(2))
    assert "run-1loss is nan at step 1loss: 1 of 3 values, the first (nan) at step 1" in parsed.text
    assert "Not a finite number 1 of 2 runs" in parsed.text


def test_what_each_alarm_means_is_said_found_or_not():
    text = parse(ill(1), run_data(2)).text
    for kind in KINDS:
        assert f"{kind.title}: said when {kind.how}" in text


def test_many_alarms_of_a_kind_are_folded_away():
    few = health.build(analysis_of(*map(ill, range(health.OPEN)))).values["found"]
    many = health.build(analysis_of(*map(ill, range(health.OPEN + 1)))).values["found"]
    assert not any(finding.folded for finding in few)
    assert all(finding.folded for finding in many)
    assert f"Show all {health.OPEN + 1}" in parse(*map(ill, range(health.OPEN + 1))).text


def test_healthy_runs_are_told_so_and_what_could_not_be_judged():
    text = parse(run_data(1), run_data(2, histories={"loss": series(1, 2)})).text
    assert "✓ Nothing was found." in text
    assert "Looked for and not found: 11 kinds" in text
    assert "gradients (no norms are logged)" in text
