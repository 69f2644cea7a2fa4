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
from senet.recipe.compress import AS_IT_IS, COMPRESS, parse_compress
from senet.spec import KINDS, block_class
from senet.text import printable
from senet.userfile import in_user_file

DEFAULT_VARY: dict[str, list[Any]] = {"model.block": [None, "se"]}

RATES = "optim.groups."
"""How the fields of the rates of parts begin."""

LONGEST_SLUG = 100
"""Characters of a variant in a folder's name; the digest beside them tells those apart that begin alike."""

MOST_SHOWN = 4
"""Values of an option by stage or unit that a label shows."""

TOGETHER = "+"
"""Between fields that change together: "block+groups.host", each of whose values is a list of one value a field."""

RESOLVED = {("model.block", "none"): None, (COMPRESS, None): AS_IT_IS}
"""Field and value -> the value that the recipe has for it."""

OF_THE_BLOCK = {"model.placement": "standard", "model.stages": None, "model.reduction": None, "model.init": None}
"""Fields that mean nothing on a plain network, and the values that they have there."""


@dataclass(frozen=True)
class Variant:
    """Member of a comparison.

    Args:
        label: what tables and charts call it.
        changes: dotted recipe field -> value, what makes it differ from the others.
        recipe: its recipe, complete but for the seed and, with a parent, the weights.
        parent: the variant whose best weights of the same seed it begins from; None = what its recipe says.
    """

    label: str
    changes: dict[str, Any]
    recipe: Recipe
    parent: "Variant | None" = None

    @property
    def generation(self) -> int:
        """How many runs lie between its recipe and it."""
        return 0 if self.parent is None else 1 + self.parent.generation

    @property
    def slug(self) -> str:
        """The label as part of a folder's name."""
        return re.sub(r"[^a-z0-9.]+", "-", self.label.lower()).strip("-.")[:LONGEST_SLUG].rstrip("-.")


def parse_vary(text: str) -> tuple[str, list[Any]]:
    """Read `FIELD=VALUE,VALUE...` with the values in YAML: "block=none,se", "model.stages=[1],[2],[3]".

    Fields that change together are joined: "block+groups.host=[none,1],[se,1],[se,0]".

    Raises:
        UsageError: if there is no such field, or no value.
    """
    name, equals, values = text.partition("=")
    if not equals or not values.strip():
        raise UsageError(f"--vary wants FIELD=VALUE,VALUE..., got {text!r}; for example --vary block=none,se")
    return _joined_path(name), parse_yaml(f"[{values}]", f"--vary {printable(name)}=...")


def _joined_path(name: str) -> str:
    """Return the dotted paths of a field, or of several that are joined, joined again."""
    return TOGETHER.join(field_path(part.strip()) for part in name.split(TOGETHER))


