"""The numbers behind the histograms."""

from __future__ import annotations

import numpy as np
from asked import OURS

from mlflow_dlviz.reporting.fetching import numbers as numbers_module
from mlflow_dlviz.store import names
from mlflow_dlviz.store.batch import pack


def log_numbers(client, run_id, leaf, epochs, tmp_path) -> None:
    for epoch in epochs:
        path = tmp_path / names.numbers_path("probabilities", leaf, epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack({"counts": np.full((2, 2, 4), epoch), "edges": np.linspace(0, 1, 5)}))
    client.log_artifacts(run_id, str(tmp_path / "dlviz"), "dlviz")


def test_the_numbers_behind_the_histograms_are_read(make_run, fetch, client, tmp_path):
    run_id = make_run(metrics={"loss": [1.0]}, tags=OURS)
    log_numbers(client, run_id, "validation", [0, 1, 2], tmp_path)
    log_numbers(client, run_id, "training", [1], tmp_path)
    client.log_text(run_id, "x", "dlviz/probabilities/frozen.npz")
    for _ in range(2):
        numbers = fetch().runs[0].numbers["probabilities"]
        assert {leaf: list(each) for leaf, each in numbers.items()} == {"training": [1], "validation": [0, 1, 2]}
        np.testing.assert_array_equal(numbers["validation"][2]["counts"], np.full((2, 2, 4), 2))
        np.testing.assert_array_equal(numbers["validation"][2]["edges"], np.linspace(0, 1, 5))


def test_numbers_are_thinned_and_damaged_ones_told(make_run, fetch, client, tmp_path, monkeypatch):
    monkeypatch.setattr(numbers_module, "MAX_EPOCHS", 3)
    run_id = make_run(metrics={"loss": [1.0]}, tags=OURS)
    log_numbers(client, run_id, "validation", range(9), tmp_path)
    client.log_text(run_id, "no arrays", "dlviz/probabilities/validation/0004.npz")
    bundle = fetch()
    assert list(bundle.runs[0].numbers["probabilities"]["validation"]) == [0, 8]
    [problem] = bundle.problems
    assert problem == (
        "1 file of numbers (probabilities) could not be read: not a readable file of numbers (ValueError)"
    )
    [note] = bundle.notes
    assert note.startswith("3 of 9 frames of the numbers behind probabilities")


def test_large_numbers_are_thinned_to_what_memory_holds(make_run, fetch, client, tmp_path, monkeypatch):
    run_id = make_run(metrics={"loss": [1.0]}, tags=OURS)
    log_numbers(client, run_id, "validation", range(9), tmp_path)
    size = 16 * 8 + 5 * 8
    monkeypatch.setattr(numbers_module, "MAX_BYTES", 4 * size + 1)
    bundle = fetch()
    assert list(bundle.runs[0].numbers["probabilities"]["validation"]) == [0, 3, 5, 8]
    assert bundle.notes[0].startswith("4 of 9 frames of the numbers")
    monkeypatch.setattr(numbers_module, "MAX_BYTES", size - 1)
    assert fetch().runs[0].numbers == {}


def test_nothing_is_asked_for_numbers_or_pictures_that_are_not_there(make_run, fetch, cache_folder):
    make_run(metrics={"loss": [1.0]})
    make_run(metrics={"loss": [1.0]})
    stages = []
    fetch(progress=lambda what, done, total: stages.append(what))
    assert set(stages) == {"metrics"}
