"""The library's errors as one line and a status that scripts can tell apart."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

BAD_USAGE, NOTHING, PARTIAL, UNREACHABLE = 2, 3, 4, 6


def impatient() -> None:
    """Let MLflow give up on a server within a minute or two, not four: somebody waits at the command line.

    What the user has set in the environment stands.
    """
    for name, value in (("MAX_RETRIES", "2"), ("TIMEOUT", "30")):
        os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)


@contextmanager
def exit_codes() -> Iterator[None]:
    """End the process with a line on stderr and a status where the library raises what it documents."""
    from mlflow.exceptions import MlflowException

    from mlflow_dlviz import reporting

    try:
        yield
    except reporting.NothingMatched as error:
        leave(NOTHING, error)
    except reporting.Incomplete as error:
        leave(PARTIAL, error)
    except reporting.ServerUnreachable as error:
        leave(UNREACHABLE, error)
    except (ValueError, LookupError, MlflowException, OSError) as error:
        leave(BAD_USAGE, error)


def leave(status: int, error: Exception) -> NoReturn:
    """End the process: ``error`` in one line, without a traceback."""
    text = error.args[0] if isinstance(error, LookupError) and error.args else error
    click.echo(f"Error: {printable(str(text))}", err=True)
    sys.exit(status)


def printable(text: str) -> str:
    """``text`` without what a terminal would obey: it may come from a run, and so from anybody."""
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)
