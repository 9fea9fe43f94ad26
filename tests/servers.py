"""Real servers on this machine, and what goes wrong between them and us: for tests and benchmarks/faults.py."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from waiting import wait_until

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def answers(address: str) -> bool:
    """Whether an HTTP server answers anything at all."""
    try:
        urllib.request.urlopen(address, timeout=2).read()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


class Process:
    """A server that is a process of its own, in a process group of its own."""

    def __init__(self, command: list[str], folder: Path, alive: Callable[[], bool], **extra: str) -> None:
        self.command, self.folder, self.alive = command, folder, alive
        self.environment = {**os.environ, **extra}
        self.user: str | None = None
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user,
            )
        try:
            wait_until(lambda: self.alive() or self.process.poll() is not None, self.command[0])
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.command} ended")
        except RuntimeError as error:
            self.kill()
            raise RuntimeError(f"{error}:\n{(self.folder / 'log').read_text()[-2000:]}") from error

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Kill it and its children; safe to call twice."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)
            self.process.wait(timeout=30)
            self.process = None


def mlflow_process(folder: Path, backend: str, artifacts: str, **extra: str) -> tuple[Process, str]:
    """An MLflow server and its address. backend: SQLAlchemy's URI; artifacts: a folder or s3://bucket."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--backend-store-uri", backend, "--artifacts-destination", artifacts]
    # Its own jobs, eight more processes, have nothing to do here.
    extra = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **extra}
    return Process(command, folder, lambda: answers(f"{address}/health"), **extra), address


def postgres_program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs, which Debian keeps off the PATH; None without PostgreSQL."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else shutil.which(name)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL of its own on loopback; gives its SQLAlchemy URI."""
    initdb, program = postgres_program("initdb"), postgres_program("postgres")
    assert initdb is not None
    assert program is not None
    # As root it refuses to run; Debian's package brings a user for it.
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    home = Path("/tmp", f"dlviz-pg-{os.getpid()}-{free_port()}") if os.getuid() == 0 else folder / "pg"
    home.mkdir(parents=True)
    if os.getuid() == 0:
        shutil.chown(home, user)
    data, port = home / "data", free_port()
    make = [initdb, "-D", str(data), "-U", "test", "-A", "trust", "-N"]
    subprocess.run(make, check=True, user=user, cwd=home, stdout=subprocess.DEVNULL)
    command = [
        program,
        "-D",
        str(data),
        "-p",
        str(port),
        "-k",
        str(home),
        "-c",
        "listen_addresses=127.0.0.1",
        "-F",
    ]

    def alive() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    server = Process(command, home, alive)
    server.user = user
    if os.getuid() == 0:
        (home / "log").touch(0o666)
    try:
        server.start()
        yield f"postgresql+psycopg2://test@127.0.0.1:{port}/postgres"
    finally:
        server.kill(signal.SIGINT)
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def s3(folder: Path, bucket: str = "runs") -> Iterator[dict[str, str]]:
    """An S3 of its own, moto's, with one bucket; gives the environment that leads to it."""
    import boto3

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    program = Path(sys.executable).with_name("moto_server")
    server = Process([str(program), "-H", "127.0.0.1", "-p", str(port)], folder, lambda: answers(address))
    server.start()
    try:
        client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name=KEYS["AWS_DEFAULT_REGION"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_bucket(Bucket=bucket)
        yield {**KEYS, "MLFLOW_S3_ENDPOINT_URL": address}
    finally:
        server.kill()


@contextlib.contextmanager
def backend(kind: str, folder: Path) -> Iterator[tuple[Process, str]]:
    """An MLflow server and its address. kind: "sqlite" with a folder, or "postgres" with S3."""
    with contextlib.ExitStack() as stack:
        if kind == "postgres":
            for name in ("pg", "s3"):
                (folder / name).mkdir()
            uri, extra = stack.enter_context(postgres(folder / "pg")), stack.enter_context(s3(folder / "s3"))
            server, address = mlflow_process(folder, uri, "s3://runs", **extra)
        else:
            server, address = mlflow_process(
                folder, f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")
            )
        server.start()
        stack.callback(server.kill)
        yield server, address


class Proxy:
    """Stands before a server and lets through what ``mode`` says.

    pass: everything; gone: nobody listens; hang: connections are taken and nothing is answered; a number: each
    request is answered by this status; cut: the connection is lost after so many bytes of one.
    """

    CUT_AFTER = 30_000

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._mode = "gone"
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()

    @property
    def mode(self) -> str:
        """What it does now."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode = mode
        # A client may be back before all are closed: it is one of the new ones.
        before, self._open = self._open, set()
        for connection in before:
            _close(connection)
        if mode == "gone":
            if self._listener is not None:
                _close(self._listener)
                self._listener = None
        elif self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, self._mode), daemon=True).start()

    def _serve(self, connection: socket.socket, mode: str) -> None:
        with contextlib.suppress(OSError):
            if mode == "hang":
                return
            if mode.isdecimal():
                self._refuse(connection, mode)
                return
            target = socket.create_connection(("127.0.0.1", self.target))
            self._open.add(target)
            threading.Thread(target=_pipe, args=(target, connection, None), daemon=True).start()
            _pipe(connection, target, self.CUT_AFTER if mode == "cut" else None)

    def _refuse(self, connection: socket.socket, status: str) -> None:
        said = b"no"
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                more = connection.recv(65536)
                if not more:
                    return
                head += more
            before, _, body = head.partition(b"\r\n\r\n")
            lengths = [line for line in before.split(b"\r\n") if line.lower().startswith(b"content-length")]
            left = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
            while left > 0:
                left -= len(connection.recv(65536)) or left
            connection.sendall(
                b"HTTP/1.1 %s Said so\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(said), said)
            )


def _pipe(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    moved = 0
    try:
        while chunk := source.recv(65536):
            moved += len(chunk)
            if limit is not None and moved > limit:
                break
            target.sendall(chunk)
    except OSError:
        pass
    _close(source)
    _close(target)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        connection.close()
