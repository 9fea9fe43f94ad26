"""What waits on disk comes back as it was, whatever its names are; and what is damaged says so."""

from __future__ import annotations

import ast
import io
import json
import math
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mlflow.entities import Metric

import mlflow_dlviz
from mlflow_dlviz.store.batch import (
    SCHEMA,
    Batch,
    End,
    SavedModel,
    TimedImage,
    merge,
    pack,
    read_batch,
    read_what,
    write_batch,
)

HOSTILE = [
    "../../x",
    "..",
    "/etc/passwd",
    "a/b",
    "quo\"te's",
    "new\nline",
    "\ud800",
    "ü<b>&",
    "x" * 500,
    "",
    "\x00",
]


def facts(metrics):
    """NaN is not equal to itself, so values are compared as text."""
    return [(metric.key, repr(metric.value), metric.timestamp, metric.step) for metric in metrics]


def there_and_back(batch, folder, what="it"):
    path = folder / "00000001.zip"
    with path.open("w+b") as file:
        write_batch(batch, file, what)
    return read_batch(path, folder / "scratch")


def a_model(folder, **files):
    for name, content in {"MLmodel": b"facts", "data/model.keras": bytes(range(256)), **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return SavedModel("model", folder)


def of_everything(folder):
    return Batch(
        [Metric("loss", 0.5, 7, 3)],
        {"p": "1"},
        {"t": "2"},
        {"dlviz/a.npz": b"\x00\xff", "empty": b""},
        [TimedImage("mine/leaf", 3, 8, b"png", b"webp")],
        [{"context": "train", "name": "d"}],
        [a_model(folder / "model")],
        page=True,
        end=End("KILLED", 9),
    )


def test_everything_comes_back(tmp_path):
    batch = of_everything(tmp_path)
    back = there_and_back(batch, tmp_path)
    assert facts(back.metrics) == facts(batch.metrics)
    for field in ("params", "tags", "files", "images", "datasets", "page", "end"):
        assert getattr(back, field) == getattr(batch, field), field
    [model] = back.models
    assert (model.name, model.id) == (batch.models[0].name, batch.models[0].id)
    assert (model.folder / "data" / "model.keras").read_bytes() == bytes(range(256))
    assert (model.folder / "MLmodel").read_bytes() == b"facts"
    assert model.folder.is_relative_to(tmp_path / "scratch")


def test_nothing_comes_back_as_nothing(tmp_path):
    assert there_and_back(Batch(), tmp_path) == Batch(metrics=[], images=[], datasets=[], models=[])


TEXT = st.text(st.characters(exclude_categories=()), max_size=30) | st.sampled_from(HOSTILE)
NUMBERS = st.floats(width=64) | st.sampled_from(
    [math.nan, math.inf, -math.inf, 1.7976931348623157e308, 5e-324, -0.0]
)
STEPS = st.integers(-(2**63), 2**63 - 1)
METRICS = st.lists(st.builds(Metric, TEXT, NUMBERS, STEPS, STEPS), max_size=5)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    metrics=METRICS,
    texts=st.dictionaries(TEXT, TEXT, max_size=4),
    files=st.dictionaries(TEXT, st.binary(max_size=40), max_size=4),
    images=st.lists(
        st.builds(TimedImage, TEXT, STEPS, STEPS, st.binary(max_size=9), st.binary(max_size=9)), max_size=3
    ),
    what=TEXT,
)
@example(
    metrics=[Metric(name, math.nan, 0, 0) for name in HOSTILE],
    texts=dict(zip(HOSTILE, HOSTILE, strict=True)),
    files=dict.fromkeys(HOSTILE, b"x"),
    images=[TimedImage(name, 0, 0, b"", b"") for name in HOSTILE],
    what="../../x",
)
def test_any_names_and_numbers_come_back_and_stay_within_their_file(tmp_path, metrics, texts, files, images, what):
    batch = Batch(metrics, texts, texts, files, images, [texts])
    back = there_and_back(batch, tmp_path, what)
    assert facts(back.metrics) == facts(metrics)
    assert (back.params, back.tags, back.files, back.images) == (texts, texts, files, images)
    assert list(back.files) == list(files)
    assert back.datasets == [texts]
    assert read_what(tmp_path / "00000001.zip") == (what or "00000001.zip")
    assert {path.name for path in tmp_path.iterdir()} <= {"00000001.zip", "scratch"}


def test_members_are_numbered_and_never_named_by_the_user(tmp_path):
    batch = Batch(
        files=dict.fromkeys(HOSTILE, b"x"), images=[TimedImage(name, 0, 0, b"", b"") for name in HOSTILE]
    )
    there_and_back(batch, tmp_path)
    with zipfile.ZipFile(tmp_path / "00000001.zip") as archive:
        members = {name for name in archive.namelist() if not name.startswith(("files/", "images/"))}
        assert members == {"batch.json"}
        assert all(name.split("/")[1].split(".")[0].isdecimal() for name in archive.namelist() if "/" in name)


def crafted(path, **members):
    """A batch without anything but a model, and these members."""
    index = {"schema": SCHEMA, "metrics": [], "params": {}, "tags": {}, "files": [], "images": [], "datasets": []}
    index |= {"models": [["model", "id"]], "page": False, "end": None}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("batch.json", json.dumps({**index, **members.pop("index", {})}))
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_model_never_leaves_its_folder(tmp_path):
    outside = ["models/0/../../../evil", "models/0//abs", "models/0/a/../../../../evil"]
    path = crafted(tmp_path / "1.zip", **dict.fromkeys(outside, b"evil"))
    read_batch(path, tmp_path / "in" / "scratch")
    found = {file for file in tmp_path.rglob("*") if file.is_file()} - {path}
    assert found
    assert all(file.is_relative_to(tmp_path / "in" / "scratch") for file in found)


