"""The spool: what was added is there, in order and whole, whoever is killed and wherever there is no room."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_dlviz.ledger import Ledger
from mlflow_dlviz.store import spool as module
from mlflow_dlviz.store.alive import is_alive
from mlflow_dlviz.store.batch import Batch, SavedModel
from mlflow_dlviz.store.room import default_root, limit_bytes
from mlflow_dlviz.store.spool import Lost, Plan, begin, find_spools


@pytest.fixture
def spool(spool_root):
    return begin(spool_root, Plan("a" * 32, "http://127.0.0.1:9", None, name="it", tags={"t": "1"}))


@pytest.fixture
def nowhere(tmp_path):
    """A folder that nobody can write to, as root may write anywhere else: there is a file in its way."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "spool"


def tagged(value):
    return Batch(tags={"t": str(value)})


def values(spool, scratch):
    return [int(item.read(scratch).tags["t"]) for item in spool.waiting()]


def test_what_was_added_waits_in_order_until_it_is_done(spool, tmp_path):
    for value in range(12):
        spool.add(f"item {value}", tagged(value))
    assert values(spool, tmp_path) == list(range(12))
    first, second, *_ = spool.waiting()
    assert (first.what, second.what) == ("item 0", "item 1")
    assert first.size == first.path.stat().st_size
    spool.done(first)
    spool.done(first)
    assert values(spool, tmp_path) == list(range(1, 12))
    assert spool.trouble == ""


def test_another_process_finds_the_plan_and_the_batches(spool, spool_root, tmp_path):
    spool.add("one", tagged(1))
    spool.keep_ledger('{"a": 1}')
    [found] = find_spools(spool_root)
    assert found.plan == spool.plan
    assert found.plan.start > 0
    assert values(found, tmp_path) == [1]
    assert json.loads(found.ledger()) == {"a": 1}


def test_any_text_can_be_kept_in_the_ledger(spool, spool_root):
    spool.keep_ledger(_with("ü\ud800\n").to_json())
    [found] = find_spools(spool_root)
    assert json.loads(found.ledger())["entries"][0]["what"] == "ü\ud800\n"


def _with(what):
    ledger = Ledger()
    ledger.left_out(what, "why", say=False)
    return ledger


def test_numbers_go_on_after_a_restart(spool, spool_root, tmp_path):
    for value in range(3):
        spool.add("it", tagged(value))
    spool.done(spool.waiting()[0])
    spool.refuse(spool.waiting()[-1])
    [again] = find_spools(spool_root)
    again.add("it", tagged(3))
    assert [path.name for path in sorted(spool.folder.glob("0*"))] == [
        "00000002.zip",
        "00000003.refused",
        "00000004.zip",
    ]
    again.retry_refused()
    assert values(again, tmp_path) == [1, 2, 3]


def test_several_threads_add_without_loss(spool, tmp_path):
    def work(start):
        for value in range(start, start + 25):
            spool.add("it", tagged(value))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 100, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = values(spool, tmp_path)
    assert sorted(found) == list(range(100))
    # Each thread's own stay in their order.
    assert all(
        [v for v in found if v // 25 == part] == list(range(part * 25, part * 25 + 25)) for part in range(4)
    )


def test_everything_is_for_its_owner_alone(spool, spool_root):
    before = os.umask(0)
    try:
        other = begin(spool_root / "deeper", Plan("b" * 32, "http://127.0.0.1:9", None))
        for each in (spool, other):
            each.add("it", tagged(1))
            each.keep_ledger("{}")
            assert each.try_lock()
    finally:
        os.umask(before)
    found = [*spool_root.rglob("*"), spool_root]
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()} == {0o600}
    assert sum(path.is_file() for path in found) == 2 * 4 + 2
    for each in (spool, other):
        each.unlock()


WRITER = """
import sys
from pathlib import Path
from mlflow_dlviz.store.batch import Batch
from mlflow_dlviz.store.spool import Plan, begin

spool = begin(Path(sys.argv[1]), Plan(sys.argv[2], "http://127.0.0.1:9", None, tags={"x": "y" * 5000}))
print("go", flush=True)
for value in range(100_000):
    spool.add("it", Batch(tags={"t": str(value)}, files={"f": bytes(200_000)}))
    spool.keep_ledger('{"value": ' + str(value) + ', "filler": "' + "z" * 50_000 + '"}')
    spool.change(name=str(value))
"""


