"""Names and bytes of MLflow's time-stepped images, against what MLflow itself writes."""

from __future__ import annotations

import io
import re

import pytest
from mlflow import MlflowClient
from PIL import Image

from mlflow_dlviz.store import images
from mlflow_dlviz.store import put as put_module
from mlflow_dlviz.store.batch import Batch, TimedImage
from mlflow_dlviz.store.runs import RunRef

KEY = "activations/03.conv2d_1 a-b"


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> MlflowClient:
    folder = tmp_path_factory.mktemp("images")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    client.create_experiment("pictures", artifact_location=(folder / "artifacts").as_uri())
    return client


@pytest.fixture
def run_id(client) -> str:
    return client.create_run(client.get_experiment_by_name("pictures").experiment_id).info.run_id


def encoded(colour: str, kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(out, kind)
    return out.getvalue()


def shape_of(path: str) -> str:
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>", path)


def test_files_are_named_as_log_image_names_them(client, run_id):
    client.log_image(run_id, Image.new("RGB", (30, 20)), key=KEY, step=7, timestamp=123)
    theirs = [file.path for file in client.list_artifacts(run_id, images.FOLDER)]
    ours = images.image_files(KEY, 7, b"png", b"webp", timestamp=123)
    assert sorted(map(shape_of, ours)) == sorted(map(shape_of, theirs))
    assert sorted(ours.values()) == [b"png", b"webp"]
    tag, value = images.logged_images_tag()
    assert client.get_run(run_id).data.tags[tag] == value


def test_the_same_picture_has_the_same_name():
    once, again = (images.image_files(KEY, 7, b"a", b"b", timestamp=5) for _ in range(2))
    assert once == again
    assert not set(once) & set(images.image_files(KEY, 8, b"a", b"b", timestamp=5))
    assert not set(once) & set(images.image_files("other", 7, b"a", b"b", timestamp=5))


@pytest.mark.parametrize("key", ["", "a+b", "a~b", "ä", "a\nb"])
def test_a_key_that_mlflow_would_refuse_is_refused(key):
    with pytest.raises(ValueError, match="key="):
        images.image_files(key, 0, b"", b"", timestamp=1)


def test_what_was_logged_is_listed(client, run_id):
    for step in (10, 2):
        client.log_image(run_id, Image.new("RGB", (30, 20)), key=KEY, step=step, timestamp=9)
    client.log_image(run_id, Image.new("RGB", (30, 20)), key="plain", step=0)
    client.log_image(run_id, Image.new("RGB", (30, 20)), "images/not-stepped.png")
    found = images.list_images(client, run_id)
    assert [(ref.key, ref.step) for ref in found] == [(KEY, 2), (KEY, 10), ("plain", 0)]
    for ref in found:
        assert ref.path.endswith(".png")
        assert ref.thumbnail_path.endswith("+compressed.webp")


def test_names_of_older_versions_are_read():
    stem = "images/a#b%step%3%timestamp%17%0b7cf8f4-0000-0000-0000-000000000000"
    [ref] = images.pair_names([f"{stem}%compressed.webp", f"{stem}.png"])
    assert ref == images.ImageRef("a/b", 3, 17, f"{stem}.png", f"{stem}%compressed.webp")


def test_of_two_pictures_at_one_step_the_later_counts():
    early, late = (images.image_files("k", 1, b"", b"", timestamp=time) for time in (5, 12))
    [ref] = images.pair_names([*late, *early])
    assert ref.timestamp == 12


def test_other_files_are_passed_over():
    assert images.pair_names(["images/x.png", "images/a+step+x+timestamp+1+u.png", "images/notes.txt"]) == []
    [ref] = images.pair_names(["images/k+step+1+timestamp+2+abc+compressed.webp"])
    assert (ref.path, ref.key) == ("", "k")


def test_an_image_comes_back_or_says_why_not(client, run_id, capfd):
    client.log_image(run_id, Image.new("RGB", (30, 20), "red"), key=KEY, step=0)
    [ref] = images.list_images(client, run_id)
    found = images.fetch_image(client, run_id, ref.path)
    assert found.reason == ""
    assert Image.open(io.BytesIO(found.data)).size == (30, 20)
    missing = images.fetch_image(client, run_id, "images/none.png")
    assert missing.data is None
    assert missing.reason
    assert images.fetch_image(client, "0" * 32, "images/none.png").data is None
    # MLflow's own download draws a progress bar for each file.
    assert capfd.readouterr().err == ""


def test_the_tag_tells_which_runs_have_images(client, run_id):
    assert not images.has_images(client.get_run(run_id).data.tags)
    client.log_image(run_id, Image.new("RGB", (30, 20)), key=KEY, step=0)
    assert images.has_images(client.get_run(run_id).data.tags)


@pytest.fixture
def asked_anew():
    images.names_are_known.cache_clear()
    yield
    images.names_are_known.cache_clear()


def test_the_names_of_the_installed_mlflow_are_known(asked_anew):
    assert images.names_are_known()


def renamed(original):
    """``log_image`` of an MLflow that names its files in another way."""

    def log_image(self, run_id, image, artifact_file=None, key=None, step=None, timestamp=None, synchronous=None):
        name = f"images/{key.replace('/', '~')}@{step}@{timestamp}"
        with self._log_artifact_helper(run_id, f"{name}.png") as path:
            image.save(path)

    return log_image


def resigned(original):
    def log_image(self, run_id, picture):
        raise AssertionError("never gets here")

    return log_image


def twice(original):
    """One that also writes a third file."""

    def log_image(self, run_id, image, *args, **kwargs):
        original(self, run_id, image, *args, **kwargs)
        with self._log_artifact_helper(run_id, "images/index.json") as path:
            open(path, "w").close()

    return log_image


@pytest.mark.parametrize("change", [renamed, resigned, twice])
def test_another_way_of_naming_is_noticed(asked_anew, monkeypatch, change):
    monkeypatch.setattr(MlflowClient, "log_image", change(MlflowClient.log_image))
    assert not images.names_are_known()


def test_without_the_inner_call_nothing_is_taken_for_granted(asked_anew, monkeypatch):
    monkeypatch.delattr(MlflowClient, "_log_artifact_helper")

    def log_image(self, run_id, image, **kwargs):
        """An MLflow that writes in a way we can't listen to; and it sends nothing from here."""

    monkeypatch.setattr(MlflowClient, "log_image", log_image)
    assert not images.names_are_known()


def test_asking_leaves_no_trace(asked_anew, client):
    before = [
        run.info.run_id for run in client.search_runs([e.experiment_id for e in client.search_experiments()])
    ]
    images.names_are_known()
    after = [run.info.run_id for run in client.search_runs([e.experiment_id for e in client.search_experiments()])]
    assert before == after


def test_under_unknown_names_pictures_go_through_the_public_call_once(client, run_id, monkeypatch):
    calls, original = [], MlflowClient.log_image

    def log_image(self, run_id, image, **kwargs):
        calls.append(kwargs)
        return original(self, run_id, image, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_image", log_image)
    monkeypatch.setattr(put_module, "names_are_known", lambda: False)
    ref = RunRef(client.tracking_uri, run_id)
    batch = Batch(
        images=[TimedImage(KEY, step, 9, encoded("red", "png"), encoded("red", "webp")) for step in (0, 3)]
    )
    for _ in range(2):
        assert put_module.put(ref, batch) == []
    assert [(call["key"], call["step"], call["timestamp"]) for call in calls] == [(KEY, 0, 9), (KEY, 3, 9)]
    assert [(ref.key, ref.step) for ref in images.list_images(client, run_id)] == [(KEY, 0), (KEY, 3)]
