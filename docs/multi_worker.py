"""Whether ``fit`` works under TensorFlow's MultiWorkerMirroredStrategy with the installed Keras.

``python docs/multi_worker.py`` starts two workers on loopback and prints how each ended.  No part of
mlflow_dlviz takes part in it.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from importlib.metadata import version

SECONDS = 180


def train() -> None:
    """What each worker does."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    import keras
    import numpy as np

    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
        model.compile("sgd", "binary_crossentropy")
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    print("loss by epoch:", model.fit(data, epochs=2, verbose=0).history["loss"])


def start_workers() -> list[subprocess.Popen]:
    """Two processes that know of each other through ``TF_CONFIG``."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    cluster = {"worker": [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]}
    for each in sockets:
        each.close()
    workers = []
    for index in range(2):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        settings = {"TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        command = [sys.executable, __file__, "worker"]
        workers.append(
            subprocess.Popen(
                command,
                env={**os.environ, **settings},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return workers


def last_words(said: str) -> str:
    """The last loss or the last exception, which may run over several lines."""
    lines = said.strip().splitlines()
    starts = [at for at, line in enumerate(lines) if re.match(r"loss by epoch|[\w.]+(Error|Exception)\b", line)]
    return " ".join(line.strip() for line in lines[starts[-1] if starts else -1 :])


def main() -> None:
    """Start both, wait, and print the end of what each said."""
    print(", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow")))
    workers = start_workers()
    try:
        for index, worker in enumerate(workers):
            said, _ = worker.communicate(timeout=SECONDS)
            print(f"worker {index}: {'ended well' if not worker.returncode else 'failed'}: {last_words(said)}")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


if __name__ == "__main__":
    train() if sys.argv[1:] == ["worker"] else main()
