"""Several fits in one run: each goes on after the last, and nothing of those before is overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import mlflow
import numpy as np
import pytest


def fit(model, table, **more):
    x, y, validation = table
    return model.fit(x, y, **{"epochs": 2, "verbose": 0, "validation_data": validation, **more})


def values(store, run_id, key):
    return {metric.step: metric.value for metric in store.get_metric_history(run_id, key)}


def images(store, run_id):
    """The file names of the pictures, without those that stand for their thumbnails."""
    return sorted(file.path for file in store.list_artifacts(run_id, "images") if file.path.endswith(".png"))


def frames(dlviz, run_id, visuals=("activations", "probabilities", "boundary")):
    """{visual/leaf: {epoch: arrays}} of everything that was captured."""
    return {
        f"{visual}/{leaf}": by_epoch for visual in visuals for leaf, by_epoch in dlviz.load(run_id, visual).items()
    }


def assert_kept(before, after):
    for name, by_epoch in before.items():
        for epoch, arrays in by_epoch.items():
            for key, value in arrays.items():
                np.testing.assert_array_equal(after[name][epoch][key], value, err_msg=f"{name} {epoch} {key}")


def test_fine_tuning_goes_on_in_the_same_run(dlviz, store, binary, table):
    dlviz.autolog(log_models=False)
    model = binary()
    with mlflow.start_run() as run:
        run_id = run.info.run_id
        first = fit(model, table).history
        assert dlviz.flush(60)
        pictures, numbers = images(store, run_id), frames(dlviz, run_id)
        metrics = {name: values(store, run_id, name) for name in first}
        model.layers[0].trainable = False
        model.compile(keras.optimizers.SGD(0.001), "binary_crossentropy")
        second = fit(model, table, epochs=3, batch_size=8).history
    assert dlviz.flush(60)
    for name, of_first in metrics.items():
        everything = values(store, run_id, name)
        assert {epoch: everything[epoch] for epoch in of_first} == of_first, name
        if name in second:
            assert everything == pytest.approx(dict(enumerate([*first[name], *second[name]]))), name
    assert {*pictures} <= {*images(store, run_id)}
    assert_kept(numbers, frames(dlviz, run_id))
    for name, by_epoch in frames(dlviz, run_id).items():
        assert list(by_epoch) == [0, 1, 2, 3, 4], name
    params = store.get_run(run_id).data.params
    assert params["epochs"] == "2"
    assert params["batch_size"] == "32"
    fits = json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/dlviz/fits.json"))
    assert [(each["epochs"], each["batch_size"]) for each in fits] == [("2", "32"), ("3", "8")]
    assert [each["optimizer_name"].lower() for each in fits] == ["adam", "sgd"]
    losses = [*first["val_loss"], *second["val_loss"]]
    assert store.get_run(run_id).data.metrics["best_epoch"] == int(np.argmin(losses))
    assert store.get_run(run_id).data.metrics["best_val_loss"] == pytest.approx(min(losses))


def test_a_later_fit_is_drawn_on_the_scales_of_the_first(dlviz, store, binary, table):
    dlviz.autolog(log_models=False, visuals=["activations", "boundary"])
    model = binary()
    with mlflow.start_run() as run:
        fit(model, table)
        dlviz.flush(60)
        frozen = frozen_arrays(run.info.run_id, "activations"), frozen_arrays(run.info.run_id, "boundary")
        # Weights ten times as large, and other data, would have had scales of their own.
        model.set_weights([10 * weight for weight in model.get_weights()])
        x, y, (x_val, y_val) = table
        fit(model, (3 * x, y, (3 * x_val, y_val)))
        dlviz.flush(60)
    for name, before in zip(("activations", "boundary"), frozen, strict=True):
        after = frozen_arrays(run.info.run_id, name)
        assert before.keys() == after.keys()
        for key, value in before.items():
            np.testing.assert_array_equal(after[key], value, err_msg=f"{name} {key}")
    for frames_of in dlviz.load(run.info.run_id, "activations").values():
        assert len({(float(arrays["limit"]), float(arrays["low"])) for arrays in frames_of.values()}) == 1
    planes = dlviz.load(run.info.run_id, "boundary")["plane"]
    assert sorted(planes) == [0, 1, 2, 3]
    for key in ("xs", "ys"):
        np.testing.assert_array_equal(planes[0][key], planes[3][key])
    # The samples are those of each fit.
    assert not np.array_equal(planes[0]["points"], planes[3]["points"])


def frozen_arrays(run_id, visual):
    from mlflow_dlviz.store.names import frozen_path

    path = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{frozen_path(visual)}")
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def test_an_initial_epoch_is_taken_as_it_is(dlviz, store, binary, table):
    dlviz.autolog(log_models=False, visuals=["probabilities"])
    model = binary()
    with mlflow.start_run() as run:
        first = fit(model, table).history
        second = fit(model, table, initial_epoch=2, epochs=5).history
    dlviz.flush(60)
    logged = values(store, run.info.run_id, "val_loss")
    assert logged == pytest.approx(dict(enumerate([*first["val_loss"], *second["val_loss"]])))
    assert list(dlviz.load(run.info.run_id, "probabilities")["validation"]) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_epochs_that_were_logged_already_are_not_logged_again(dlviz, store, binary, table):
    """A fit resumed from a checkpoint before the last epoch goes on behind what the run has."""
    dlviz.autolog(log_models=False, visuals=[])
    model = binary()
    with mlflow.start_run() as run:
        fit(model, table, epochs=4)
        fit(model, table, initial_epoch=2, epochs=4)
    dlviz.flush(60)
    steps = [metric.step for metric in store.get_metric_history(run.info.run_id, "loss")]
    assert steps == [0, 1, 2, 3, 4, 5]


RESUME = """
import sys
import keras, mlflow, numpy as np
import mlflow_dlviz

