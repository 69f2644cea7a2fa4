"""Plain data into typed values: what YAML, JSON or a flag holds becomes what a type hint says."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from senet.errors import UsageError, nearest
from senet.recipe.yaml_text import MOST_DIGITS, parse_yaml
from senet.schema import brief

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
"""Numbers that YAML 1.1 takes for text unless they have a dot, such as 1e-4, among others."""

NULLS = ("null", "~")
"""How null is written; YAML takes a remark and empty text for it, too."""

PLURALS = {int: "ints", float: "floats", str: "strings"}


class MismatchError(ValueError):
    """Value that its field cannot have."""

    def __init__(self, value: object, hint: Any) -> None:
        close = nearest(value, get_args(hint)) if get_origin(hint) is Literal else ""
        super().__init__(f"expected {describe_hint(hint)}, got {_shown(value)}{close}")


def _shown(value: object) -> str:
    """Return a value as it was written, unless it is long or cannot be seen."""
    written = str(value) if not isinstance(value, int) or value.bit_length() <= MOST_DIGITS else brief(value)
    return written if written.isprintable() and 0 < len(written) <= MOST_DIGITS else brief(value)


def convert(value: Any, hint: Any) -> Any:
    """Return a plain value as its type hint says: lists become tuples, ints floats where floats are wanted, mappings dataclasses.

    Text is read as YAML where something else than text is wanted, so that "3" is a number and "[1, 2]" a tuple.

    Args:
        value: plain data, or an instance of a dataclass that the hint names.
        hint: int, float, bool, str, None, Any, a Literal, a dataclass, or a tuple, dict or union of these.

    Raises:
        MismatchError: if the value cannot be that, with both in its message.
        UsageError: as a dataclass's constructor or `from_dict` does.
    """
    read = _fields if is_dataclass(hint) else READERS[get_origin(hint) or hint]
    try:
        return read(value, hint)
    except MismatchError:
        parsed = parse_text(value) if isinstance(value, str) else value
        if not isinstance(parsed, str):
            with suppress(MismatchError):
                return read(parsed, hint)
        raise


def parse_text(text: str) -> Any:
    """Return what a text means as YAML, where 1e-4 is a number; empty text and what is no YAML stay text."""
    if not text.strip():
        return text
    if NUMBER.fullmatch(text) and len(text) <= MOST_DIGITS:
        return float(text) if set(text) & set(".eE") else int(text)
    try:
        value = parse_yaml(text)
    except UsageError:
        return text
    return text if value is None and text.strip().lower() not in NULLS else value


def describe_hint(hint: Any) -> str:
    """Return in words what a type hint allows: "int or null", "a list of 2 floats"."""
    arguments = get_args(hint)
    if is_dataclass(hint):
        return f"the fields of a {getattr(hint, '__name__', 'dataclass')}"
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if get_origin(hint) is tuple:
        count = "" if arguments[-1] is ... else f"{len(arguments)} "
        return f"a list of {count}{PLURALS.get(arguments[0], describe_hint(arguments[0]))}"
    if get_origin(hint) is dict:
        key, value = map(describe_hint, arguments)
        return f"a mapping of {key} to {value}"
    if get_origin(hint) in (Union, UnionType):
        *first, last = map(describe_hint, arguments)
        return f"{', '.join(first)} or {last}"
    return {NoneType: "null", Any: "anything"}.get(hint) or hint.__name__


def _instance(value: Any, hint: Any) -> Any:
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is int):  # True is an int to Python, not to a user
        raise MismatchError(value, hint)
    return value


def _float(value: Any, hint: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MismatchError(value, hint)
    return float(value)


def _literal(value: Any, hint: Any) -> Any:
    if not any(type(value) is type(allowed) and value == allowed for allowed in get_args(hint)):
        raise MismatchError(value, hint)
    return value


def _tuple(value: Any, hint: Any) -> tuple[Any, ...]:
    kinds = get_args(hint)
    if not isinstance(value, list | tuple) or (kinds[-1] is not ... and len(value) != len(kinds)):
        raise MismatchError(value, hint)
    kinds = kinds[:1] * len(value) if kinds[-1] is ... else kinds
    return tuple(map(convert, value, kinds))


def _mapping(value: Any, hint: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise MismatchError(value, hint)
    key, item = get_args(hint)
    return {_key(str(name), key): convert(inner, item) for name, inner in value.items()}  # JSON has no keys but text


def _key(text: str, hint: Any) -> Any:
    """Return the key of a mapping as its hint says; where it may be text, all is text but numbers in digits: 3_4 is no 34."""
    return text if str in get_args(hint) and not text.isdecimal() else convert(text, hint)


def _union(value: Any, hint: Any) -> Any:
    """Read a value as the first kind that it can be; text that can be something else is that."""
    kinds = sorted(get_args(hint), key=lambda kind: kind is str)
    for kind in kinds:
        with suppress(MismatchError):
            return convert(value, kind)
    raise MismatchError(value, hint)


def _fields(value: Any, hint: Any) -> Any:
    """Build a dataclass of its fields, by its own `from_dict`."""
    if isinstance(value, hint):
        return value
    if not isinstance(value, Mapping):
        raise MismatchError(value, hint)
    return hint.from_dict(value)


READERS: dict[Any, Callable[[Any, Any], Any]] = {
    **dict.fromkeys((int, bool, str, NoneType), _instance),
    float: _float,
    Any: lambda value, hint: parse_text(value) if isinstance(value, str) else value,
    Literal: _literal,
    tuple: _tuple,
    dict: _mapping,
    **dict.fromkeys((Union, UnionType), _union),
}
"""What a type hint is, or is made of -> what reads a value as such."""
