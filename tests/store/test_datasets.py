"""The data a run was trained on, as MLflow's own dataset inputs."""

import json

import mlflow
import numpy as np
import pytest

from mlflow_dlviz.store.datasets import describe_dataset, put_datasets
from mlflow_dlviz.store.runs import RunRef

X, Y = np.arange(12.0).reshape(6, 2), np.arange(6)


@pytest.fixture
def logged(store):
    def log(*data, described=None):
        run = store.create_run(mlflow.get_experiment_by_name("test").experiment_id)
        facts = [
            describe_dataset(run.data.tags, context, each, described or {})
            for context, each in zip(("train", "eval"), data, strict=False)
        ]
        # What waits in a spool is JSON.
        put_datasets(RunRef(mlflow.get_tracking_uri(), run.info.run_id), json.loads(json.dumps(facts)))
        return store.get_run(run.info.run_id).inputs.dataset_inputs

    return log


def test_arrays_have_mlflows_own_digest_and_schema(logged):
    [found] = logged((X, Y))
    reference = mlflow.data.from_numpy(X, targets=Y)
    assert found.dataset.digest == reference.digest
    assert json.loads(found.dataset.schema) == json.loads(reference.to_dict()["schema"])


def test_training_and_validation_are_told_apart(logged):
    found = logged((X, Y), (X[:3], Y[:3]))
    assert {item.tags[0].value for item in found} == {"train", "eval"}
    assert {item.tags[0].key for item in found} == {"mlflow.data.context"}


def test_arrays_without_targets(logged):
    [found] = logged((X, None))
    assert found.dataset.digest == mlflow.data.from_numpy(X).digest


@pytest.mark.parametrize(
    "data",
    [(iter([X]), None), ({"a": X}, Y), (np.asarray([{}, {}], dtype=object), Y)],
    ids=["iterator", "dict", "objects"],
)
def test_what_would_have_to_be_consumed_is_only_described(logged, data):
    [found] = logged(data, described={"samples": None, "features": {"type": "generator"}})
    assert json.loads(found.dataset.profile)["features"] == {"type": "generator"}
    if not isinstance(data[0], dict | np.ndarray):
        assert next(data[0]) is X


def test_the_source_is_that_of_the_run():
    tags = {"mlflow.source.name": "train.py", "mlflow.source.git.commit": "abc", "other": "x"}
    facts = describe_dataset(tags, "train", (X, Y), {})
    assert json.loads(facts["source"])["tags"] == {
        "mlflow.source.name": "train.py",
        "mlflow.source.git.commit": "abc",
    }
