"""The tracking server or store itself: whether it answers, and how its address is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

Progress = Callable[[int, int], None]
"""Called with (done, total) on the calling thread."""

_REACH_SECONDS = 10.0
# Said by a server, or by what stands before it, that can't work now.
_BROKEN = (429, 500, 502, 503, 504)
# The same in MLflow's words; of a request that it has given up, the first.
_BROKEN_WORDS = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")


class ServerUnreachable(ConnectionError):
    """The tracking server does not answer."""


def connect(tracking_uri: str | None = None) -> MlflowClient:
    """A client for ``tracking_uri`` (default: MLflow's own), after a short look whether its server answers.

    MLflow's client retries for about four minutes before it gives up on a dead server; whoever waits at a
    command line wants to know at once.
    """
    uri = tracking_uri or mlflow.get_tracking_uri()
    check_reachable(uri)
    return MlflowClient(tracking_uri=uri)


def check_reachable(uri: str, seconds: float = _REACH_SECONDS) -> None:
    """Ask a server for a sign of life; of a local store or a database nothing is asked.

    Raises ServerUnreachable without an answer within so many seconds, and for one that says it is broken.
    """
    if not is_remote(uri):
        return
    # A refusal will do for an answer: access is MLflow's to settle, TLS with its own options too.
    try:
        answer = requests.get(uri.rstrip("/") + "/health", timeout=seconds)
    except requests.exceptions.SSLError:
        return
    except requests.exceptions.RequestException as error:
        raise ServerUnreachable(f"the tracking server at {public_uri(uri)} does not answer: {error}") from error
    if answer.status_code in _BROKEN:
        raise ServerUnreachable(f"the tracking server at {public_uri(uri)} answers {answer.status_code}")


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Raises ServerUnreachable where a server that was there a moment ago can't do what it is asked for."""
    try:
        yield
    except MlflowException as error:
        if is_remote(uri) and error.error_code in _BROKEN_WORDS:
            told = first_line(error.message)
            raise ServerUnreachable(f"the tracking server at {public_uri(uri)} fails: {told}") from error
        raise


def public_uri(uri: str) -> str:
    """``uri`` fit to be shown to others: without user, password, query and local folders."""
    parts = urlsplit(uri)
    if is_remote(uri):
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if uri.startswith(("databricks", "uc")):
        return uri.split(":")[0]
    if not parts.scheme or len(parts.scheme) == 1 or "/" in parts.path:
        return f"{parts.scheme or 'file'}: {parts.path.replace(chr(92), '/').rstrip('/').rsplit('/', 1)[-1]}"
    return parts.scheme


def is_remote(uri: str) -> bool:
    """Whether ``uri`` is that of a server which is spoken to over HTTP."""
    return urlsplit(uri).scheme in ("http", "https")


def first_line(text: str) -> str:
    """What an error says first, short enough for a line of a list."""
    return (text.strip().splitlines() or ["no message"])[0][:300]
