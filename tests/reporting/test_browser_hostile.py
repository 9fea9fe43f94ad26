"""Hostile texts in every place that a page takes text from, in a real browser: nothing runs, all is read."""

from __future__ import annotations

import io
import unicodedata

import mlflow
import numpy as np
import pytest
from builders import run_data, series
from hostile import CORPUS
from mlflow import MlflowClient
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput
from PIL import Image

import mlflow_dlviz.reporting as reporting
from mlflow_dlviz.reporting import page as pages
from mlflow_dlviz.reporting.analysis import analyse
from mlflow_dlviz.reporting.bundle import Bundle, Dataset, Excluded, Frame, Query
from mlflow_dlviz.reporting.options import Options

pytestmark = pytest.mark.browser


def webp() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (30, 20), "#88bbee").save(out, "WEBP")
    return out.getvalue()


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory):
    """A page with every text of the corpus in every place; made by hand, as MLflow refuses most in names."""
    picture = webp()
    counts = np.ones((2, 2, 10), np.int64)
    numbers = {"counts": counts, "edges": np.linspace(0, 1, 11), "class_names": np.array(["a", "b"])}
    runs = [
        run_data(
            number + 1,
            name=text,
            experiment=text,
            params={text: text, "lr": str(number), "text": text},
            tags={text: text, "mlflow.user": text, "mlflow.source.name": text, "mlflow.source.git.commit": text},
            datasets=(Dataset(text, text, text),),
            histories={"loss": series(1, 1 / (number + 1)), "val_loss": series(2, 1), text: series(1, number)},
            frames=(Frame("a/b", 0, picture), Frame(text, 1, None, text)),
            numbers={"probabilities": {text: {0: numbers}}},
        )
        for number, text in enumerate(CORPUS)
    ]
    bundle = Bundle(
        Query("http://host", tuple(CORPUS), filters=tuple(CORPUS), order_by=tuple(CORPUS)),
        tuple(runs),
        excluded=tuple(Excluded("id", text, text) for text in CORPUS),
        notes=tuple(CORPUS),
        problems=tuple(CORPUS),
    )
    path = tmp_path_factory.mktemp("hostile") / "everywhere.html"
    html = pages.render(analyse(bundle, Options(), generated=0.0))
    path.write_bytes(html.encode("utf-8", "replace"))
    return path


def visit_everything(page) -> None:
    """Go to each section, open what can be opened, rest the mouse on charts, press what can be pressed."""
    for button in page.locator("[data-go]:visible").all():
        button.click()
        page.wait_for_timeout(150)
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    page.wait_for_timeout(500)
    for chart in page.locator(".chart:visible").all()[:6]:
        chart.scroll_into_view_if_needed()
        chart.hover(force=True)
        page.wait_for_timeout(60)
    for head in page.locator("thead button:visible").all()[:8]:
        head.click()
    page.locator("#filter").fill("script")
    page.wait_for_timeout(100)
    page.locator("#filter").fill("")
    page.wait_for_timeout(300)


def plain(text: str) -> str:
    """What a parser of HTML leaves of a text, white space as one blank."""
    kept = (letter for letter in text if unicodedata.category(letter) not in ("Cc", "Cf") or letter.isspace())
    return " ".join("".join(kept).split())


def missing(page, place: str) -> list[str]:
    """The texts that are neither to be read in a part of the page nor told where something is cut short."""
    told = page.evaluate(
        """place => {
          const part = document.querySelector(place);
          const titles = [...part.querySelectorAll("[title], option")].map(e => e.title || e.textContent);
          return [part.textContent, ...titles].join("\\n");
        }""",
        place,
    )
    return [text for text in CORPUS if plain(text) not in plain(told)]


def assert_harmless(page) -> None:
    assert page.evaluate("window.hit") is None
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    made = page.evaluate("[...document.querySelectorAll('*')].map(element => element.localName)")
    assert not {"iframe", "object", "embed", "base", "form", "math"} & set(made)
    handlers = page.evaluate(
        "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => n.startsWith('on'))"
    )
    assert handlers == []


def test_there_are_enough_texts():
    assert len(set(CORPUS)) >= 40


def test_nothing_runs_and_every_name_is_there_as_text(page, everywhere):
    page.goto(everywhere.as_uri())
    visit_everything(page)
    assert_harmless(page)
    named = page.evaluate("[...document.querySelectorAll('#table tbody .name')].map(e => e.textContent)")
    assert {plain(text) for text in CORPUS} <= {plain(text) for text in named}
    for place in ("#differences", "#provenance", "header", "#distributions"):
        assert missing(page, place) == [], place
    assert page.evaluate("({}).polluted") is None


def test_names_that_objects_have_by_themselves_are_names_like_others(page, everywhere):
    page.goto(everywhere.as_uri())
    for text in ("__proto__", "constructor", "hasOwnProperty", "toString"):
        page.locator("#filter").fill(text)
        assert page.locator("#table tbody tr:visible").count() >= 1


def test_what_a_real_store_takes(page, store_uri, tmp_path):
    """Run names, values of params and tags, experiments and data sets are free text in MLflow."""
    client = MlflowClient(store_uri)
    names, experiments = [], []
    for number, text in enumerate(CORPUS):
        name = f"{text[:200]}-{number}"
        try:
            experiment = client.create_experiment(name, artifact_location=(tmp_path / str(number)).as_uri())
        except mlflow.exceptions.MlflowException:
            # Of some control characters, a store has its own opinion.
            name = f"plain-{number}-{tmp_path.name}"
            experiment = client.create_experiment(name, artifact_location=(tmp_path / str(number)).as_uri())
        experiments.append(name)
        try:
            run_id = client.create_run(experiment, run_name=text, tags={"note": text}).info.run_id
            client.log_param(run_id, "text", text)
            data = DatasetEntity(text[:100], f"d{number}", "local", text[:100])
            client.log_inputs(run_id, datasets=[DatasetInput(data)])
        except mlflow.exceptions.MlflowException:
            continue
        for step in range(2):
            client.log_metric(run_id, "loss", number + step, step=step)
        client.set_terminated(run_id)
        names.append(client.get_run(run_id).info.run_name)
    assert len(names) >= 40
    path = tmp_path / "real.html"
    made = reporting.report(experiments, tracking_uri=store_uri, output=path, progress=False)
    assert made.problems == ()
    page.goto(path.as_uri())
    visit_everything(page)
    assert_harmless(page)
    named = page.evaluate("[...document.querySelectorAll('#table tbody .name')].map(e => e.textContent)")
    assert {plain(name) for name in names} <= {plain(text) for text in named}
