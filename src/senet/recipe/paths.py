"""Fields of a recipe by dotted path: "optim.lr"."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from senet.errors import UsageError, nearest
from senet.recipe.tree import Recipe
from senet.schema import brief
from senet.unit_values import UNIT_NAME


def field_paths() -> list[str]:
    """Return the dotted path of every field of a recipe."""
    return list(_paths(Recipe))


def field_path(name: str) -> str:
    """Complete a field's name to its dotted path: "block" is "model.block", "lr" is "optim.lr".

    Raises:
        UsageError: if no field, or more than one, ends so.
    """
    paths = field_paths()
    parents = {"model.block", "model.options", "model.reduction"}  # these hold mappings: a further part names a key in them
    if name in paths:
        return name
    if parent := next((parent for parent in parents if name.startswith(f"{parent}.")), None):
        key = name.removeprefix(f"{parent}.")
        if not all(part.isidentifier() or part.isdecimal() or UNIT_NAME.fullmatch(part) for part in key.split(".")):
            raise UsageError(f"{parent} holds arguments and stages, and {brief(key)} is the name of neither")
        return name
    ends = [path for path in paths if path.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise UsageError(f"{name!r} is a field of several sections; say which: {', '.join(ends)}")
    raise UsageError(f"a recipe has no field {name!r}{nearest(name, paths)}; `senet recipes show digits` prints them all")


def _paths(cls: type, prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(cls)
    for entry in fields(cls):
        nested = hints[entry.name]
        if is_dataclass(nested) and isinstance(nested, type):
            yield from _paths(nested, f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}"


def set_field(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set the field of a nested plain recipe that a full path names, in place."""
    *parents, last = path.split(".")
    for name in parents:
        inner = tree.get(name)
        if name == "block" and isinstance(inner, str):  # "se" with an option becomes {"kind": "se", option: value}
            inner = {} if inner in ("auto", "none") else {"kind": inner}
        tree[name] = inner if isinstance(inner, dict) else {}
        tree = tree[name]
    tree[last] = value
