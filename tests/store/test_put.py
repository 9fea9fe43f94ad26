"""Sending: everything arrives, and what a server refuses costs nothing else."""

import io
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from mlflow_dlviz.store.put import Batch, merge, pack, put
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


def test_of_merged_batches_the_later_wins_and_metrics_keep_their_order():
    one, two = (Metric("loss", float(value), 1, value) for value in range(2))
    merged = merge(
        [Batch([one], {"p": "1"}, {"t": "1", "u": "1"}, {"f": b"1"}), Batch([two], {}, {"t": "2"}, {"f": b"2"})]
    )
    assert merged == Batch([one, two], {"p": "1"}, {"t": "2", "u": "1"}, {"f": b"2"})


def test_packed_arrays_never_need_unpickling():
    arrays = {
        "a": np.arange(3),
        "text": np.asarray(["ü", "<b>"]),
        "zero": np.asarray(3.5),
        "yes": np.asarray(True),
    }
    with np.load(io.BytesIO(pack(arrays)), allow_pickle=False) as stored:
        for name, value in arrays.items():
            np.testing.assert_array_equal(stored[name], value)
    with pytest.raises(TypeError, match="'bad' has dtype object"):
        pack({"bad": np.asarray([None])})