def test_a_model_of_old_files_can_be_kept(tmp_path):
    model = a_model(tmp_path / "model")
    os.utime(model.folder / "MLmodel", (0, 0))
    assert (there_and_back(Batch(models=[model]), tmp_path).models[0].folder / "MLmodel").read_bytes() == b"facts"


def test_a_newer_file_says_so(tmp_path):
    path = crafted(tmp_path / "1.zip", index={"schema": SCHEMA + 1})
    with pytest.raises(ValueError, match=f"newer mlflow_dlviz .schema {SCHEMA + 1}"):
        read_batch(path, tmp_path / "scratch")


@pytest.mark.parametrize(
    "index",
    [
        {"schema": "one"},
        {"metrics": 3},
        {"metrics": [["loss"]]},
        {"metrics": [["loss", "x", 0, 0]]},
        {"params": [1]},
        {"tags": 3},
        {"files": ["absent.txt"]},
        {"images": [["k", 0, 0]]},
        {"images": [["k"]]},
        {"models": 1},
        {"datasets": [[1]]},
        {"end": [1]},
    ],
    ids=str,
)
def test_an_index_that_does_not_fit_is_damage(tmp_path, index):
    with pytest.raises(ValueError, match=r"1\.zip is damaged"):
        read_batch(crafted(tmp_path / "1.zip", index=index), tmp_path / "scratch")


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"no zip at all", b"\x00" * 5000], ids=["empty", "two", "text", "zeros"]
)
def test_what_is_no_archive_is_damage(tmp_path, content):
    (tmp_path / "1.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"1\.zip is damaged"):
        read_batch(tmp_path / "1.zip", tmp_path / "scratch")
    assert read_what(tmp_path / "1.zip") == "1.zip"


def test_an_archive_without_an_index_is_damage(tmp_path):
    with zipfile.ZipFile(tmp_path / "1.zip", "w") as archive:
        archive.writestr("other.json", "{}")
    with pytest.raises(ValueError, match="damaged"):
        read_batch(tmp_path / "1.zip", tmp_path / "scratch")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    buffer = io.BytesIO()
    write_batch(of_everything(folder), buffer)
    return buffer.getvalue()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_that_was_cut_is_damage(tmp_path, whole, data):
    path = tmp_path / "1.zip"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match="damaged"):
        read_batch(path, tmp_path / "scratch")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_a_changed_byte_gives_a_batch_or_a_value_error(tmp_path, whole, place, byte):
    content = bytearray(whole)
    content[place % len(whole)] = byte
    path = tmp_path / "1.zip"
    path.write_bytes(content)
    try:
        read = read_batch(path, tmp_path / "scratch")
    except ValueError:
        return
    assert isinstance(read, Batch)


def test_a_file_that_is_not_there_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_batch(tmp_path / "1.zip", tmp_path / "scratch")


class Bomb:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_nothing_is_ever_unpickled(tmp_path, capsys):
    content = pickle.dumps(Bomb())
    back = there_and_back(Batch(files={"a.npz": content, "b.pkl": content}), tmp_path)
    assert back.files == {"a.npz": content, "b.pkl": content}
    (tmp_path / "2.zip").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        read_batch(tmp_path / "2.zip", tmp_path / "scratch")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "path", sorted(Path(mlflow_dlviz.__file__).parent.rglob("*.py")), ids=lambda path: path.name
)
def test_no_module_can_unpickle(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {*names} & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
            assert "allow_pickle=False" in ast.unparse(node)


def test_of_merged_batches_the_later_wins_and_metrics_keep_their_order(tmp_path):
    first, second = (Metric("loss", float(value), 1, value) for value in range(2))
    images = [TimedImage("k", step, 0, b"", b"") for step in range(2)]
    model = SavedModel("model", tmp_path)
    merged = merge(
        [
            Batch([first], {"p": "1"}, {"t": "1", "u": "1"}, {"f": b"1"}, images[:1], end=End("FINISHED", 1)),
            Batch([second], {}, {"t": "2"}, {"f": b"2"}, images[1:], [{"a": "b"}], [model], page=True),
            Batch(end=End("KILLED", 2)),
            Batch(),
        ]
    )
    assert merged == Batch(
        [first, second],
        {"p": "1"},
        {"t": "2", "u": "1"},
        {"f": b"2"},
        images,
        [{"a": "b"}],
        [model],
        page=True,
        end=End("KILLED", 2),
    )


def test_the_size_is_about_what_it_takes_on_disk(tmp_path):
    batch = Batch(
        files={"f": bytes(100_000)},
        images=[TimedImage("k", 0, 0, bytes(50_000), bytes(20_000))],
        models=[a_model(tmp_path / "model", weights=bytes(80_000))],
    )
    there_and_back(batch, tmp_path)
    assert batch.size == pytest.approx((tmp_path / "00000001.zip").stat().st_size, rel=0.02)


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


def test_what_would_unpack_to_more_than_lies_there_is_refused(tmp_path):
    bomb = tmp_path / "1.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("batch.json", b'{"schema": 1, "x": "' + b"0" * 2**22 + b'"}')
    with pytest.raises(ValueError, match="compressed members"):
        read_batch(bomb, tmp_path)