@pytest.mark.slow
def test_killed_at_any_point_each_file_that_is_there_is_whole(spool_root, tmp_path):
    rng = random.Random(0)
    for attempt in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(spool_root), f"{attempt:032d}"], stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"go\n"
        time.sleep(rng.uniform(0.0, 0.4))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    found = find_spools(spool_root)
    assert len(found) == 8
    for spool in found:
        assert not is_alive(spool.folder.parent, spool.plan.process)
        read = values(spool, tmp_path / "scratch")
        assert read == list(range(len(read)))
        if (spool.folder / "ledger.json").exists():
            assert json.loads(spool.ledger())["value"] in (len(read) - 1, len(read) - 2)
    assert sum(len(spool.waiting()) for spool in found) > 8


def test_what_a_killed_process_left_half_written_goes_with_the_folder(spool):
    spool.add("it", tagged(1))
    (spool.folder / ".00000002.99999").write_bytes(b"half")
    (spool.folder / ".plan.json.99999").write_bytes(b"half")
    [item] = spool.waiting()
    assert not spool.remove_if_empty()
    spool.done(item)
    assert spool.remove_if_empty()
    assert not spool.folder.exists()


def test_where_nothing_can_be_written_it_waits_in_memory(nowhere, tmp_path):
    spool = begin(nowhere, Plan("a" * 32, "http://127.0.0.1:9", None))
    assert "file" in spool.trouble
    assert not spool.durable
    spool.add("one", tagged(1))
    spool.keep_ledger("{}")
    spool.add("two", tagged(2))
    assert [item.what for item in spool.waiting()] == ["one", "two"]
    assert values(spool, tmp_path) == [1, 2]
    assert spool.try_lock()
    assert not spool.try_lock()
    spool.unlock()
    spool.done(spool.waiting()[0])
    assert not spool.remove_if_empty()
    spool.refuse(spool.waiting()[0])
    assert spool.remove_if_empty()


def test_disk_and_memory_are_one_queue(spool, tmp_path, monkeypatch):
    spool.add("it", tagged(0))
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL_MB", "0")
    monkeypatch.setattr(module, "_USED", module.Used())
    spool.add("it", tagged(1))
    monkeypatch.delenv("MLFLOW_DLVIZ_SPOOL_MB")
    spool.add("it", tagged(2))
    assert [item.path is None for item in spool.waiting()] == [False, True, False]
    assert values(spool, tmp_path) == [0, 1, 2]


def test_beyond_the_memory_it_is_lost_and_says_why(nowhere, monkeypatch):
    spool = begin(nowhere, Plan("a" * 32, "http://127.0.0.1:9", None))
    monkeypatch.setattr(module, "MEMORY_BYTES", 2 * 2**20)
    large = Batch(files={"f": bytes(2**20)})
    spool.add("it", large)
    with pytest.raises(Lost, match=r"2 MB wait in memory, and on disk there is no room .*file"):
        spool.add("it", large)
    # What is small still has room, and what was sent makes some.
    spool.add("it", tagged(1))
    spool.done(spool.waiting()[0])
    spool.add("it", large)
    assert len(spool.waiting()) == 2


def test_the_limit_says_what_can_be_done(spool, spool_root, monkeypatch):
    monkeypatch.setattr(module, "_USED", module.Used())
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL_MB", "1")
    for _ in range(3):
        spool.add("it", Batch(files={"f": bytes(400_000)}))
    assert [item.path is None for item in spool.waiting()] == [False, False, True]
    assert f"{spool_root} has reached its limit of 1 MB (MLFLOW_DLVIZ_SPOOL_MB)" in spool.trouble
    assert "`mlflow-dlviz sync`" in spool.trouble
    assert "--prune" in spool.trouble
    # Once something is sent, there is room again.
    spool.done(spool.waiting()[0])
    spool.add("it", Batch(files={"f": bytes(100_000)}))
    assert spool.waiting()[-1].path is not None


def test_the_limit_holds_for_all_spools_together(spool, spool_root, monkeypatch):
    monkeypatch.setattr(module, "_USED", module.Used())
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL_MB", "1")
    spool.add("it", Batch(files={"f": bytes(900_000)}))
    other = begin(spool_root, Plan("b" * 32, "http://127.0.0.1:9", None))
    other.add("it", Batch(files={"f": bytes(900_000)}))
    assert other.waiting()[0].path is None


