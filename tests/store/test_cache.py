"""What was read before: kept under a token, shared by processes, bounded, and never an error."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.entities import LifecycleStage, Metric, Run, RunData, RunInfo, RunTag

from mlflow_dlviz.store import cache as caching
from mlflow_dlviz.store.cache import Cache

URI = "http://one.example"
FILE = "runs-1.sqlite"


def cached(folder: Path, uri: str = URI, **more) -> Cache:
    return Cache(uri, folder=folder, **more)


def keep(folder: Path, contents: dict, **more) -> None:
    with cached(folder, **more) as cache:
        cache.put("kind", contents)


def test_what_was_put_comes_back_under_its_token(tmp_path):
    keep(tmp_path, {("a", "x"): ("1", b"ax"), ("a", "y"): ("1", b""), ("b", "x"): ("2", b"bx")})
    with cached(tmp_path) as cache:
        found = cache.get("kind", {("a", "x"): "1", ("a", "y"): "1", ("b", "x"): "other", ("c", "x"): "1"})
        assert found == {("a", "x"): b"ax", ("a", "y"): b""}
        assert cache.get("other kind", {("a", "x"): "1"}) == {}
        assert cache.get("kind", {}) == {}
    with cached(tmp_path, "http://two.example") as cache:
        assert cache.get("kind", {("a", "x"): "1"}) == {}


def test_the_later_replaces_the_earlier(tmp_path):
    keep(tmp_path, {("a", "x"): ("1", b"old")})
    keep(tmp_path, {("a", "x"): ("2", b"new")})
    with cached(tmp_path) as cache:
        assert cache.get("kind", {("a", "x"): "1"}) == {}
        assert cache.get("kind", {("a", "x"): "2"}) == {("a", "x"): b"new"}


PLACES = st.tuples(st.text(max_size=3), st.text(max_size=3))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(PLACES, st.tuples(st.sampled_from("ab"), st.binary(max_size=4)), max_size=4), max_size=4
    )
)
def test_it_is_as_a_dictionary(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("cache")
    model: dict = {}
    with cached(folder) as cache:
        for batch in batches:
            batch = {place: kept for place, kept in batch.items() if encodable(place)}
            cache.put("kind", batch)
            model.update(batch)
        for token in "ab":
            expected = {place: content for place, (under, content) in model.items() if under == token}
            assert cache.get("kind", dict.fromkeys(model, token)) == expected


def encodable(place) -> bool:
    try:
        return bool("".join(place).encode() or True)
    except UnicodeEncodeError:
        return False


def test_off_and_refresh(tmp_path):
    keep(tmp_path, {("a", "x"): ("1", b"old")})
    with cached(tmp_path, refresh=True) as cache:
        assert cache.get("kind", {("a", "x"): "1"}) == {}
        cache.put("kind", {("a", "x"): ("1", b"new")})
    with cached(tmp_path) as cache:
        assert cache.get("kind", {("a", "x"): "1"}) == {("a", "x"): b"new"}
    keep(tmp_path / "none", {("a", "x"): ("1", b"")}, off=True)
    assert not (tmp_path / "none").exists()


def test_the_folder_is_the_users_alone(tmp_path):
    folder = tmp_path / "deep" / "cache"
    keep(folder, {("a", "x"): ("1", b"secret")})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_DLVIZ_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert caching.default_folder() == tmp_path / ".cache" / "mlflow-dlviz"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert caching.default_folder() == tmp_path / "xdg" / "mlflow-dlviz"
    monkeypatch.setenv("MLFLOW_DLVIZ_CACHE", "~/own")
    assert caching.default_folder() == tmp_path / "own"


def test_a_damaged_file_is_begun_anew(tmp_path):
    keep(tmp_path, {("a", "x"): ("1", b"ax")})
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    keep(tmp_path, {("a", "x"): ("1", b"ax")})
    with cached(tmp_path) as cache:
        assert cache.get("kind", {("a", "x"): "1"}) == {("a", "x"): b"ax"}


def test_damage_while_it_is_open_is_no_error(tmp_path):
    with cached(tmp_path) as cache:
        cache.put("kind", {("a", str(number)): ("1", bytes(9000)) for number in range(50)})
        other = sqlite3.connect(tmp_path / FILE)
        other.execute("DROP TABLE entries")
        other.commit()
        other.close()
        assert cache.get("kind", {("a", "1"): "1"}) == {}
        cache.put("kind", {("a", "x"): ("1", b"")})
        assert cache.get("kind", {("a", "x"): "1"}) == {}


def test_a_folder_that_cannot_be_made_means_no_cache(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with cached(tmp_path / "file" / "cache") as cache:
        cache.put("kind", {("a", "x"): ("1", b"")})
        assert cache.get("kind", {("a", "x"): "1"}) == {}


def test_the_least_recently_used_goes(tmp_path, monkeypatch):
    clock = iter(range(1000, 2000, 10))
    monkeypatch.setattr(caching.time, "time", lambda: next(clock))
    for run in "abcd":
        keep(tmp_path, {(run, str(number)): ("1", os.urandom(50_000)) for number in range(4)})
    with cached(tmp_path) as cache:
        assert len(cache.get("kind", {("a", "0"): "1"})) == 1
    keep(tmp_path, {("e", "0"): ("1", os.urandom(50_000))}, limit=700_000)
    with cached(tmp_path) as cache:
        left = {run for run in "abcde" if cache.get("kind", {(run, "0"): "1"})}
    assert left == {"a", "e"} or left == {"a", "d", "e"}
    assert sum(path.stat().st_size for path in tmp_path.glob(f"{FILE}*")) < 1_000_000


def write(folder: Path, name: str) -> None:
    for number in range(30):
        keep(folder, {(name, str(number)): ("1", bytes(10_000))})


def test_processes_share_it(tmp_path):
    code = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_cache import write
        write(Path({str(tmp_path)!r}), "theirs")
    """
    other = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    while other.poll() is None:
        write(tmp_path, "ours")
    assert other.returncode == 0
    with cached(tmp_path) as cache:
        wanted = {(name, str(number)): "1" for name in ("ours", "theirs") for number in range(30)}
        assert len(cache.get("kind", wanted)) == 60


