"""Artifact files of many runs, from a real store."""

from __future__ import annotations

import io

import pytest
from mlflow import MlflowClient
from PIL import Image

from mlflow_dlviz.store import artifacts, images

KEY = "activations/03.conv2d_1 a-b"


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> MlflowClient:
    folder = tmp_path_factory.mktemp("artifacts")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    client.create_experiment("files", artifact_location=(folder / "artifacts").as_uri())
    return client


@pytest.fixture
def run_id(client) -> str:
    return client.create_run(client.get_experiment_by_name("files").experiment_id).info.run_id


def test_folders_are_listed_with_their_folders(client, run_id):
    client.log_text(run_id, "a", "top/a.txt")
    client.log_text(run_id, "b", "top/inner/b.txt")
    places = [(run_id, "top"), (run_id, "none"), ("0" * 32, "top")]
    seen = []
    found = artifacts.list_folders(client, places, progress=lambda *now: seen.append(now))
    assert list(found) == places
    assert sorted(found[run_id, "top"].data) == ["top/a.txt", "top/inner/"]
    assert found[run_id, "none"].data == []
    assert found["0" * 32, "top"].data is None
    assert "not found" in found["0" * 32, "top"].reason
    assert seen[-1] == (3, 3)


def test_an_address_that_is_known_saves_a_question(client, run_id, monkeypatch):
    client.log_text(run_id, "a", "a.txt")
    uri = client.get_run(run_id).info.artifact_uri
    monkeypatch.setattr(client, "get_run", None)
    found = artifacts.fetch_artifacts(client, [(run_id, "a.txt")], uris={run_id: uri})
    assert found[run_id, "a.txt"].data == b"a"
    assert artifacts.list_folders(client, [(run_id, "")], uris={run_id: uri})[run_id, ""].data == ["a.txt"]


def test_many_come_back_in_the_order_asked_for(client, run_id, capfd):
    for step in range(4):
        client.log_image(run_id, Image.new("RGB", (30, 20)), key=KEY, step=step)
    wanted = [(run_id, ref.path) for ref in images.list_images(client, run_id)]
    seen = []
    found = artifacts.fetch_artifacts(client, [*wanted, wanted[0]], progress=lambda *now: seen.append(now))
    assert list(found) == wanted
    assert all(Image.open(io.BytesIO(each.data)).size == (30, 20) for each in found.values())
    assert seen[-1] == (4, 4)
    # MLflow's own download draws a progress bar for each file.
    assert capfd.readouterr().err == ""


def test_files_are_converted_as_they_are_read(client, run_id):
    client.log_text(run_id, "abcdef", "a.txt")
    place = (run_id, "a.txt")
    assert artifacts.fetch_artifacts(client, [place], convert=lambda data: data[:4])[place].data == b"abcd"

    def fail(data):
        raise SyntaxError("broken")

    read = artifacts.fetch_artifacts(client, [place], convert=fail, what="image")
    assert read[place] == artifacts.Fetched(None, "not a readable image (SyntaxError)")
    missing = (run_id, "none.txt")
    assert artifacts.fetch_artifacts(client, [missing], convert=fail)[missing].data is None