@pytest.mark.parametrize("given", ["many", "-1", "nan", "inf", "1e999", "4 GB"])
def test_a_bad_limit_names_the_variable_and_loses_nothing(spool, given, monkeypatch):
    monkeypatch.setattr(module, "_USED", module.Used())
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL_MB", given)
    with pytest.raises(ValueError, match="MLFLOW_DLVIZ_SPOOL_MB='.*': expected a number of megabytes"):
        limit_bytes()
    spool.add("it", tagged(1))
    assert f"MLFLOW_DLVIZ_SPOOL_MB={given!r}" in spool.trouble
    assert len(spool.waiting()) == 1


@pytest.mark.parametrize(("given", "expected"), [("", 4096 * 2**20), ("0.5", 2**19), ("0", 0), ("20", 20 * 2**20)])
def test_the_limit_is_in_megabytes(given, expected, monkeypatch):
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL_MB", given)
    assert limit_bytes() == expected


def test_the_root_is_where_the_variable_says_or_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_DLVIZ_SPOOL", "~/mine")
    assert default_root() == tmp_path / "mine"
    monkeypatch.delenv("MLFLOW_DLVIZ_SPOOL")
    assert default_root() == tmp_path / ".mlflow-dlviz" / "spool"


def test_what_was_refused_is_kept_aside_and_may_be_tried_again(spool, spool_root, tmp_path):
    for value in range(3):
        spool.add("it", tagged(value))
    spool.refuse(spool.waiting()[1])
    assert values(spool, tmp_path) == [0, 2]
    assert [path.name for path in spool.refused()] == ["00000002.refused"]
    for item in spool.waiting():
        spool.done(item)
    assert spool.remove_if_empty()
    assert spool.folder.exists()
    [found] = find_spools(spool_root)
    found.retry_refused()
    assert values(found, tmp_path) == [1]
    assert found.refused() == []


def test_a_model_is_deleted_where_it_was_once_it_is_in_the_spool_or_sent(spool, nowhere, tmp_path):
    def model(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "MLmodel").write_bytes(b"facts")
        return Batch(models=[SavedModel("model", folder, "id")])

    spool.add("the model", model("one"))
    assert not (tmp_path / "one").exists()
    [item] = spool.waiting()
    assert (item.read(tmp_path / "scratch").models[0].folder / "MLmodel").read_bytes() == b"facts"
    in_memory = begin(nowhere, Plan("b" * 32, "http://127.0.0.1:9", None))
    in_memory.add("the model", model("two"))
    assert (tmp_path / "two").exists()
    in_memory.done(in_memory.waiting()[0])
    assert not (tmp_path / "two").exists()


def test_a_spool_that_was_removed_begins_again(spool, spool_root, tmp_path):
    spool.add("it", tagged(1))
    spool.done(spool.waiting()[0])
    assert spool.remove_if_empty()
    assert find_spools(spool_root) == []
    assert not spool.durable
    spool.keep_ledger("{}")
    assert not spool.folder.exists()
    spool.add("it", tagged(2))
    [found] = find_spools(spool_root)
    assert found.plan == spool.plan
    assert values(found, tmp_path) == [2]


def test_closing_one_that_was_sent_does_not_bring_it_back(spool, spool_root):
    assert spool.remove_if_empty()
    spool.close()
    assert spool.plan.closed
    assert find_spools(spool_root) == []
    # A second fit does.
    spool.change(closed=False)
    assert not find_spools(spool_root)[0].plan.closed
    spool.close()
    assert find_spools(spool_root)[0].plan.closed


def test_removing_never_takes_what_is_just_being_added(spool, tmp_path):
    """Another process' ``sync`` has sent all, and removes the folder, while this one goes on."""
    added, stop, lost = [], threading.Event(), []
    [other] = find_spools(spool.folder.parent)

    def add():
        for value in range(300):
            spool.add("it", tagged(value))
            added.append(value)
        stop.set()

    thread = threading.Thread(target=add)
    thread.start()
    sent = []
    while not stop.is_set() or spool.waiting():
        if other.try_lock():
            for item in other.waiting():
                sent.append(int(item.read(tmp_path / "scratch").tags["t"]))
                other.done(item)
            other.remove_if_empty()
            other.unlock()
        # What found the folder gone may wait in the memory of the one that adds.
        lost += [item for item in spool.waiting() if item.path is None]
    thread.join()
    in_memory = [int(item.batch.tags["t"]) for item in spool.waiting()]
    assert sorted({*sent, *in_memory}) == list(range(300))
    assert len(sent) == len({*sent})


