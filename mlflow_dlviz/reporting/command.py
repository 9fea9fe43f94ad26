"""The command line that makes a report again. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from mlflow_dlviz.reporting.bundle import Query
from mlflow_dlviz.reporting.options import SEED_KEYS, Choice, Options

_UNITS = (("w", 7 * 86400), ("d", 86400), ("h", 3600), ("m", 60))
_USUAL_QUERY = Query("")
_USUAL = Options()


def command(query: Query, options: Options) -> str:
    """``mlflow-dlviz report …`` with all that is not as by default, quoted for a POSIX shell.

    The server is named where it is one; of a database or a folder on disk the way is left to MLflow's settings.
    """
    words = ["mlflow-dlviz", "report"]
    asked = [*_query_options(query), *_content_options(options), *_runtime_options(query, options)]
    # An experiment called "-x" would be taken for an option.
    dashed = any(name.startswith("-") for name in query.experiments)
    words += [*asked, "--", *query.experiments] if dashed else [*query.experiments, *asked]
    return shlex.join(words)


def age(seconds: float) -> str:
    """An age as ``--since`` takes it: "7d", "90m"."""
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 60:.10f}".rstrip("0").rstrip(".") + "m"


def _query_options(query: Query) -> Iterator[str]:
    yield from _each("--run-id", query.run_ids)
    yield from _each("--filter", query.filters)
    yield from _each("--status", (status.lower() for status in query.statuses))
    if query.since is not None:
        yield from _option("--since", age(query.since))
    yield from _each("--order-by", query.order_by)
    if query.limit != _USUAL_QUERY.limit:
        yield from _option("--limit", str(query.limit))


def _content_options(options: Options) -> Iterator[str]:
    yield from _each("--metric", map(_choice, options.metrics))
    if options.goal is not None:
        yield from _option("--goal", options.goal)
    if options.x != _USUAL.x:
        yield from _option("--x", options.x)
    if options.baseline:
        yield from _option("--baseline", options.baseline)
    if options.group_by is not None:
        yield from _option("--group-by", ",".join(options.group_by) or "none")
    if options.seed_keys != SEED_KEYS:
        yield from _each("--seed-key", options.seed_keys)
    if options.images != _USUAL.images:
        yield from _option("--images", options.images)
    if options.epochs:
        yield from _option("--epochs", ",".join("last" if epoch < 0 else str(epoch) for epoch in options.epochs))
    if options.smoothing:
        yield from _option("--smoothing", repr(options.smoothing))


def _runtime_options(query: Query, options: Options) -> Iterator[str]:
    if options.max_mb != _USUAL.max_mb:
        yield from _option("--max-mb", f"{options.max_mb:g}")
    if query.server.startswith(("http://", "https://")):
        yield from _option("--tracking-uri", query.server)
    yield from _each("--redact", options.redact)


def _each(name: str, values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield from _option(name, value)


def _option(name: str, value: str) -> Iterator[str]:
    # A value that begins with a dash is told apart from an option by the sign.
    yield from ([f"{name}={value}"] if value.startswith("-") else [name, value])


def _choice(choice: Choice) -> str:
    return choice.pattern if choice.smaller is None else f"{choice.pattern}:{'min' if choice.smaller else 'max'}"
