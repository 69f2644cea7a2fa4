"""What is varied: fields and values of a recipe become variants, each a label and a recipe of its own."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from senet.errors import UsageError
from senet.recipe import Recipe, field_path, list_recipes, load_recipe, override, parse_yaml
from senet.spec import KINDS, block_class
from senet.text import printable
from senet.userfile import in_user_file

DEFAULT_VARY: dict[str, list[Any]] = {"model.block": [None, "se"]}

LONGEST_SLUG = 100
"""Characters of a variant in a folder's name; the digest beside them tells those apart that begin alike."""

OF_THE_BLOCK = {"model.placement": "standard", "model.stages": None, "model.reduction": None, "model.init": None}
"""Fields that mean nothing on a plain network, and the values that they have there."""


@dataclass(frozen=True)
class Variant:
    """Member of a comparison.

    Args:
        label: what tables and charts call it.
        changes: dotted recipe field -> value, what makes it differ from the others.
        recipe: its recipe, complete but for the seed.
    """

    label: str
    changes: dict[str, Any]
    recipe: Recipe

    @property
    def slug(self) -> str:
        """The label as part of a folder's name."""
        return re.sub(r"[^a-z0-9.]+", "-", self.label.lower()).strip("-.")[:LONGEST_SLUG].rstrip("-.")


def parse_vary(text: str) -> tuple[str, list[Any]]:
    """Read `FIELD=VALUE,VALUE...` with the values in YAML: "block=none,se", "model.stages=[1],[2],[3]".

    Raises:
        UsageError: if there is no such field, or no value.
    """
    name, equals, values = text.partition("=")
    if not equals or not values.strip():
        raise UsageError(f"--vary wants FIELD=VALUE,VALUE..., got {text!r}; for example --vary block=none,se")
    return field_path(name.strip()), parse_yaml(f"[{values}]", f"--vary {printable(name)}=...")


def expand(recipe: Recipe, vary: Mapping[str, Sequence[Any]] | None = None) -> list[Variant]:
    """Cross all values of all varied fields; the first variant is the baseline. A field with a single value is set for all.

    A plain network has no placement, stages or reduction: variants that differ in those alone become one. Where such a field is varied on a
    plain recipe, the plain network stays as the baseline and the values go to its SE twin, as in the tables of the SENet paper (section 6).

    Raises:
        UsageError: for an unknown field or value, a field given twice, or fewer than two different variants.
    """
    varied: dict[str, list[Any]] = {}
    for name, values in (vary or DEFAULT_VARY).items():
        path = field_path(name)
        if path in varied:
            raise UsageError(f"{path} is varied twice; give all its values at once")
        varied[path] = [None if path == "model.block" and value == "none" else value for value in values]
    if "seed" in varied:
        raise UsageError("seed is not a field to vary: every variant is trained with the same seeds; say how many with --seeds")
    if len(varied.get("task", ())) > 1:
        raise UsageError("task is not a field to vary: variants are compared by the metrics of one task; set it for all with --task")
    if "model.block" not in varied and any(map(is_block_field, varied)) and is_plain(recipe):
        varied = DEFAULT_VARY | varied
    shared = {path: values[0] for path, values in varied.items() if len(values) == 1}
    recipe = override(recipe, shared)
    varied = {path: values for path, values in varied.items() if path not in shared}
    varied = dict(sorted(varied.items(), key=lambda item: item[0] != "model.block"))  # the block first: its options build on it

    variants: dict[str, Variant] = {}
    for values in product(*varied.values()):
        variant = make_variant(recipe, dict(zip(varied, values, strict=True)))
        variants.setdefault(variant.recipe.digest(), variant)
    if len(variants) < 2:
        named = ", ".join(vary or DEFAULT_VARY)
        raise UsageError(f"nothing to compare: {named} gives one variant only; name at least two different values")
    return _told_apart(variants.values())


def _told_apart(variants: Iterable[Variant]) -> list[Variant]:
    """Number variants of one label, as of the values 1 and "1": runs and results go by it."""
    told: dict[str, Variant] = {}
    for variant in variants:
        number, label = 1, variant.label
        while label in told:
            number, label = number + 1, f"{variant.label} ({number + 1})"
        told[label] = replace(variant, label=label)
    return list(told.values())


def command_line(recipe: Recipe, vary: Mapping[str, Sequence[Any]] | None, seeds: int) -> str:
    """Return a command that makes the same comparison: the package's recipe of that name with what differs, else the recipe's own file."""
    words = ["senet", "compare", recipe.name]
    if recipe.name in list_recipes():
        own, named = _flat(recipe.to_dict()), _flat(load_recipe(recipe.name, only_read=True).to_dict())
        for path in sorted(own.keys() | named.keys()):
            if own.get(path) != named.get(path):
                words += [f"--{path}", _yaml(own.get(path))]
    else:
        words[2] += ".yaml"
    for name, values in (vary or {}).items():
        words += ["--vary", f"{field_path(name)}={','.join(map(_yaml, values))}"]
    return shlex.join([*words, "--seeds", str(seeds)])


def make_variant(recipe: Recipe, changes: dict[str, Any]) -> Variant:
    """Apply the changes to the recipe and name the outcome."""
    plain = changes["model.block"] is None if "model.block" in changes else is_plain(recipe)
    if plain:
        changes = {path: value for path, value in changes.items() if not is_block_field(path)}
    changed = override(recipe, changes | OF_THE_BLOCK if plain else changes)  # what cannot be is refused before it is described
    return Variant(printable(", ".join(describe_change(path, value) for path, value in changes.items()), None), changes, changed)


def describe_change(path: str, value: Any) -> str:
    """Return how a changed field reads in a label: "plain", "SE", "reduction 8"."""
    if path == "model.block":
        if isinstance(value, Mapping):
            options = " ".join(f"{name}={option}" for name, option in value.items() if name != "kind")
            return f"{describe_change(path, value.get('kind', 'se'))} {options}".strip()
        return "plain" if value is None else block_class(value).title if value in KINDS or in_user_file(str(value)) else str(value)
    return f"{path.rpartition('.')[2].replace('_', ' ')} {'none' if value is None else value}"


def is_block_field(path: str) -> bool:
    """Return whether a field says something about the block, so that a plain network has no use for it."""
    return path in OF_THE_BLOCK or path.startswith("model.block.")


def is_plain(recipe: Recipe) -> bool:
    """Return whether the recipe's network has no block."""
    from senet.models.create import config_of, model_from_recipe

    model = replace(recipe.model, weights=None, init=None)  # what blocks there are is asked, not where they begin
    return config_of(model_from_recipe(model, num_classes=2, in_channels=1, device="meta")).options["block"] is None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _yaml(value: Any) -> str:
    return "null" if value is None else json.dumps(value) if isinstance(value, list | tuple | dict | bool) else str(value)
