"""Whatever names and files hold: nothing leaves its folder, nothing is unpickled."""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
from asking import outside
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import mlflow_dlviz
from mlflow_dlviz.store import names
from mlflow_dlviz.store.batch import Batch, TimedImage, read_batch, write_batch
from mlflow_dlviz.store.images import list_images
from mlflow_dlviz.store.put import put
from mlflow_dlviz.store.spool import find_spools

ANY = st.text(max_size=40) | st.text("ab./~\\\0 +%", max_size=10) | st.sampled_from(
    ["..", "/etc/x", "../../x", "frozen.npz", "C:\\x", "x" * 500, "a\n", "\ud800", "", ".", "~", "ledger.json"]
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(leaves=st.lists(ANY, min_size=1, max_size=4, unique=True), epoch=st.integers(0, 10**6))
@example(leaves=["../../escape", "/etc/passwd", "a/../../b", "frozen.npz"], epoch=0)
def test_no_leaf_leads_out_of_its_folder(store, run, tmp_path, leaves, epoch):
    """From a name through the spool and the artifact store to what is loaded."""
    content = {leaf: np.asarray(place) for place, leaf in enumerate(leaves)}
    files = {names.numbers_path("mine", leaf, epoch): _packed(value) for leaf, value in content.items()}
    files[names.frozen_path("mine")] = _packed(np.asarray(0))
    images = [TimedImage(names.image_key("mine", leaf), epoch, 1, b"png", b"webp") for leaf in leaves]
    run.spool.add("x", Batch(files=files, images=images))
    [*_, item] = run.spool.waiting()
    assert item.path.parent == run.spool.folder
    put(run.ref, item.read(tmp_path / "scratch"))
    run.spool.done(item)
    loaded = mlflow_dlviz.load(run.ref.run_id, "mine")
    for leaf, value in content.items():
        assert loaded[names.clean_leaf(leaf)][epoch]["value"] == value
    artifacts = Path(store.get_run(run.ref.run_id).info.artifact_uri.removeprefix("file://"))
    assert {path.name for path in artifacts.iterdir()} <= {"dlviz", "images"}
    assert {path.parent.parent for path in artifacts.rglob("*.npz")} <= {
        artifacts / "dlviz" / "mine",
        artifacts / "dlviz",
    }
    assert {path.parent for path in artifacts.rglob("*.png")} == {artifacts / "images"}
    assert outside(tmp_path) == set()


def _packed(value):
    from mlflow_dlviz.store.batch import pack

    return pack({"value": value})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["../x", "/tmp/x", "a/../../x", "..", ".", "", "a/../..", "\0"]) | ANY)
def test_a_file_of_a_batch_that_leaves_the_artifacts_is_refused(store, run, tmp_path, path):
    """Our own names can't; those of a spool that somebody edited may."""
    before = {found for found in tmp_path.rglob("*") if "artifacts" not in found.parts}
    leaves = os.path.isabs(path) or os.path.normpath(path or ".").split("/")[0] in ("..", ".")
    try:
        put(run.ref, Batch(files={path: b"x"}))
    except (ValueError, OSError):
        pass
    else:
        assert not leaves, path
    after = {found for found in tmp_path.rglob("*") if "artifacts" not in found.parts}
    assert {found for found in after - before if "mlflow.db" not in found.name} == set()


# ---- files of others


