"""Build a recipe from nested plain data: names are checked, values get their types.

The dataclasses themselves say which fields there are and of which types, so nothing but their type hints is read, and errors are in a
user's words from the start. A library for command lines would be asked for its types only, and its errors translated.
"""

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from senet.errors import UsageError, nearest
from senet.recipe.paths import field_path, set_field
from senet.recipe.plain_tree import plain_tree
from senet.recipe.tree import Recipe
from senet.recipe.values import MismatchError, convert
from senet.spec import known_options

Fields = TypeVar("Fields")


def build_recipe(tree: Any, overrides: Mapping[str, Any] | None = None, *, where: str = "recipe") -> Recipe:
    """Build a recipe from nested plain data and dotted overrides.

    Raises:
        UsageError: for an unknown field (the nearest is named) or a value of the wrong type.
    """
    check_tree(tree, where)
    tree = plain_tree(tree, where, finite=False)
    for path, value in (overrides or {}).items():
        set_field(tree, field_path(path), value)
    _check_names(tree, Recipe, "", where)
    model = tree.get("model", {})
    if model.get("block") == "none":
        model["block"] = None
    return _built(Recipe, tree, "", where)


def check_tree(tree: Any, where: str) -> None:
    """Raise UsageError, naming the nearest field, unless nested plain data has fields of a recipe only."""
    if not isinstance(tree, Mapping):
        raise UsageError(f"{where} must hold fields such as `model:` and `data:`, got {tree!r}")
    _check_names(tree, Recipe, "", where)


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with dotted fields replaced: `override(recipe, {"model.block": "se", "seed": 1})`."""
    return build_recipe(recipe.to_dict(), changes)


def _check_options(tree: Mapping[str, Any], prefix: str, where: str) -> None:
    options = known_options(tree.get("kind", "se"))
    known = ("kind", *(tree if options is None else options))
    for name in tree:
        if name not in known:
            allowed = ", ".join(prefix + option for option in known)
            raise UsageError(f"{where} has an unknown field {prefix + str(name)!r}{nearest(name, known)}; allowed: {allowed}")


def _check_names(tree: Mapping[str, Any], cls: type, prefix: str, where: str) -> None:
    hints = get_type_hints(cls)
    for name, value in tree.items():
        if name not in hints:
            allowed = ", ".join(prefix + known for known in hints)
            raise UsageError(f"{where} has an unknown field {prefix + str(name)!r}{nearest(name, hints)}; allowed: {allowed}")
        if value is None and NoneType not in get_args(hints[name]):
            raise UsageError(f"{where}: {prefix}{name} is empty; give it a value, or leave it out for its default")
        if name == "block" and isinstance(value, Mapping):
            _check_options(value, f"{prefix}{name}.", where)
        if is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise UsageError(f"{where}: {prefix}{name} must hold fields, got {value!r}")
            _check_names(value, hints[name], f"{prefix}{name}.", where)


def _built(cls: type[Fields], tree: Mapping[str, Any], prefix: str, where: str) -> Fields:
    """Build a dataclass, and those in its fields, from nested plain data whose names are checked already."""
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if is_dataclass(hints[name]) and isinstance(value, Mapping):
            values[name] = _built(hints[name], value, f"{prefix}{name}.", where)
            continue
        try:
            values[name] = convert(value, hints[name])
        except MismatchError as error:
            raise UsageError(f"{where}: {prefix}{name}: {error}") from error
    return cls(**values)
