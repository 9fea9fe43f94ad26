"""Beside MLflow's own autologging, in any order: one run, and what stock logs is not logged again."""

from __future__ import annotations

import itertools

import keras
import mlflow
import pytest
from asking import fit, steps

OURS = {"best_epoch", "best_val_loss", "epoch_seconds", "learning_rate", "mcc", "val_mcc", "val_f1"}


STOCK = {
    "mlflow": mlflow.autolog,
    "keras": mlflow.keras.autolog,
    "tensorflow": mlflow.tensorflow.autolog,
}
# mlflow.autolog() is one of the other two, whichever was imported first: of three, these three say all.
PAIRS = [order for order in itertools.permutations(["dlviz", *STOCK], 2) if "dlviz" in order]
TRIPLES = list(itertools.permutations(["dlviz", "keras", "tensorflow"]))


@pytest.fixture
def stock(dlviz):
    yield STOCK
    for flavor in (mlflow.keras, mlflow.tensorflow):
        flavor.autolog(disable=True)
    mlflow.autolog(disable=True)


def enable(dlviz, stock, order):
    if {"mlflow", "tensorflow"} & {*order}:
        # TensorFlow 2.21 brings no tensorboard, and the tensorflow flavour's own fit raises without it.
        pytest.importorskip("tensorboard")
    for name in order:
        if name == "dlviz":
            dlviz.autolog(log_models=False, visuals=[])
        else:
            stock[name](log_models=False, silent=True)


@pytest.mark.parametrize(
    ("order", "users_run"),
    [*itertools.product(PAIRS, (False,)), *itertools.product(TRIPLES, (False,)), *((o, True) for o in PAIRS[:2])],
)
def test_one_run_beside_stock_autologging_in_any_order(dlviz, stock, store, runs, binary, table, order, users_run):
    enable(dlviz, stock, order)
    if users_run:
        with mlflow.start_run():
            fit(binary(), table, callbacks=[])
    else:
        fit(binary(), table, callbacks=[])
    mlflow.flush_async_logging()
    dlviz.flush(60)
    [run] = runs()
    assert run.data.metrics.keys() >= OURS
    for key in OURS - {"best_epoch", "best_val_loss"}:
        assert steps(store, run.info.run_id, key) == [0, 1], key


@pytest.mark.parametrize("order", [("dlviz", "keras"), ("keras", "dlviz")], ids="-".join)
@pytest.mark.parametrize("callbacks", [None, (), "single", "positional"])
def test_one_run_where_stock_autologging_alone_fails(dlviz, stock, runs, binary, table, order, callbacks):
    enable(dlviz, stock, order)
    x, y, validation = table
    if callbacks == "positional" and order[-1] == "keras":
        pytest.skip("stock raises TypeError before anyone below it is called")
    if callbacks == "positional":
        binary().fit(x, y, 32, 2, 0, [], 0.0, validation)
    else:
        given = keras.callbacks.TerminateOnNaN() if callbacks == "single" else callbacks
        fit(binary(), table, callbacks=given)
    dlviz.flush(60)
    [run] = runs()
    assert run.data.metrics.keys() >= OURS
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize(
    "order",
    [
        ("on", "stock", "off", "stock off"),
        ("on", "stock", "stock off", "off"),
        ("stock", "on", "off", "stock off"),
        ("stock", "on", "stock off", "off"),
        ("on", "stock", "on", "off", "stock off"),
    ],
    ids="-".join,
)
def test_disable_puts_keras_back_beside_stock(dlviz, order):
    actions = {
        "on": dlviz.autolog,
        "off": lambda: dlviz.autolog(disable=True),
        "stock": lambda: mlflow.keras.autolog(silent=True),
        "stock off": lambda: mlflow.keras.autolog(disable=True),
    }
    before = keras.callbacks.CallbackList.__init__, keras.Model.fit, "fit" in vars(keras.Model)
    for action in order:
        actions[action]()
    assert (keras.callbacks.CallbackList.__init__, keras.Model.fit, "fit" in vars(keras.Model)) == before


def test_turning_us_off_leaves_stock_autologging_on(dlviz, stock, runs, binary, table):
    dlviz.autolog()
    stock["keras"](log_models=False, silent=True)
    dlviz.autolog(disable=True)
    fit(binary(), table, callbacks=[])
    [run] = runs()
    assert "val_mcc" not in run.data.metrics
    assert "val_loss" in run.data.metrics