def by_pickle():
    buffer = io.BytesIO()
    np.savez(buffer, value=np.array([print], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [(by_pickle(), "allow_pickle=False"), (b"rubbish", ""), (b"", ""), (b"PK\x03\x04" + b"\0" * 40, "")],
    ids=["objects", "rubbish", "empty", "broken zip"],
)
def test_arrays_of_somebody_elses_are_never_unpickled(store, run, content, words):
    put(run.ref, Batch(files={"dlviz/mine/leaf/0000.npz": content, "dlviz/mine/leaf/notes.npz": b"not ours"}))
    with pytest.raises(ValueError, match="0000.npz is not a file of arrays") as told:
        mlflow_dlviz.load(run.ref.run_id, "mine")
    assert words in str(told.value)
    put(run.ref, Batch(metrics=[], files={"images/x.png": content}, tags={"mlflow.loggedImages": "True"}))
    with pytest.raises(LookupError):
        mlflow_dlviz.report(run_ids=[run.ref.run_id], progress=False)


def test_a_run_resumed_beside_a_file_of_objects_goes_on(dlviz, store, runs, ledger, table, binary):
    x, y, validation = table
    made = store.create_run(store.get_experiment_by_name("test").experiment_id)
    store.set_tag(made.info.run_id, names.NEXT_EPOCH_TAG, "3")
    from mlflow_dlviz.store.runs import RunRef

    put(
        RunRef(mlflow.get_tracking_uri(), made.info.run_id, "0" * 32),
        Batch(files={names.frozen_path("activations"): by_pickle()}),
    )
    dlviz.autolog(log_models=False, visuals=["activations"])
    with mlflow.start_run(run_id=made.info.run_id):
        binary().fit(x, y, epochs=1, verbose=0, validation_data=validation)
    assert dlviz.flush(60)
    assert [metric.step for metric in store.get_metric_history(made.info.run_id, "loss")] == [3]
    assert {image.step for image in list_images(store, made.info.run_id)} == {3}


def archive(index, *members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        made.writestr("batch.json", index)
        for name in members:
            made.writestr(name, b"x")
    return buffer.getvalue()


def index(**changes):
    buffer = io.BytesIO()
    write_batch(Batch(), buffer)
    with zipfile.ZipFile(buffer) as made:
        return json.dumps({**json.loads(made.read("batch.json")), **changes})


DAMAGED = {
    "rubbish": b"rubbish",
    "empty": b"",
    "no index": archive("[]"),
    "index of nothing": archive("{}"),
    "absolute path": archive(index(files=["/tmp/dlviz-escaped"]), "files/0"),
    "path out": archive(index(files=["../../dlviz-escaped"]), "files/0"),
    "missing member": archive(index(files=["a.txt"])),
}


def test_a_spool_that_somebody_edited_is_refused_file_by_file(dlviz, store, new_log, caplog):
    run = new_log()
    for _ in DAMAGED:
        run.spool.add("x", Batch(tags={"t": "1"}))
    for item, content in zip(run.spool.waiting(), DAMAGED.values(), strict=True):
        item.path.write_bytes(content)
    run.spool.add("good", Batch(tags={"good": "yes"}))
    from mlflow_dlviz.process import writer

    writer().send(run, "more", Batch(tags={"more": "yes"}))
    run.training = False
    assert dlviz.flush(60)
    tags = store.get_run(run.ref.run_id).data.tags
    assert (tags["good"], tags["more"]) == ("yes", "yes")
    assert len(run.spool.refused()) == len(DAMAGED)
    assert run.ledger.status == "failed"  # no epoch was logged
    assert not Path("/tmp/dlviz-escaped").exists()


def test_members_of_a_model_stay_below_the_scratch_folder(tmp_path):
    content = archive(
        index(models=[["model", "id"]]),
        "models/0/MLmodel",
        "models/0/../../../escaped",
        "models/0//tmp/dlviz-escaped",
    )
    (tmp_path / "x.zip").write_bytes(content)
    scratch = tmp_path / "deep" / "er" / "scratch"
    batch = read_batch(tmp_path / "x.zip", scratch)
    assert batch.models[0].folder == scratch / "models" / "0"
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - {tmp_path / "x.zip"}
    assert len(written) == 3
    assert all(scratch in path.parents for path in written)
    assert not Path("/tmp/dlviz-escaped").exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_spool_is_for_its_owner_alone(new_log, spool_root, umask):
    before = os.umask(umask)
    try:
        run = new_log()
        run.spool.add("x", Batch(tags={"t": "1"}, files={"a.txt": b"x"}))
        run.spool.keep_ledger("{}")
        run.spool.change(closed=False)
        assert run.spool.try_lock()
        run.spool.unlock()
    finally:
        os.umask(before)
    assert find_spools(spool_root)
    for path in [spool_root, *spool_root.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))