mlflow_dlviz.autolog(log_models=False, visuals=["probabilities", "activations"])
data = np.load("data.npz")
model = keras.models.load_model("model.keras")
with mlflow.start_run(run_id=sys.argv[1]):
    validation = data["x_val"], data["y_val"]
    model.fit(data["x"], data["y"], epochs=3, batch_size=16, verbose=0, validation_data=validation)
assert mlflow_dlviz.flush(120)
"""


@pytest.mark.slow
def test_a_run_goes_on_in_another_process(dlviz, store, binary, table, tmp_path):
    x, y, (x_val, y_val) = table
    np.savez(tmp_path / "data.npz", x=x, y=y, x_val=x_val, y_val=y_val)
    dlviz.autolog(log_models=False, visuals=["probabilities", "activations"])
    model = binary()
    with mlflow.start_run() as run:
        first = fit(model, table).history
    dlviz.flush(60)
    run_id = run.info.run_id
    model.save(tmp_path / "model.keras")
    shown = ("activations", "probabilities")
    frozen, numbers = frozen_arrays(run_id, "activations"), frames(dlviz, run_id, shown)
    settings = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    command = [sys.executable, "-c", RESUME, run_id]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **settings}, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-3000:]
    losses = values(store, run_id, "val_loss")
    assert list(losses) == [0, 1, 2, 3, 4]
    assert [losses[epoch] for epoch in (0, 1)] == pytest.approx(first["val_loss"])
    after = frames(dlviz, run_id, shown)
    assert_kept(numbers, after)
    assert all(list(by_epoch) == [0, 1, 2, 3, 4] for by_epoch in after.values())
    np.testing.assert_equal(frozen_arrays(run_id, "activations"), frozen)
    fits = json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/dlviz/fits.json"))
    assert [each["epochs"] for each in fits] == ["2", "3"]
    found = store.get_run(run_id).data
    assert found.params["batch_size"] == "32"
    assert found.metrics["best_val_loss"] == pytest.approx(min(losses.values()))
    assert found.metrics["best_epoch"] == min(losses, key=losses.get)
