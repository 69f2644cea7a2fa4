"""Nested plain data, as JSON and YAML hold it, out of whatever a recipe is made of."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from senet.errors import UsageError
from senet.recipe.yaml_text import MOST_LEVELS
from senet.schema import brief
from senet.spec import BlockSpec


def plain_tree(value: Any, place: str = "recipe", *, finite: bool = True, level: int = 0) -> Any:
    """Return a copy of data as nested plain data: dataclasses become mappings, tuples lists, and keys text.

    Args:
        value: what is copied.
        place: what it is called in errors: "recipe", then "optim.lr".
        finite: whether numbers that are not finite are refused.
        level: in how many lists and mappings it lies.

    Raises:
        UsageError: for anything that is no plain data, text that holds the character NUL, or more levels than a file may have.
    """
    if isinstance(value, BlockSpec):
        value = value.to_dict()
    elif is_dataclass(value):
        value = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    if isinstance(value, Mapping | list | tuple):
        if level > MOST_LEVELS:
            raise UsageError(f"{place} has more than {MOST_LEVELS} levels")
        inside = value.items() if isinstance(value, Mapping) else enumerate(value, 1)
        copied = [
            (str(name), plain_tree(item, f"{place}.{name}" if level else str(name), finite=finite, level=level + 1))
            for name, item in inside
        ]
        return dict(copied) if isinstance(value, Mapping) else [item for _, item in copied]
    if isinstance(value, str) and "\0" in value:
        raise UsageError(f"{place} has the character NUL: {brief(value)}")
    if finite and isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{place} must be a finite number, got {value}")
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):  # of NumPy's and other sub-classes only the value stays
        if isinstance(value, kind):
            return kind(value)
    raise UsageError(f"{place} must be plain data (text, numbers, true, false, null, lists and mappings), got {brief(value)}")
