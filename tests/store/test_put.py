"""Sending: everything arrives, and what a server refuses costs nothing else."""

from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from mlflow_dlviz.store.batch import Batch, End, SavedModel, TimedImage
from mlflow_dlviz.store.models import save_model
from mlflow_dlviz.store.put import put
from mlflow_dlviz.store.runs import RunRef


@pytest.fixture
def ref(store):
    run = store.create_run(mlflow.get_experiment_by_name("test").experiment_id)
    return RunRef(mlflow.get_tracking_uri(), run.info.run_id)


def test_everything_of_a_large_batch_arrives(store, ref):
    metrics = [Metric("loss", float(step), 1, step) for step in range(1203)]
    params = {f"p{index}": str(index) for index in range(230)}
    tags = {f"t{index}": str(index) for index in range(130)}
    assert put(ref, Batch(metrics, params, tags, {"dlviz/a.txt": b"a", "b.txt": b"b"})) == []
    run = store.get_run(ref.run_id)
    assert [m.value for m in store.get_metric_history(ref.run_id, "loss")] == list(range(1203))
    assert run.data.params == params
    assert run.data.tags.items() >= tags.items()
    assert Path(store.download_artifacts(ref.run_id, "dlviz/a.txt")).read_bytes() == b"a"
    assert {file.path for file in store.list_artifacts(ref.run_id)} == {"dlviz", "b.txt"}


def test_an_empty_batch_asks_nothing_of_the_server():
    assert put(RunRef("http://127.0.0.1:1", "none"), Batch()) == []


def test_a_parameter_that_has_another_value_is_refused_alone(store, ref):
    store.log_param(ref.run_id, "b", "old")
    metrics = [Metric("loss", 1.0, 1, 0)]
    refused = put(ref, Batch(metrics, {"a": "1", "b": "new", "c": "3"}, {"tag": "x"}))
    assert len(refused) == 1
    assert "'b'" in refused[0]
    assert "'new'" in refused[0]
    run = store.get_run(ref.run_id)
    assert run.data.params == {"a": "1", "b": "old", "c": "3"}
    assert run.data.metrics == {"loss": 1.0}
    assert run.data.tags["tag"] == "x"


def test_long_values_are_cut(store, ref):
    put(ref, Batch(params={"p": "x" * 9000}, tags={"t": "y" * 9000}))
    run = store.get_run(ref.run_id)
    assert run.data.params["p"] == "x" * 6000
    assert run.data.tags["t"] == "y" * 8000


def test_nan_and_infinity_are_metrics(store, ref):
    put(ref, Batch([Metric("a", float("nan"), 1, 0), Metric("b", float("inf"), 1, 0)]))
    metrics = store.get_run(ref.run_id).data.metrics
    assert np.isnan(metrics["a"])
    assert metrics["b"] > 1e300


def test_what_mlflow_raises_is_raised(ref):
    with pytest.raises(MlflowException):
        put(ref, Batch([Metric("a\n?", 1.0, 1, 0)]))
    with pytest.raises(MlflowException):
        put(RunRef(ref.tracking_uri, "0" * 32), Batch(tags={"a": "b"}))


def test_the_end_is_that_of_the_training(store, ref):
    put(ref, Batch(end=End("KILLED", 1_700_000_000_000)))
    info = store.get_run(ref.run_id).info
    assert (info.status, info.end_time) == ("KILLED", 1_700_000_000_000)


def image(key="mine/leaf", step=3, timestamp=5):
    return TimedImage(key, step, timestamp, b"png", b"webp")


def everything(model):
    dataset = {"context": "train", "name": "d", "digest": "1", "source_type": "code", "source": "{}"}
    return Batch(
        [Metric("m", 1.5, 7, 0), Metric("m", float("nan"), 8, 1)],
        {"p": "1"},
        {"t": "1"},
        {"dlviz/f.txt": b"1"},
        [image(), image(step=4)],
        [dataset],
        [model],
        end=End("FINISHED", 9),
    )


def test_sent_twice_it_is_there_once(store, ref):
    import keras

    model = save_model(
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), np.zeros((1, 2)), np.zeros((1, 1))
    )
    for _ in range(2):
        # As from the spool: unpacked again each time, known by its id.
        assert put(ref, everything(SavedModel("model", model.folder, model.id))) == []
    run = store.get_run(ref.run_id)
    assert len(store.get_metric_history(ref.run_id, "m")) == 2
    assert len(store.list_artifacts(ref.run_id, "images")) == 4
    assert run.data.tags["mlflow.loggedImages"] == "True"
    assert len(run.inputs.dataset_inputs) == 1
    [output] = run.outputs.model_outputs
    assert str(store.get_logged_model(output.model_id).status) == "READY"
    loaded = mlflow.keras.load_model(f"models:/{output.model_id}")
    assert loaded.predict(np.zeros((1, 2)), verbose=0).shape == (1, 1)


def test_what_only_a_server_can_take_is_said_and_is_no_passing_fault(store, tmp_path):
    experiment = store.create_experiment("servers", artifact_location="mlflow-artifacts:/1")
    run = store.create_run(experiment)
    with pytest.raises(MlflowException, match="set MLFLOW_TRACKING_URI") as raised:
        put(RunRef(mlflow.get_tracking_uri(), run.info.run_id), Batch(files={"a.txt": b"a"}))
    assert raised.value.get_http_status_code() == 400


@pytest.mark.parametrize("path", ["../x", "/tmp/dlviz-escaped", "a/../../x", "..", "", "."])
def test_no_file_is_written_outside_the_artifacts(ref, path):
    with pytest.raises(ValueError, match="leaves the run's artifacts"):
        put(ref, Batch(files={path: b"x", "good": b"x"}))
    assert not Path("/tmp/dlviz-escaped").exists()
