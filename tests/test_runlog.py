"""What one fit writes besides pictures: epochs, best values, parameters, the ledger."""

from __future__ import annotations

import json

import mlflow
import pytest

from mlflow_dlviz import histories, options
from mlflow_dlviz.process import flush
from mlflow_dlviz.runlog import OpenLog
from mlflow_dlviz.store import names
from mlflow_dlviz.store.runs import Limits, open_run
from mlflow_dlviz.store.spool import find_spools

NAN = float("nan")


def chosen(**changes):
    """The options of a fit without pictures."""
    given = {"cadence": None, "probe": 64, "seed": 0, "metrics": None, "class_names": None, "monitor": None}
    given |= {"weighted": False, "log_models": False, "deadline": 10.0, "offline": False}
    return options.check(visuals=[], **{**given, **changes})


@pytest.fixture
def logged(store, limits):
    """The run in which a fit logged these epochs, as a function; ``monitor`` and the first epoch may be given."""

    def fit(epochs, monitor=None, first=0, stock=False, more=None):
        opened = open_run({}, limits)
        log = OpenLog(opened, first, chosen(monitor=monitor), stock=stock)
        for epoch, logs in enumerate(epochs, first):
            log.epoch(epoch, logs)
        log.finish(more or {})
        log.end("FINISHED")
        assert flush(60)
        return store.get_run(opened.ref.run_id)

    return fit


def losses(*values, name="loss"):
    return [{name: value} for value in values]


def best(run):
    return {name: value for name, value in run.data.metrics.items() if name.startswith("best_")}


def ledger(run):
    return json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/dlviz/ledger.json"))


@pytest.mark.parametrize(
    ("values", "epoch"),
    [((3.0, 1.0, 2.0), 1), ((1.0, 1.0, 1.0), 0), ((NAN, 2.0, NAN, 1.0), 3), ((float("inf"), 5.0), 1)],
    ids=["least", "tie", "nan", "infinite"],
)
def test_the_best_epoch_is_the_first_of_the_best_finite_values(logged, values, epoch):
    assert best(logged(losses(*values))) == {"best_epoch": epoch, "best_loss": values[epoch]}


def test_without_a_finite_value_there_is_no_best(logged):
    run = logged(losses(NAN, NAN))
    assert best(run) == {}
    assert run.data.tags["dlviz.status"] == "ok"


def test_the_validation_loss_decides_where_there_is_one(logged):
    epochs = [
        {"loss": 1.0, "val_loss": 5.0, "learning_rate": 0.1},
        {"loss": 2.0, "val_loss": 4.0, "learning_rate": 0.1},
    ]
    assert best(logged(epochs)) == {"best_epoch": 1, "best_loss": 2.0, "best_val_loss": 4.0}


def test_scores_are_best_when_greatest(logged):
    epochs = [{"val_mcc": value} for value in (0.1, 0.9, 0.5)]
    assert best(logged(epochs, monitor="val_mcc")) == {"best_epoch": 1, "best_val_mcc": 0.9}


def test_a_monitor_that_is_not_logged_is_said_once(logged, caplog):
    run = logged([{"loss": 1.0}, {"loss": 0.5}], monitor="val_f2")
    assert best(run) == {}
    assert caplog.text.count("monitor='val_f2' is not among the logged ['loss']") == 1
    assert any("val_f2" in entry["why"] for entry in ledger(run)["entries"])


def test_a_monitor_that_comes_later_decides_from_then_on(logged):
    epochs = [{"loss": 1.0}, {"loss": 0.9, "val_loss": 3.0}, {"loss": 0.8}, {"loss": 0.7, "val_loss": 4.0}]
    assert best(logged(epochs)) == {"best_epoch": 1, "best_loss": 0.9, "best_val_loss": 3.0}


def test_a_monitor_of_some_epochs_is_not_called_missing(logged, caplog):
    assert best(logged([{"loss": 1.0}, {"loss": 0.9, "val_mcc": 0.5}], monitor="val_mcc"))["best_epoch"] == 1
    assert not caplog.records


def test_a_second_fit_goes_on_after_the_first(store, logged):
    with mlflow.start_run():
        logged(losses(3.0, 1.0))
        run = logged(losses(2.0, 0.5, 4.0))
    assert [m.step for m in store.get_metric_history(run.info.run_id, "loss")] == [0, 1, 2, 3, 4]
    assert best(run) == {"best_epoch": 3, "best_loss": 0.5}


def test_the_best_of_both_fits_may_be_in_the_first(logged):
    with mlflow.start_run():
        logged(losses(3.0, 1.0))
        run = logged(losses(2.0))
    assert best(run) == {"best_epoch": 1, "best_loss": 1.0}


