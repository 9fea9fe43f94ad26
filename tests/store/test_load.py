"""What was stored comes back, bit for bit, and nothing else is let in."""

import mlflow
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from mlflow_dlviz.store import names
from mlflow_dlviz.store.batch import SCHEMA_KEY, Batch, pack
from mlflow_dlviz.store.load import fetch_files, load, numbers_folder, parse_numbers, unpack
from mlflow_dlviz.store.put import put
from mlflow_dlviz.store.runs import RunRef

DTYPES = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes() | hnp.unicode_string_dtypes()


@pytest.fixture
def ref(store):
    run = store.create_run(mlflow.get_experiment_by_name("test").experiment_id)
    return RunRef(mlflow.get_tracking_uri(), run.info.run_id)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
def test_any_array_comes_back_bit_equal(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("npz") / "0000.npz"
    path.write_bytes(pack({"a": array}))
    back = unpack(path)
    assert back.keys() == {"a"}
    assert back["a"].dtype == array.dtype
    assert back["a"].shape == array.shape
    assert back["a"].tobytes() == array.tobytes()


def test_leaves_and_epochs_come_back_in_order(ref):
    stored = {(leaf, epoch): {"x": np.asarray(epoch)} for leaf in ("01.b", "00.a") for epoch in (10, 2, 0)}
    files = {names.numbers_path("mine", leaf, epoch): pack(arrays) for (leaf, epoch), arrays in stored.items()}
    put(ref, Batch(files={**files, names.frozen_path("mine"): pack({"limit": np.asarray(1)})}))
    found = load(ref.run_id, "mine")
    assert list(found) == ["00.a", "01.b"]
    assert list(found["00.a"]) == [0, 2, 10]
    assert int(found["01.b"][10]["x"]) == 10


def test_another_store_is_named_by_its_uri(ref, tmp_path, monkeypatch):
    put(ref, Batch(files={names.numbers_path("mine", "leaf", 0): pack({"x": np.zeros(2)})}))
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'other.db'}")
    np.testing.assert_array_equal(load(ref.run_id, "mine", tracking_uri=ref.tracking_uri)["leaf"][0]["x"], [0, 0])


@pytest.mark.parametrize("wanted", ["boundry", "", "..", "mine/leaf"])
def test_an_unknown_visual_names_the_known(ref, wanted):
    put(ref, Batch(files={names.numbers_path("mine", "leaf", 0): pack({}), names.LEDGER: b"{}"}))
    with pytest.raises(KeyError) as raised:
        load(ref.run_id, wanted)
    assert repr(wanted) in raised.value.args[0]
    assert "['mine']" in raised.value.args[0]


def test_a_newer_schema_says_so(tmp_path):
    path = tmp_path / "0000.npz"
    np.savez(path, **{SCHEMA_KEY: np.asarray(99), "x": np.zeros(2)})
    with pytest.raises(ValueError, match="schema 99.*update"):
        unpack(path)


def test_pickles_are_never_read(tmp_path):
    path = tmp_path / "0000.npz"
    np.savez(path, x=np.asarray([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        unpack(path)


def test_of_the_files_asked_for_those_that_are_there_come_back(ref):
    put(ref, Batch(files={names.LEDGER: b"{}", "a.txt": b"a", "dlviz/mine/frozen.npz": b"n"}))
    wanted = [names.LEDGER, "a.txt", "dlviz/mine/frozen.npz", "dlviz/none.json", "nowhere/x.txt"]
    assert fetch_files(ref, wanted) == {names.LEDGER: b"{}", "a.txt": b"a", "dlviz/mine/frozen.npz": b"n"}
    assert fetch_files(ref, []) == {}


def test_paths_of_numbers_are_read_back():
    path = names.numbers_path("mine", "03.conv/a", 12)
    assert parse_numbers(path, "mine") == (names.clean_leaf("03.conv/a"), 12)
    assert path.startswith(numbers_folder("mine") + "/")
    for other in (names.frozen_path("mine"), "dlviz/mine/leaf/x.npz", "dlviz/mine/leaf/0001.txt", "a.npz", ""):
        assert parse_numbers(other, "mine") is None
    assert parse_numbers(path, "other") is None
