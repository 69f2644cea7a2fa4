"""Templates of arguments: what a graph takes as it comes, and what is fixed in it."""

from collections.abc import Callable, Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor


class Leaf(Enum):
    """Part of an argument that a graph takes as it comes."""

    TENSOR = "tensor"
    VALUE = "value"


CHOICES = (
    *(type(None), str, bytes, Enum, type, FunctionType, BuiltinFunctionType),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format),
)
"""Types of values by which a forward chooses its way."""


def template(value: Any, *, fix: bool) -> Any:
    """Return an argument with leaves for what is not fixed; lists, tuples and dictionaries keep their form.

    Args:
        value: the argument.
        fix: whether everything but tensors is fixed; else only what a forward can do little with but choose its way.
    """
    if isinstance(value, Tensor):
        return Leaf.TENSOR
    if (parts := parts_of(value)) is not None:
        return rebuilt(value, {key: template(part, fix=fix) for key, part in parts.items()})
    return value if fix or isinstance(value, CHOICES) else Leaf.VALUE


def parts_of(nest: Any) -> Mapping[Any, Any] | None:
    """Return the parts of a list, tuple or dictionary by index or key, None if it is something else."""
    if isinstance(nest, tuple | list):
        return dict(enumerate(nest))
    return nest if isinstance(nest, dict) else None


def rebuilt(nest: Any, parts: Mapping[Any, Any]) -> Any:
    """Return a list, tuple or dictionary of the form of another one, with other parts."""
    if isinstance(nest, dict):
        return dict(parts)
    make: Callable[..., Any] = getattr(type(nest), "_make", list if isinstance(nest, list) else tuple)
    return make(parts.values())


def holds(pattern: Any, *leaves: Leaf) -> bool:
    """Return whether a template has one of these leaves."""
    parts = parts_of(pattern)
    return pattern in leaves if isinstance(pattern, Leaf) else parts is not None and any(holds(part, *leaves) for part in parts.values())


def fits(pattern: Any, value: Any) -> bool:
    """Return whether a value is as a template says."""
    if isinstance(pattern, Leaf) or value is pattern:
        return True
    parts = parts_of(pattern)
    if parts is None:
        return isinstance(value, type(pattern)) and bool(value == pattern)
    given = parts_of(value)
    return given is not None and given.keys() == parts.keys() and all(fits(part, given[key]) for key, part in parts.items())


def in_words(pattern: Any) -> str:
    """Return a template as it would be written, with dots for what may be anything."""
    if isinstance(pattern, Leaf):
        return "..."
    parts = parts_of(pattern)
    if parts is None:
        return getattr(pattern, "__name__", repr(pattern))
    return f"{type(pattern).__name__} of {', '.join(map(in_words, parts.values())) or 'nothing'}"
