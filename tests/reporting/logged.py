"""Runs of any kind, logged to a real store."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from PIL import Image, ImageDraw


def picture(text: str, size=(300, 200), colour="#88bbee") -> Image.Image:
    image = Image.new("RGB", size, colour)
    ImageDraw.Draw(image).text((10, 10), text, fill="black", font_size=28)
    return image


def log_run(
    client: MlflowClient,
    experiment_id: str,
    *,
    name: str = "run",
    metrics=None,
    params=None,
    tags=None,
    pictures=None,
    status: str = "FINISHED",
) -> str:
    """metrics: {key: values by step, or (step, value) pairs}; pictures: {key: steps}."""
    run_id = client.create_run(experiment_id, run_name=name, tags=tags, start_time=1_700_000_000_000).info.run_id
    points = [
        Metric(key, float(value), 1_700_000_000_000 + 1000 * place, int(step))
        for key, values in (metrics or {}).items()
        for place, (step, value) in enumerate(values if isinstance(values[0], tuple) else enumerate(values))
    ]
    for start in range(0, len(points), 900):
        client.log_batch(run_id, metrics=points[start : start + 900])
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in (params or {}).items()])
    for key, steps in (pictures or {}).items():
        for step in steps:
            client.log_image(run_id, picture(f"{key} {step}"), key=key, step=step, timestamp=1_700_000_000_000)
    if status != "RUNNING":
        client.set_terminated(run_id, status, end_time=1_700_000_125_000)
    return run_id
