"""Values that differ by place in a network: by stage, or by unit in a stage. No torch.

A mapping `{3: 8, "3_4": 16}` has 16 for unit 4 of stage 3, counted from 1, and 8 for the other units of that stage.
"""

import operator
import re
from collections.abc import Mapping, Set
from typing import Any

from senet.errors import UsageError
from senet.schema import either, integer, text
from senet.text import printable

UNIT_NAME = re.compile(r"(\d{1,4})_([1-9]\d{0,3})", re.ASCII)
"""Name of a unit, stage and index in it from 1: "3_4"."""

WRITTEN_PLACE = either(integer(0, 1000), text(9, low=1, pattern=rf"\d{{1,4}}|{UNIT_NAME.pattern}", what="a stage or stage_unit"))
"""A stage or a unit as the key of a mapping in JSON."""


def whole(value: object) -> int | None:
    """Return an integer of Python, NumPy or torch as one of Python; None for all else, fractions and truth values among it."""
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")) or getattr(value, "ndim", 0):
        return None
    try:
        return operator.index(value)  # pyright: ignore[reportArgumentType] - which is the question
    except TypeError:
        return None


def counts_by_place(value: object) -> object:
    """Return an integer, a collection of them or `{place: integer}` with integers of Python; what is something else stays for a check."""
    value = value.tolist() if getattr(value, "ndim", 0) else value  # pyright: ignore[reportAttributeAccessIssue] - of arrays and tensors
    if isinstance(value, Mapping):
        return {counts_by_place(place): counts_by_place(count) for place, count in value.items()}
    if isinstance(value, list | tuple | Set | range):
        return tuple(counts_by_place(entry) for entry in value)
    number = whole(value)
    return value if number is None else number


def by_place(name: str, value: Any) -> Any:
    """Return `{place: value}` with stages as integers and units as "stage_index"; what is no mapping stays.

    Raises:
        UsageError: for a key that is neither; `name` is what errors call the value.
    """
    return {_place(name, key): item for key, item in value.items()} if isinstance(value, Mapping) else value


def stage_of(place: int | str) -> int:
    """Return the stage that a place is, or lies in."""
    return place if isinstance(place, int) else unit_of(place)[0]


def unit_of(place: str) -> tuple[int, int]:
    """Return stage and index of a unit by its name."""
    stage, _, index = place.partition("_")
    return int(stage), int(index)


def unit_name(stage: int, index: int) -> str:
    """Return the name of a unit as a key of such mappings."""
    return f"{stage}_{index}"


def units_named(values: Any) -> list[tuple[int, int]]:
    """Return stage and index of the units that mappings among values name."""
    return [unit_of(place) for value in values if isinstance(value, Mapping) for place in value if isinstance(place, str)]


def value_at(name: str, value: Any, stage: int, index: int) -> Any:
    """Return the value of one unit: what is said of it, else of its stage; what is no mapping is the value of all.

    Raises:
        UsageError: if neither is named.
    """
    if not isinstance(value, Mapping):
        return value
    for place in (unit_name(stage, index), stage):
        if place in value:
            return value[place]
    unit = f" or its unit {index}" if units_named([value]) else ""
    raise UsageError(f"{name} says nothing about stage {stage}{unit}; it names {'' if unit else 'stages '}{', '.join(map(str, value))}")


def _place(name: str, key: object) -> int | str:
    if isinstance(key, str) and (unit := UNIT_NAME.fullmatch(key)):
        return unit_name(int(unit[1]), int(unit[2]))
    if isinstance(key, str) and key.isdecimal() and len(key) < 10:
        return int(key)
    stage = whole(key)
    if stage is None:
        raise UsageError(
            f"{name} differs by stage, and {printable(str(key)[:100])!r} is no number of a stage, as in {name}: {{3: 8, 4: 16}}, "
            f"and no stage_unit, as in {name}: {{3: 8, 3_4: 16}}"
        )
    return stage
