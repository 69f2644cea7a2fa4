"""In which fields two recipes differ."""

from collections.abc import Mapping
from typing import Any


def field_differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Return dotted path and both values of each field that two nested mappings do not share; None where one has no such field."""
    found: list[tuple[str, Any, Any]] = []
    for name in sorted(first.keys() | second.keys()):
        one, other = first.get(name), second.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += field_differences(one, other, f"{prefix}{name}.")
        elif one != other:
            found.append((f"{prefix}{name}", one, other))
    return found
