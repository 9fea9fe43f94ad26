"""What the tests of fetching share: a query out of keywords, and what the store was asked meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy
from mlflow import MlflowClient

from mlflow_dlviz.reporting.bundle import Query
from mlflow_dlviz.reporting.fetching.source import Reading
from mlflow_dlviz.reporting.options import Options

OURS = {"dlviz.status": "ok"}


def split_up(told: dict, experiment: str, uri: str) -> tuple[Query, Options, Reading]:
    def of(kind, **more):
        fields = kind.__dataclass_fields__
        return kind(**more, **{name: told[name] for name in told if name in fields and name not in more})

    return of(Query, server="", experiments=(experiment,)), of(Options), of(Reading, tracking_uri=uri)


@contextmanager
def statements(uri: str) -> Iterator[list[str]]:
    """The SQL that is sent to the store meanwhile."""
    seen: list[str] = []

    def listen(connection, cursor, statement, *more):
        seen.append(statement)

    engine = MlflowClient(uri)._tracking_client.store.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", listen)
    try:
        yield seen
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", listen)


def history_requests(seen: list[str]) -> list[str]:
    return [statement for statement in seen if "FROM metrics" in statement]


def shown(bundle) -> list[tuple[str, int]]:
    return [(frame.key, frame.step) for frame in bundle.runs[0].frames]