def _choices(name: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the changes that each value of a field, or of several that are joined, stands for.

    Raises:
        UsageError: if a value of joined fields is no list of one value each.
    """
    paths = _joined_path(name).split(TOGETHER)
    rows = [[value] for value in values] if len(paths) == 1 else values
    for row in rows:
        if not isinstance(row, list | tuple) or len(row) != len(paths):
            raise UsageError(
                f"each value of {TOGETHER.join(paths)} is a list of {len(paths)} values, one a field, such as [none, 1]; got {row!r}"
            )
    return [
        {
            path: RESOLVED.get((path, value), value) if isinstance(value, str | None) else value
            for path, value in zip(paths, row, strict=True)
        }
        for row in rows
    ]


def joined_with(path: str, vary: Mapping[str, Sequence[Any]] | None) -> set[str]:
    """Return the fields that are varied together with one, given by its dotted path."""
    return {other for name in vary or () if path in (paths := _joined_path(name).split(TOGETHER)) for other in paths if other != path}


def expand(recipe: Recipe, vary: Mapping[str, Sequence[Any]] | None = None) -> list[Variant]:
    """Cross all values of all varied fields; the first variant is the baseline. A field with a single value is set for all.

    Fields that change together, such as "block+groups.host", are one field with lists for values: they are not crossed among themselves.

    A plain network has no placement, stages or reduction, and no gates to compress it by: variants that differ in those alone become one.
    Where a field of the block is varied on a plain recipe, the plain network stays as the baseline and the values go to its SE twin, as in
    the tables of the SENet paper (section 6).

    Raises:
        UsageError: for an unknown field or value, a field given twice, or fewer than two different variants.
    """
    varied = [_choices(name, values) for name, values in (vary or DEFAULT_VARY).items()]
    paths = [path for choices in varied for path in choices[0]]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise UsageError(f"{twice} is varied twice; give all its values at once")
    if "seed" in paths:
        raise UsageError("seed is not a field to vary: every variant is trained with the same seeds; say how many with --seeds")
    if any("task" in choices[0] and len(choices) > 1 for choices in varied):
        raise UsageError("task is not a field to vary: variants are compared by the metrics of one task; set it for all with --task")
    if "model.block" not in paths and any(map(is_block_field, paths)) and is_plain(recipe):
        varied = [_choices(name, values) for name, values in DEFAULT_VARY.items()] + varied
    for choices in varied:
        recipe = override(recipe, choices[0]) if len(choices) == 1 else recipe
    varied = sorted((choices for choices in varied if len(choices) > 1), key=lambda choices: "model.block" not in choices[0])

    variants: dict[str, Variant] = {}
    for chosen in product(*varied):  # the block first: its options build on it
        changes = {path: value for choice in chosen for path, value in choice.items()}
        variant = make_variant(recipe, dict(sorted(changes.items(), key=lambda item: item[0] != "model.block")))
        variants.setdefault(variant.recipe.digest(), variant)
    if len(variants) < 2:
        named = ", ".join(vary or DEFAULT_VARY)
        fix = "name at least two different values"
        if COMPRESS in paths and "model.block" not in paths and is_plain(recipe):
            fix = "the network is plain, with no gates to compress it by: add --block se, or rank by l1, l2, taylor or random"
        raise UsageError(f"nothing to compare: {named} gives one variant only; {fix}")
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
        words += ["--vary", f"{_joined_path(name)}={','.join(map(_yaml, values))}"]
    return shlex.join([*words, "--seeds", str(seeds)])


def make_variant(recipe: Recipe, changes: dict[str, Any]) -> Variant:
    """Apply the changes to the recipe and name the outcome."""
    plain = changes["model.block"] is None if "model.block" in changes else is_plain(recipe)
    compression = parse_compress(str(changes.get(COMPRESS, AS_IT_IS)))
    if plain and compression is not None and compression.needs_gates:
        changes = changes | {COMPRESS: AS_IT_IS}
    if plain:
        changes = {path: value for path, value in changes.items() if not is_block_field(path)}
    changed = override(recipe, changes | OF_THE_BLOCK if plain else changes)  # what cannot be is refused before it is described
    return Variant(printable(", ".join(describe_change(path, value) for path, value in changes.items()), None), changes, changed)


def describe_change(path: str, value: Any) -> str:
    """Return how a changed field reads in a label: "plain", "SE", "reduction 8"."""
    if path == "model.block":
        if isinstance(value, Mapping):
            options = " ".join(f"{name}={_short(option)}" for name, option in value.items() if name != "kind")
            return f"{describe_change(path, value.get('kind', 'se'))} {options}".strip()
        return "plain" if value is None else block_class(value).title if value in KINDS or in_user_file(str(value)) else str(value)
    if path.startswith(RATES):
        return f"{path.removeprefix(RATES)} {'frozen' if value == 0 else f'rate x {value}'}"
    if path == COMPRESS:
        compression = parse_compress(value)
        return "uncompressed" if compression is None else compression.label
    return f"{path.rpartition('.')[2].replace('_', ' ')} {'none' if value is None else value}"


def _short(option: Any) -> Any:
    """Return an option as labels show it: of many values by unit, the range."""
    if not isinstance(option, Mapping) or len(option) <= MOST_SHOWN:
        return option
    return f"{min(option.values())}..{max(option.values())} by unit"


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
