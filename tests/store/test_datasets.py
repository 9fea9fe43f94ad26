"""The data a run was trained on, as MLflow's own dataset inputs."""

import json

import mlflow
import numpy as np
import pytest

from mlflow_dlviz.store.datasets import log_dataset
from mlflow_dlviz.store.runs import open_run

X, Y = np.arange(12.0).reshape(6, 2), np.arange(6)


@pytest.fixture
def logged(store):
    def log(*data, described=None):
        opened = open_run({})
        for context, each in zip(("train", "eval"), data, strict=False):
            log_dataset(opened, context, each, described or {})
        mlflow.end_run()
        return store.get_run(opened.ref.run_id).inputs.dataset_inputs

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
