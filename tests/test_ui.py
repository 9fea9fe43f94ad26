"""The stock MLflow UI shows what was logged: sections, pictures at every step, the run's own page."""

from __future__ import annotations

import re

import mlflow
import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def recorded(dlviz, mlflow_server, images, convnet):
    """A run of four epochs on a real server; yields the address of its page."""
    mlflow.set_tracking_uri(mlflow_server)
    experiment = mlflow.set_experiment("ui")
    dlviz.autolog(log_models=False, cadence=1, class_names=["top", "middle", "bottom"])
    x, y, validation = images
    with mlflow.start_run() as run:
        convnet().fit(x, y, epochs=4, verbose=0, validation_data=validation)
    assert dlviz.flush(60)
    return f"{mlflow_server}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"


def shown_pictures(page):
    """Addresses of the pictures that are really drawn, large enough to be seen."""
    return page.evaluate(
        "[...document.images].filter(i => i.naturalWidth > 100 && i.getBoundingClientRect().height > 60)"
        ".map(i => i.src)"
    )


def sections(page):
    """Names of the sections, which the UI shows with the number of their charts: "activations (4)"."""
    return set(re.findall(r"([\w.]+)\s*\(\d+\)", page.inner_text("body")))


def test_the_runs_page_has_our_sections_and_pictures_with_an_epoch_slider(page, recorded):
    page.goto(f"{recorded}/model-metrics?workflowType=machine_learning")
    search = page.get_by_placeholder("Search metric charts")
    # The UI makes only the cards that are in sight; searching brings them there.
    for section, leaf in (("probabilities", "validation"), ("activations", r"00\.conv2d\w*")):
        search.fill(section)
        page.get_by_text(re.compile(f"^{section}/{leaf}$")).first.wait_for(timeout=60_000)
        assert section in sections(page)
    page.wait_for_function("[...document.images].some(i => i.naturalWidth > 100)", timeout=60_000)
    assert all("step%2B0%2B" in source for source in shown_pictures(page))
    # The step of a card is typed beside its slider.
    step = page.get_by_role("spinbutton").first
    assert step.input_value() == "0"
    step.fill("3")
    step.press("Tab")
    page.wait_for_function(
        "[...document.images].some(i => i.naturalWidth > 100 && i.src.includes('step%2B3%2B'))", timeout=60_000
    )
    assert any("step%2B3%2B" in source for source in shown_pictures(page))


def test_the_runs_own_page_opens_among_its_artifacts(page, recorded):
    page.goto(f"{recorded}/artifacts/report.html?workflowType=machine_learning")
    frame = page.wait_for_selector("iframe", timeout=60_000).content_frame()
    frame.get_by_role("button", name="Curves").click()
    frame.wait_for_selector("canvas", timeout=60_000)
    assert "val_mcc" in frame.content()
