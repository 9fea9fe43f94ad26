"""docs/example-report.html: small, and with all that a report has."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import Elements

from mlflow_dlviz.reporting.page import SECTIONS

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-report.html"


@pytest.fixture(scope="module")
def example() -> Elements:
    return Elements(EXAMPLE.read_text("utf-8"))


def test_it_is_small():
    assert EXAMPLE.stat().st_size < 3_000_000


def test_it_has_every_section(example):
    shown = {attributes.get("id") for tag, attributes in example.elements if tag == "section"}
    expected = {part.__name__.rsplit(".", 1)[-1] for part in SECTIONS} - {"verdict"}
    assert expected <= shown
    assert "absent" not in shown


def test_it_compares_seeds_and_groups(example):
    runs = example.data()["runs"]
    assert len(runs) >= 6
    assert len({run["group"] for run in runs}) >= 2
    assert {run["status"] for run in runs} == {"FINISHED"}


def test_it_tells_nothing_of_the_machine_it_was_made_on():
    text = EXAMPLE.read_text("utf-8")
    for path in ("/tmp/", "/home/", "/work/", "/root/"):
        assert path not in text, path
