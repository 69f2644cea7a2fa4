"""Plain data with values replaced, as other people write them."""

import json
from collections.abc import Iterator
from typing import Any

ODD = (None, True, -1, 0, 10**30, 0.5, float("nan"), float("inf"), "", "x", [], [[]], {})
"""Values of every type of plain data, of which few are right anywhere."""


def places(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value in plain data, containers too."""
    yield place
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*place, key))


def with_value(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of plain data with the value at a place replaced."""
    if not place:
        return value
    copy = json.loads(json.dumps(tree))
    parent = copy
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    return copy
