"""One line, and every fit is recorded: in one run, whoever else is logging, and training untouched."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
from asking import fit, steps
from sklearn.metrics import matthews_corrcoef

import mlflow_dlviz

OURS = {"best_epoch", "best_val_loss", "epoch_seconds", "learning_rate", "mcc", "val_mcc", "val_f1"}


def test_a_fit_makes_and_ends_one_run(dlviz, store, runs, binary, table):
    dlviz.autolog(log_models=False)
    fit(binary(), table)
    assert dlviz.flush(60)
    [run] = runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics.keys() >= OURS
    assert run.data.params.keys() >= {"epochs", "batch_size", "optimizer_learning_rate", "optimizer_name"}
    assert run.data.params["batch_size"] == "32"
    assert run.data.tags["dlviz.status"] == "ok"
    assert steps(store, run.info.run_id, "val_mcc") == [0, 1]
    paths = {file.path for file in store.list_artifacts(run.info.run_id)}
    assert paths >= {"dlviz", "images", "report.html", "summary.png", "model_summary.txt"}
    # The run's own page is made before it has a status, and knows all the same whose it is.
    page = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/report.html")
    assert "Runs recorded by mlflow-dlviz count epochs" in page
    assert 'id="data-distributions"' in page
    assert {item.tags[0].value for item in run.inputs.dataset_inputs} == {"train", "eval"}
    assert mlflow.active_run() is None


def test_a_fit_joins_the_users_run(dlviz, runs, binary, table):
    dlviz.autolog(log_models=False)
    with mlflow.start_run() as mine:
        fit(binary(), table)
        assert mlflow.active_run().info.run_id == mine.info.run_id
    dlviz.flush(60)
    assert [run.info.run_id for run in runs()] == [mine.info.run_id]
    assert runs()[0].data.metrics.keys() >= OURS


def test_the_run_that_mlflow_run_made_is_used(dlviz, store, runs, binary, table, monkeypatch):
    made = store.create_run(mlflow.get_experiment_by_name("test").experiment_id)
    store.log_param(made.info.run_id, "epochs", "02")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    dlviz.autolog(log_models=False)
    fit(binary(), table)
    dlviz.flush(60)
    [run] = runs()
    assert run.info.run_id == made.info.run_id
    assert run.data.params["epochs"] == "02"
    assert run.data.params["optimizer_name"] == "adam"
    assert run.data.metrics.keys() >= OURS


class Stop(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise self.error


@pytest.mark.parametrize(("error", "status"), [(ValueError("mine"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_fit_that_is_cut_short_keeps_what_was_captured(dlviz, store, runs, binary, table, error, status):
    dlviz.autolog(log_models=False)
    model = binary()
    with pytest.raises(type(error)):
        fit(model, table, epochs=5, callbacks=[Stop(error)])
    dlviz.flush(60)
    [run] = runs()
    assert run.info.status == status
    assert steps(store, run.info.run_id, "val_mcc") == [0]
    assert list(dlviz.load(run.info.run_id, "probabilities")["validation"]) == [0, 1]
    assert not {"compute_metrics", "test_step"} & vars(model).keys()


@pytest.mark.parametrize("form", ["none", "list", "tuple", "single", "positional"])
def test_every_way_of_giving_callbacks(dlviz, runs, binary, table, form):
    dlviz.autolog(log_models=False, visuals=[])
    mine = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    seen, x, y, validation = [], *table
    given = {"none": None, "list": [mine], "tuple": (mine,), "single": mine, "positional": [mine]}[form]
    model = binary()
    for _ in range(2):
        if form == "positional":
            model.fit(x, y, 32, 1, 0, given, 0.0, validation)
        else:
            fit(model, table, epochs=1, callbacks=given)
    dlviz.flush(60)
    assert len(runs()) == 2
    assert len(seen) == (0 if form == "none" else 2)
    assert all("val_mcc" in logs for logs in seen)
    if isinstance(given, list):
        assert given == [mine]


def test_disable_puts_keras_back(dlviz, store):
    dlviz.autolog(disable=True)
    before = keras.callbacks.CallbackList.__init__, keras.Model.fit, "fit" in vars(keras.Model)
    dlviz.autolog()
    assert keras.Model.fit is not before[1]
    dlviz.autolog(disable=True)
    assert (keras.callbacks.CallbackList.__init__, keras.Model.fit, "fit" in vars(keras.Model)) == before


def test_paused_leaves_a_fit_alone(dlviz, runs, binary, table):
    dlviz.autolog(log_models=False)
    with dlviz.paused():
        history = fit(binary(), table)
    assert not runs()
    assert "val_mcc" not in history.history


def test_a_model_that_is_not_compiled_raises_what_keras_raises(dlviz, runs, table):
    dlviz.autolog()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="compile"):
        fit(model, table)
    assert not runs()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("visuals", ["activation"], "did you mean 'activations'"),
        ("visuals", "activations", "expected a list"),
        ("visuals", [3], "neither a name nor a Visual"),
        ("cadence", -1, "cadence=-1: expected a whole number"),
        ("cadence", 0, "cadence=0"),
        ("cadence", "often", "cadence='often'"),
        ("probe", 0, "probe=0"),
        ("probe", True, "probe=True"),
        ("seed", -1, "seed=-1"),
        ("metrics", ["f2"], "f2"),
        ("metrics", {"mine": 3}, "mine"),
        ("class_names", "cat", "class_names='cat'"),
        ("class_names", ["cat"], "at least 2"),
        ("monitor", 3, "monitor=3"),
        ("weighted", "yes", "weighted='yes'"),
        ("log_models", 1, "log_models=1"),
        ("silent", None, "silent=None"),
        ("disable", "no", "disable='no'"),
    ],
)
def test_a_bad_option_raises_at_once_and_changes_nothing(dlviz, option, value, words):
    before = keras.Model.fit
    with pytest.raises((TypeError, ValueError), match=words):
        dlviz.autolog(**{option: value})
    assert keras.Model.fit is before


def test_a_second_fit_in_the_same_run_goes_on_after_the_first(dlviz, store, binary, table):
    dlviz.autolog(log_models=False)
    model = binary()
    with mlflow.start_run() as run:
        fit(model, table)
        fit(model, table, epochs=3, batch_size=16)
    dlviz.flush(60)
    run_id = run.info.run_id
    assert steps(store, run_id, "val_mcc") == [0, 1, 2, 3, 4]
    assert list(dlviz.load(run_id, "probabilities")["validation"]) == [0, 1, 2, 3, 4]
    assert store.get_run(run_id).data.params["epochs"] == "2"
    fits = json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/dlviz/fits.json"))
    assert [each["epochs"] for each in fits] == ["2", "3"]


def test_early_stopping_can_watch_our_metrics(dlviz, store, runs, binary, table):
    dlviz.autolog(log_models=False)
    stopping = keras.callbacks.EarlyStopping("val_mcc", mode="max", patience=0, restore_best_weights=True)
    model = binary()
    history = fit(model, table, epochs=60, callbacks=[stopping])
    dlviz.flush(60)
    last = len(history.epoch) - 1
    assert last < 59
    [run] = runs()
    assert run.data.metrics["stopped_epoch"] == last
    assert run.data.metrics["restored_epoch"] == stopping.best_epoch
    assert run.data.params["early_stopping_monitor"] == "val_mcc"
    frames = dlviz.load(run.info.run_id, "boundary")["plane"]
    assert {0, last} <= frames.keys()
    # The last frame shows the last epoch, not the weights that were put back after it.
    x, y = table[2]
    restored = matthews_corrcoef(y, model.predict(x, verbose=0)[:, 0] > 0.5)
    assert restored == pytest.approx(history.history["val_mcc"][stopping.best_epoch], abs=1e-6)


def test_the_model_is_logged_with_fixed_requirements(dlviz, runs, binary, table):
    dlviz.autolog()
    model = binary()
    fit(model, table, epochs=1)
    [run] = runs()
    [output] = run.outputs.model_outputs
    folder = mlflow.artifacts.download_artifacts(f"models:/{output.model_id}")
    assert f"keras=={keras.__version__}" in Path(folder, "requirements.txt").read_text()
    loaded = mlflow.keras.load_model(f"models:/{output.model_id}")
    np.testing.assert_array_equal(loaded.predict(table[0], verbose=0), model.predict(table[0], verbose=0))


def test_best_values_are_of_the_monitored_metrics_best_epoch(dlviz, store, runs, binary, table):
    dlviz.autolog(log_models=False, monitor="val_f1")
    history = fit(binary(), table, epochs=6).history
    dlviz.flush(60)
    best = int(np.argmax(history["val_f1"]))
    assert runs()[0].data.tags["dlviz.monitor"] == "val_f1"
    metrics = runs()[0].data.metrics
    assert metrics["best_epoch"] == best
    assert metrics["best_val_f1"] == pytest.approx(history["val_f1"][best])
    assert metrics["best_loss"] == pytest.approx(history["loss"][best])


def test_metrics_added_by_a_users_callback_are_logged(dlviz, store, runs, binary, table):
    dlviz.autolog(log_models=False, visuals=[])
    mine = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(mine=epoch * 2.0))
    fit(binary(), table, callbacks=[mine])
    dlviz.flush(60)
    [run] = runs()
    assert [m.value for m in store.get_metric_history(run.info.run_id, "mine")] == [0.0, 2.0]


def test_without_a_run_the_fit_goes_on_and_is_recorded_all_the_same(
    dlviz, runs, binary, table, monkeypatch, caplog
):
    dlviz.autolog()
    plain = binary()
    with dlviz.paused():
        fit(plain, table)
    model = binary()
    monkeypatch.setattr(mlflow, "start_run", lambda **_: (_ for _ in ()).throw(OSError("no server")))
    fit(model, table)
    assert "can't be reached, training goes on" in caplog.text
    assert "no server" in caplog.text
    assert dlviz.flush(60)
    assert [run.info.status for run in runs()] == ["FINISHED"]
    assert runs()[0].data.tags["dlviz.status"] == "ok"
    for one, other in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_public_names_are_there():
    for name in mlflow_dlviz.__all__:
        assert getattr(mlflow_dlviz, name) is not None


def multi_output():
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(1, "sigmoid", name=name)(inputs) for name in "ab"]
    model = keras.Model(inputs, outputs)
    model.compile("adam", ["binary_crossentropy"] * 2)
    return model


@pytest.mark.parametrize("kind", ["integers", "several outputs", "ids"])
def test_the_model_is_logged_whatever_it_takes_and_gives(dlviz, runs, binary, table, kind):
    x, y, _ = table
    dlviz.autolog(visuals=["boundary"])
    if kind == "integers":
        binary().fit((10 * x).astype("int32"), y, epochs=1, verbose=0)
    elif kind == "several outputs":
        multi_output().fit(x, [y[:, None], y[:, None]], epochs=1, verbose=0)
    else:
        layers = [keras.layers.Embedding(50, 4), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")]
        model = keras.Sequential([keras.Input((6,), dtype="int32"), *layers])
        model.compile("adam", "binary_crossentropy")
        model.fit(np.random.default_rng(0).integers(0, 50, (120, 6)), y, epochs=1, verbose=0)
    dlviz.flush(60)
    [run] = runs()
    assert len(run.outputs.model_outputs) == 1
    assert run.data.tags["dlviz.status"] == "ok"


def test_a_formula_that_fails_takes_no_other_along(dlviz, binary, table):
    def broken(tp, tn, fp, fn):
        return tp[0] / fn[0]

    dlviz.autolog(
        log_models=False, visuals=[], metrics={"broken": broken, "miss": lambda tp, tn, fp, fn: fn / (fn + tp)}
    )
    history = fit(binary(), table).history
    assert {"val_mcc", "val_miss", "mcc"} <= history.keys()
    assert "broken" not in history


def test_ctrl_c_while_closing_ends_the_run_as_killed(dlviz, runs, binary, table, monkeypatch):
    from mlflow_dlviz.runlog import OpenLog

    def interrupted(self, more):
        raise KeyboardInterrupt

    dlviz.autolog(log_models=False, visuals=[])
    monkeypatch.setattr(OpenLog, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(binary(), table)
    assert [run.info.status for run in runs()] == ["KILLED"]
    assert mlflow.active_run() is None


def test_epochs_without_validation_do_not_scatter_the_histogram(dlviz, runs, binary, table):
    dlviz.autolog(log_models=False, visuals=["probabilities"])
    fit(binary(), table, epochs=4, validation_freq=2)
    dlviz.flush(60)
    frames = dlviz.load(runs()[0].info.run_id, "probabilities")
    assert {leaf: list(each) for leaf, each in frames.items()} == {"validation": [1, 3]}


def test_a_drawing_that_exits_does_not_end_the_drawing_of_others(dlviz, runs, binary, table):
    def leave(**arrays):
        raise SystemExit(3)

    good = dlviz.catalogue.boundary()
    bad = dlviz.Visual("bad", good.capture, leave, needs=("predict",), freeze=good.freeze)
    dlviz.autolog(log_models=False, visuals=[bad, "probabilities"])
    fit(binary(), table)
    assert dlviz.flush(60)
    assert runs()[0].data.tags["dlviz.status"] == "partial"
    assert runs()[0].data.metrics["dlviz/pictures_written"] > 0


def test_silent_is_undone_and_the_users_level_kept(dlviz):
    logger = logging.getLogger("mlflow_dlviz")
    before = logger.level
    try:
        logger.setLevel(logging.ERROR)
        dlviz.autolog()
        assert logger.level == logging.ERROR
        dlviz.autolog(silent=True)
        dlviz.autolog(silent=True)
        assert not logger.isEnabledFor(logging.ERROR)
        dlviz.autolog()
        assert logger.level == logging.ERROR
        dlviz.autolog(silent=True)
        dlviz.autolog(disable=True)
        assert logger.level == logging.ERROR
        dlviz.autolog(silent=True)
        logger.setLevel(logging.INFO)
        dlviz.autolog()
        assert logger.level == logging.INFO
    finally:
        logger.setLevel(before)


def test_silent_says_nothing_and_the_ledger_has_it(dlviz, runs, ledger, binary, table, caplog):
    dlviz.autolog(log_models=False, visuals=["boundary"], class_names=["a", "b", "c"], silent=True)
    fit(binary(), table)
    dlviz.flush(60)
    assert "mlflow_dlviz" not in caplog.text
    assert any(entry["what"] == "class_names" for entry in ledger(runs()[0]))
