"""What the documentation promises is there, and its examples run."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import mlflow_dlviz
from mlflow_dlviz import catalogue

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def read(name):
    return (ROOT / name).read_text()


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page.read_text())], ids=lambda page: page.name)
def test_the_python_of_a_page_runs_in_order(page, dlviz, store):
    names: dict = {}
    for block in blocks(page.read_text()):
        exec(compile(block, str(page), "exec"), names)
        dlviz.flush(60)


def test_the_visuals_of_the_pages_draw(dlviz, runs, table):
    """Those defined in README and own-visual.md, on a fit of their own."""
    import keras

    for page in ("README.md", "docs/own-visual.md"):
        [block] = [
            b for b in re.findall(r"```python\n(.*?)```", read(page), flags=re.DOTALL) if "def capture" in b
        ]
        exec(compile(block, page, "exec"), {})
        model = keras.Sequential([keras.layers.Dense(1, "sigmoid")])
        model.compile("adam", "binary_crossentropy")
        model.fit(*table[:2], epochs=1, verbose=0, validation_data=table[2])
        dlviz.flush(60)
    assert [run.data.tags["dlviz.status"] for run in runs()] == ["ok", "ok"]
    assert list(dlviz.load(runs()[0].info.run_id, "weights")["all"]) == [0]
    counts = dlviz.load(runs()[1].info.run_id, "confusion")["confusion"][0]["counts"]
    assert np.asarray(counts).sum() == 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("option", inspect.signature(mlflow_dlviz.autolog).parameters)
def test_every_option_is_documented(option):
    assert f"    {option}: " in inspect.getdoc(mlflow_dlviz.autolog).replace("\n", "\n    ")
    assert f"| `{option}` |" in read("README.md")


@pytest.mark.parametrize("name", catalogue.BUILT_IN)
def test_every_visual_is_in_the_gallery(name):
    assert f"## {name}" in read("docs/gallery.md")
    for option in catalogue.options(catalogue.BUILT_IN[name]):
        assert f"`{option}`" in read("docs/gallery.md")


def test_the_command_lines_page_equals_help():
    spec = importlib.util.spec_from_file_location("make_pages", ROOT / "docs" / "make_pages.py")
    make_pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_pages)
    assert read("docs/cli.md") == make_pages.cli_page()


def test_ci_calls_the_readmes_test_command():
    [command] = [
        line for line in read("README.md").splitlines() if line.startswith("python3 -m venv") and "pytest" in line
    ]
    assert command in read(".ci/run").splitlines()


def test_the_changelog_has_this_version():
    assert f"## {mlflow_dlviz.__version__} " in read("CHANGELOG.md")


@pytest.mark.parametrize("name", mlflow_dlviz.__all__)
def test_every_public_name_says_what_it_is(name):
    assert inspect.getdoc(getattr(mlflow_dlviz, name))
