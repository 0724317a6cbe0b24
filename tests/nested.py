"""Every place in nested JSON, and a copy of it with another value at one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Place = tuple[Any, ...]  # keys and numbers, from the outermost on


def places(value: Any, at: Place = (), most: int | None = None) -> Iterator[Place]:
    """Every place in dictionaries and lists, `most` of each list."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:most]) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from places(inner, (*at, key), most)


def put(content: Any, place: Place, value: Any) -> Any:
    """A copy of `content` with another value at `place`."""
    changed = json.loads(json.dumps(content))
    at = changed
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return changed