def run_of(status="FINISHED", end=1_000_000, metrics=(), tags=()) -> Run:
    info = RunInfo("r", "0", "user", status, 0, end, LifecycleStage.ACTIVE)
    return Run(info, RunData(list(metrics), [], [RunTag(*tag) for tag in tags]))


@pytest.mark.parametrize(
    ("status", "end", "settled"),
    [
        ("FINISHED", 1_000_000, True),
        ("FAILED", 1_000_000, True),
        ("KILLED", 1_000_000, True),
        ("RUNNING", 1_000_000, False),
        ("RUNNING", None, False),
        ("FINISHED", None, False),
        ("FINISHED", 1_000_001, False),
    ],
)
def test_only_a_run_that_is_over_is_settled(status, end, settled):
    assert caching.is_settled(run_of(status, end), now=1060.0) is settled


def test_tokens_tell_changes_apart():
    plain = run_of(metrics=[Metric("loss", 1.0, 5, 3)], tags=[("a", "1")])
    others = [
        run_of(metrics=[Metric("loss", 1.5, 5, 3)], tags=[("a", "1")]),
        run_of(metrics=[Metric("loss", 1.0, 6, 3)], tags=[("a", "1")]),
        run_of(metrics=[Metric("loss", 1.0, 5, 4)], tags=[("a", "1")]),
        run_of(metrics=[Metric("loss", 1.0, 5, 3)], tags=[("a", "2")]),
        run_of(end=2_000_000, metrics=[Metric("loss", 1.0, 5, 3)], tags=[("a", "1")]),
        run_of("KILLED", metrics=[Metric("loss", 1.0, 5, 3)], tags=[("a", "1")]),
    ]
    assert len({caching.run_token(run) for run in [plain, *others]}) == 7
    assert caching.run_token(plain) == caching.run_token(
        run_of(metrics=[Metric("loss", 1.0, 5, 3)], tags=[("a", "1")])
    )
    points = [(3, 5, 1.0), (3, 5, 1.5), (3, 6, 1.0), (4, 5, 1.0), (3, 5, float("nan"))]
    tokens = {caching.history_token(plain, point) for point in points}
    assert len({*tokens, caching.history_token(run_of(end=7), points[0])}) == 6
    assert caching.history_token(plain, points[4]) in tokens