def test_a_folder_that_is_removed_between_plan_and_batch_is_made_again(spool, tmp_path, monkeypatch):
    take, calls = module._USED.take, []

    def removed(root, size):
        calls.append(size)
        if len(calls) == 1:
            assert find_spools(root)[0].remove_if_empty()
        take(root, size)

    monkeypatch.setattr(module._USED, "take", removed)
    spool.add("it", tagged(1))
    assert spool.trouble == ""
    assert values(spool, tmp_path) == [1]
    assert spool.waiting()[0].path is not None
    assert spool.durable


def test_the_right_to_send_is_one_threads_and_one_processes(spool, spool_root):
    [other] = find_spools(spool_root)
    assert spool.try_lock()
    assert not spool.try_lock()
    assert not other.try_lock()
    spool.unlock()
    assert other.try_lock()
    assert not spool.try_lock()
    other.unlock()
    assert spool.try_lock()
    spool.unlock()


def test_a_plan_can_change_and_both_threads_changes_stay(spool, spool_root):
    threads = [
        threading.Thread(target=spool.change, kwargs=change)
        for change in ({"run_id": "r"}, {"name": "n"}, {"closed": True}, {"tags": {"ü\ud800": "\n"}})
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [found] = find_spools(spool_root)
    assert found.plan == replace(spool.plan, run_id="r", name="n", closed=True, tags={"ü\ud800": "\n"})


def test_rubbish_among_the_spools_is_passed_over(spool, spool_root):
    rubbish = {
        "empty": "",
        "text": "no json",
        "list": "[1]",
        "null": "null",
        "lacking": '{"spool_id": "x"}',
        "types": '{"spool_id": "x", "tracking_uri": "y", "run_id": null, "start": "soon"}',
        "number": '{"spool_id": 3, "tracking_uri": "y", "run_id": null}',
        "bytes": b"\xff\xfe".decode("latin-1"),
    }
    for name, text in rubbish.items():
        (spool_root / name).mkdir()
        (spool_root / name / "plan.json").write_text(text, "latin-1")
    (spool_root / "no plan").mkdir()
    (spool_root / "a file").touch()
    (spool_root / "folder" / "plan.json").mkdir(parents=True)
    spool.add("it", tagged(1))
    (spool.folder / "notes.zip").touch()
    (spool.folder / "12x.zip").touch()
    [found] = find_spools(spool_root)
    assert found.plan == spool.plan
    assert len(found.waiting()) == 1
    assert find_spools(spool_root / "absent") == []


def test_a_plan_of_a_later_version_is_read_as_far_as_it_is_known(spool, spool_root):
    path = spool.folder / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "red"}))
    assert find_spools(spool_root)[0].plan == spool.plan


def test_the_oldest_comes_first(spool_root):
    for start, name in ((30, "c"), (10, "a"), (20, "b")):
        begin(spool_root, Plan(name * 32, "http://127.0.0.1:9", None, start=start))
    assert [found.plan.spool_id[0] for found in find_spools(spool_root)] == ["a", "b", "c"]


LIVING = """
import sys
from pathlib import Path
from mlflow_dlviz.store.alive import farewell
from mlflow_dlviz.store.spool import Plan, begin

begin(Path(sys.argv[1]), Plan("c" * 32, "http://127.0.0.1:9", None))
print("go", flush=True)
sys.stdin.readline()
farewell()
print("left", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("end", ["killed", "left"])
def test_whether_the_process_that_writes_here_lives_is_known(spool_root, end):
    process = subprocess.Popen(
        [sys.executable, "-c", LIVING, str(spool_root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "go\n"
        [found] = find_spools(spool_root)
        assert is_alive(found.folder.parent, found.plan.process)
        assert is_alive(found.folder.parent, found.plan.process)
        if end == "left":
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "left\n"
        else:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(timeout=20)
        assert not is_alive(found.folder.parent, found.plan.process)
        assert not is_alive(found.folder.parent, found.plan.process)
        assert list((spool_root / "alive").iterdir()) == []
    finally:
        process.kill()
        process.communicate()


def test_this_process_lives(spool, spool_root):
    assert is_alive(spool.folder.parent, spool.plan.process)
    assert is_alive(spool_root, find_spools(spool_root)[0].plan.process)
    assert not is_alive(Path("/nowhere"), "")


def test_folders_above_the_root_are_the_owners_alone_too(tmp_path):
    from mlflow_dlviz.store.room import own_folder

    before = os.umask(0)
    try:
        own_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert [(tmp_path / path).stat().st_mode & 0o777 for path in ("a", "a/b")] == [0o700, 0o700]
