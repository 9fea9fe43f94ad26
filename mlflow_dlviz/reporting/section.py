"""A part of the page: what its template, its script and its style sheet are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """What one section shows.

    id: names ``templates/<id>.html``, and ``scripts/<id>.js`` and ``styles/<id>.css`` where there are any; title:
    its heading and its button; values: what its template is rendered with; data: what its script reads, as JSON;
    reason: why the section is not there, "" if it is; button: whether the bar at the top leads to it.
    """

    id: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    button: bool = True
