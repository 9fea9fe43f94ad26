"""Which data a run was trained on, as MLflow's dataset inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.numpy_dataset import from_numpy
from mlflow.entities import Dataset, DatasetInput, InputTag

from mlflow_dlviz.store.runs import RunRef, client

_CONTEXT_TAG = "mlflow.data.context"
_FACTS = ("name", "digest", "source_type", "source", "schema", "profile")


def describe_dataset(
    tags: Mapping[str, str], context: str, data: tuple[Any, Any], described: Mapping[str, Any]
) -> dict[str, str]:
    """What MLflow keeps of one dataset. context: "train" or "eval"; data: (x, y) as given to ``fit``; described:
    its shapes; tags: the run's.

    Arrays get MLflow's own digest and schema. Of anything that would have to be consumed for that (tf.data,
    generators) only the description is kept.
    """
    source = CodeDatasetSource(
        tags={name: value for name, value in tags.items() if name.startswith("mlflow.source.")}
    )
    facts = (_arrays(data, source) or MetaDataset(source, name=context)).to_dict()  # type: ignore[abstract]
    facts["profile"] = facts.get("profile") or json.dumps(described)
    return {"context": context, **{name: facts[name] for name in _FACTS if facts.get(name)}}


def put_datasets(ref: RunRef, datasets: Sequence[Mapping[str, str]]) -> None:
    """Log datasets as described above to the run."""
    inputs = []
    for facts in datasets:
        tags = [InputTag(_CONTEXT_TAG, facts["context"])]
        inputs.append(DatasetInput(Dataset(**{name: facts[name] for name in _FACTS if name in facts}), tags))
    client(ref).log_inputs(ref.known_id, datasets=inputs)


def _arrays(data: tuple[Any, Any], source: CodeDatasetSource) -> Any:
    x, y = data
    if not isinstance(x, np.ndarray) or x.dtype.hasobject:
        return None
    # Its type hints leave out that targets may be None.
    targets: Any = y if isinstance(y, np.ndarray) else None
    return from_numpy(x, source=source, targets=targets)
