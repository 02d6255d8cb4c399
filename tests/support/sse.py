"""Reads server-sent events (WHATWG HTML, section 9.2) off a response's lines."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

__all__ = ["Sse", "read_events"]


class Sse(NamedTuple):
    """One event."""

    name: str
    data: dict[str, Any]
    id: str


def read_events(lines: Iterable[str]) -> Iterator[Sse]:
    """Each event as it comes; comments and `retry` are no events."""
    event: dict[str, str] = {}
    for line in lines:
        field, _, value = line.partition(":")
        if line and field:
            event[field] = value.removeprefix(" ")
        elif not line and "data" in event:
            yield Sse(event["event"], json.loads(event["data"]), event["id"])
            event = {}
        elif not line:
            event = {}
