"""Locks between processes, which no death of their holder leaves behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from mlflow_dlviz.store.locks import FileLock

HOLDER = """
import sys, time
from pathlib import Path
from mlflow_dlviz.store.locks import FileLock

lock = FileLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "it.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def test_one_holds_it_at_a_time(tmp_path):
    one, other = FileLock(tmp_path / "it.lock"), FileLock(tmp_path / "it.lock")
    assert one.acquire()
    assert not other.acquire()
    assert not one.acquire()
    one.release()
    one.release()
    assert other.acquire()
    other.release()


def test_what_another_process_holds_is_taken(holder, tmp_path):
    lock = FileLock(tmp_path / "it.lock")
    assert not lock.acquire()
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "released\n"
    assert lock.acquire()
    lock.release()


def test_a_killed_process_lets_go(holder, tmp_path):
    lock = FileLock(tmp_path / "it.lock")
    assert not lock.acquire()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(timeout=20)
    assert lock.acquire()
    lock.release()


def test_asking_in_vain_does_not_take_it_from_its_holder(tmp_path):
    """The system's locks belong to a process: opening and closing the file once more would end them."""
    held = FileLock(tmp_path / "it.lock")
    assert held.acquire()
    for _ in range(3):
        assert not FileLock(tmp_path / "it.lock").acquire()
    command = [sys.executable, "-c", HOLDER.replace("time.sleep(60)", ""), str(tmp_path / "it.lock")]
    done = subprocess.run(command, input="\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("False\n")
    held.release()


def test_another_thread_may_let_it_go(tmp_path):
    lock = FileLock(tmp_path / "it.lock")
    assert lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert lock.acquire()
    lock.release()


def test_of_many_threads_one_has_it(tmp_path):
    locks = [FileLock(tmp_path / "it.lock") for _ in range(16)]
    barrier, taken = threading.Barrier(16), []

    def take(lock):
        barrier.wait()
        taken.append(lock.acquire())

    threads = [threading.Thread(target=take, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 1
    for lock in locks:
        lock.release()


def test_where_there_can_be_no_file_it_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        FileLock(tmp_path / "file" / "it.lock").acquire()
    with pytest.raises(OSError, match="absent"):
        FileLock(tmp_path / "absent" / "it.lock").acquire()


def test_its_file_is_empty_and_for_its_owner_alone(tmp_path):
    lock = FileLock(tmp_path / "it.lock")
    assert lock.acquire()
    assert stat.S_IMODE((tmp_path / "it.lock").stat().st_mode) == 0o600
    lock.release()
    assert (tmp_path / "it.lock").stat().st_size == 0
    assert [path.name for path in tmp_path.iterdir()] == ["it.lock"]