def test_another_process_goes_on_after_the_first(store, logged):
    run = logged(losses(3.0, 1.0))
    histories.forget_all()
    with mlflow.start_run(run_id=run.info.run_id):
        logged(losses(2.0))
    assert [m.step for m in store.get_metric_history(run.info.run_id, "loss")] == [0, 1, 2]


def test_an_initial_epoch_is_kept(store, logged):
    run = logged(losses(3.0, 1.0), first=5)
    assert [m.step for m in store.get_metric_history(run.info.run_id, "loss")] == [5, 6]
    with mlflow.start_run(run_id=run.info.run_id):
        logged(losses(0.5), first=7)
        logged(losses(0.4), first=2)
    assert [m.step for m in store.get_metric_history(run.info.run_id, "loss")] == [5, 6, 7, 8]


def test_beside_stock_only_our_own_is_logged(logged):
    run = logged(losses(3.0, 1.0), stock=True)
    assert "loss" not in run.data.metrics
    assert run.data.metrics["best_loss"] == 1.0


def test_names_that_mlflow_refuses_cost_nothing_else(logged):
    run = logged([{"loss": 1.0, "f1 (macro)?": 0.5, "../a": 0.25, "a//b": 0.125}])
    assert run.data.metrics["loss"] == 1.0
    assert run.data.metrics[names.clean_metric("f1 (macro)?")] == 0.5
    assert {0.25, 0.125} <= {*run.data.metrics.values()}
    assert run.data.tags["dlviz.status"] == "ok"


def test_the_cost_of_watching_is_logged(store, limits):
    opened = open_run({}, limits)
    log = OpenLog(opened, 0, chosen(), stock=False)
    with log.guarded("outer"), log.guarded("inner"):
        sum(range(100_000))
    log.epoch_took(2.0, 100)
    log.epoch(0, {"loss": 1.0})
    log.finish({"stopped_epoch": 0.0})
    log.end("FINISHED")
    assert flush(60)
    metrics = store.get_run(opened.ref.run_id).data.metrics
    assert 0 < metrics["dlviz/training_thread_seconds"] < 1
    assert metrics["epoch_seconds"] == 2
    assert metrics["samples_per_second"] == 50
    assert metrics["stopped_epoch"] == 0


def test_what_fails_in_our_work_is_kept_and_goes_no_further(store, limits, caplog):
    opened = open_run({}, limits)
    log = OpenLog(opened, 0, chosen(), stock=False)
    with log.guarded("the recorder", 3):
        raise RuntimeError("my mistake")
    with pytest.raises(KeyboardInterrupt), log.guarded("the recorder"):
        raise KeyboardInterrupt
    [entry] = log.run.ledger.entries
    assert (entry.what, entry.step) == ("the recorder", 3)
    assert caplog.text.count("my mistake") == 1
    log.finish({})
    log.end("FINISHED")
    assert flush(60)


def test_the_numbers_are_there_when_the_end_returns_if_the_server_answers(store, limits):
    opened = open_run({}, limits)
    log = OpenLog(opened, 0, chosen(), stock=False)
    log.epoch(0, {"loss": 1.0})
    log.finish({})
    log.end("KILLED")
    found = store.get_run(opened.ref.run_id)
    assert found.info.status == "KILLED"
    assert found.data.metrics["best_loss"] == 1.0
    assert flush(60)


def test_parameters_of_the_first_fit_stay_and_all_settings_are_kept(store, limits):
    with mlflow.start_run() as run:
        for rate in ("0.1", "0.2"):
            log = OpenLog(open_run({}, limits), 0, chosen(), stock=False)
            log.params({"rate": rate}, {"rate": rate, "all": "1"})
            log.end("FINISHED")
    assert flush(60)
    assert store.get_run(run.info.run_id).data.params == {"rate": "0.1"}
    fits = json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/dlviz/fits.json"))
    assert fits == [{"rate": "0.1", "all": "1"}, {"rate": "0.2", "all": "1"}]
    assert not any(entry["what"].startswith("parameter") for entry in ledger(run)["entries"])


def test_offline_all_is_in_the_spool_and_nothing_on_the_server(store, runs, spool_root):
    limits = Limits(spool_root, offline=True)
    log = OpenLog(open_run({}, limits), 0, chosen(offline=True), stock=False)
    log.epoch(0, {"loss": 1.0})
    log.finish({})
    log.end("FINISHED")
    assert flush(60)
    assert runs() == []
    [spool] = find_spools(spool_root)
    waiting = [item.what for item in spool.waiting()]
    assert waiting[:2] == ["metrics of epoch 0", "best values"]
    assert {*waiting[2:]} == {"the end of the run", "the run's page"}
    assert spool.plan.closed
    assert json.loads(spool.ledger())["status"] == "ok"


def test_a_metric_of_the_users_own_stays_what_it_is(logged, store):
    run = logged([{"loss": 1.0, "epoch_seconds": 7.0}])
    assert run.data.metrics["epoch_seconds"] == 7.0
