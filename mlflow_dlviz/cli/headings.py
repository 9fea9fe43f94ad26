"""Options under headings in ``--help``, which click has not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click


class Option(click.Option):
    """An option that stands under ``heading``."""

    def __init__(self, *args: Any, heading: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self.heading = heading


class Command(click.Command):
    """A command whose help lists its options by their headings, in the order in which these first come."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        found: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            # Arguments are told of in the usage line and the text.
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                found.setdefault(getattr(param, "heading", "Help"), []).append(record)
        for heading, records in found.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def under(heading: str) -> Callable[..., Any]:
    """``click.option`` for options that stand under ``heading``."""
    return partial(click.option, cls=Option, heading=heading)
