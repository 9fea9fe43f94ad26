"""Whether a server answers, and how its address is shown."""

from __future__ import annotations

import time

import pytest

from mlflow_dlviz.store import server


def test_a_dead_server_is_told_at_once():
    start = time.monotonic()
    with pytest.raises(server.ServerUnreachable, match="127.0.0.1:9"):
        server.connect("http://user:secret@127.0.0.1:9")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ada:pw@host.example:5000/base?x=1", "http://host.example:5000/base"),
        ("http://ada:p@w@[::1]:5000", "http://[::1]:5000"),
        ("sqlite:////home/ada/work/mlflow.db", "sqlite: mlflow.db"),
        ("file:///home/ada/mlruns", "file: mlruns"),
        ("./mlruns", "file: mlruns"),
        ("databricks", "databricks"),
        ("postgresql://ada:pw@db.example/mlflow", "postgresql: mlflow"),
    ],
)
def test_a_shown_address_holds_no_secret_and_no_folder(uri, shown):
    assert server.public_uri(uri) == shown


@pytest.mark.parametrize(
    ("uri", "remote"),
    [("http://host:5000", True), ("https://host/base", True), ("sqlite:///mlflow.db", False), ("mlruns", False)],
)
def test_only_a_server_is_remote(uri, remote):
    assert server.is_remote(uri) == remote


def test_a_reason_is_one_short_line():
    assert server.first_line("disk on fire\ntrace") == "disk on fire"
    assert server.first_line("  \n") == "no message"
    assert len(server.first_line("x" * 999)) == 300


def test_a_server_that_is_broken_is_unreachable(proxy):
    server.check_reachable(proxy.address)
    proxy.mode = "503"
    with pytest.raises(server.ServerUnreachable, match="answers 503"):
        server.check_reachable(proxy.address)
