"""Which data a run was trained on, as MLflow's dataset inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.numpy_dataset import from_numpy
from mlflow.entities import Dataset, DatasetInput, InputTag

from mlflow_dlviz.store.runs import Opened, client

_CONTEXT_TAG = "mlflow.data.context"


def log_dataset(opened: Opened, context: str, data: tuple[Any, Any], described: Mapping[str, Any]) -> None:
    """Log one dataset. context: "train" or "eval"; data: (x, y) as given to ``fit``; described: its shapes.

    Arrays are logged with MLflow's own digest and schema. Of anything that would have to be consumed for
    that (tf.data, generators) only the description is.
    """
    source = CodeDatasetSource(
        tags={name: value for name, value in opened.tags.items() if name.startswith("mlflow.source.")}
    )
    facts = (_arrays(data, source) or MetaDataset(source, name=context)).to_dict()  # type: ignore[abstract]
    entity = Dataset(
        name=facts["name"],
        digest=facts["digest"],
        source_type=facts["source_type"],
        source=facts["source"],
        schema=facts.get("schema"),
        profile=facts.get("profile") or json.dumps(described),
    )
    inputs = [DatasetInput(dataset=entity, tags=[InputTag(_CONTEXT_TAG, context)])]
    client(opened.ref).log_inputs(opened.ref.known_id, datasets=inputs)


def _arrays(data: tuple[Any, Any], source: CodeDatasetSource) -> Any:
    x, y = data
    if not isinstance(x, np.ndarray) or x.dtype.hasobject:
        return None
    # Its type hints leave out that targets may be None.
    targets: Any = y if isinstance(y, np.ndarray) else None
    return from_numpy(x, source=source, targets=targets)
