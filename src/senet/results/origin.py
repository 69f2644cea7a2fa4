"""What a run's weights come from: recipe, files of code, classes, images, processes; and how it differs from what is there today."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from senet.atomic import write_text
from senet.data.fingerprint import fingerprint
from senet.data.source import DataSource
from senet.jsontext import json_text
from senet.recipe import NO_EFFECT, WEIGHTS_OPTIONS, Recipe, build_recipe
from senet.recipe.difference import field_differences
from senet.results.run_folder import RunFolder
from senet.schema import integer, items, optional, plain_data, read_json, record, table, text
from senet.text import printable
from senet.userfile import in_user_file
from senet.weights.loaded import LOADED, LoadedWeights, fingerprint_at_hand

ORIGIN_FILE = "origin.json"

SPLITS = {"train": "training", "val": "validation"}
"""Set of images -> what people call it."""

LISTED = 3
"""How many classes that changed are named."""

ORIGIN = record(
    {
        "recipe": plain_data(),
        "code": table(text(4096), text(64)),
        "classes": items(text(4096), high=10**7),
        "images": table(text(10), record({"count": integer(0, 2**53), "fingerprint": text(64)}, needed=("count", "fingerprint"))),
        "processes": integer(1, 10**6),
        "rate": text(400),
        "weights": optional(LOADED),
        "compressed": record({"steps": items(plain_data(), high=100)}, needed=("steps",), others=plain_data()),
    },
    needed=("recipe", "code", "classes", "images", "processes"),
)
"""The rule for what `origin_of` returned, read from a file."""


def facts_of(source: DataSource) -> dict[str, Any]:
    """Return what tells the images of a source from others.

    Returns:
        classes: their names, in order.
        images: "train" and "val" -> their number and fingerprint.
    """
    sets = {"train": source.train, "val": source.val}
    return {
        "classes": list(source.classes),
        "images": {split: {"count": len(images), "fingerprint": fingerprint(images)} for split, images in sets.items()},
    }


def origin_of(
    recipe: Recipe,
    facts: Mapping[str, Any],
    processes: int = 1,
    weights: Mapping[str, Any] | None = None,
    compressed: Mapping[str, Any] | None = None,
    rate: str = "",
) -> dict[str, Any]:
    """Return what the weights of a run come from, as plain data.

    Args:
        recipe: of the run.
        facts: those of its images, see `facts_of`.
        processes: how many train together.
        weights: what its network was built with, see `LoadedWeights.to_dict`; None = what a file that the recipe names holds today.
        compressed: how its network was made smaller, see `senet.training.compressed`; None = it was not, or that is to be seen.
        rate: how its learning rate goes by the batch, in words; empty = it is the recipe's.

    Returns:
        recipe: its fields but those that change no weight.
        code: each file of a user's that the recipe names -> digest of its bytes; what such a file imports is not looked at.
        classes, images: the facts.
        processes: how many train together.
        weights: those that training began from; not there if all were drawn, or it cannot be told without fetching them.
        compressed: how their network was made smaller; not there if it was not.
        rate: how the learning rate goes by the batch; not there if it is the recipe's.
    """
    tree = _deciding(recipe)
    files = sorted({name.rpartition(":")[0] for name in _texts(tree) if in_user_file(name)})
    code = {name: hashlib.sha256(Path(name).read_bytes()).hexdigest()[:16] for name in files if Path(name).is_file()}
    weights = _weights_today(recipe) if weights is None else weights
    begun = {"weights": weights, "compressed": compressed}
    known = {name: dict(value) for name, value in begun.items() if value is not None}
    return {"recipe": tree, "code": code, **facts, "processes": processes} | ({"rate": rate} if rate else {}) | known


def write_origin(run: RunFolder, origin: Mapping[str, Any]) -> None:
    """Write what a run's weights come from into its folder."""
    write_text(run.path / ORIGIN_FILE, json_text(origin) + "\n")


def read_origin(run: RunFolder) -> dict[str, Any] | None:
    """Return what `write_origin` wrote; None for a run of a version that did not.

    Raises:
        UsageError: if the file says something else.
    """
    path = run.path / ORIGIN_FILE
    return read_json(path.read_bytes(), str(path), ORIGIN) if path.is_file() else None


def check_origin(origin: Any, where: str) -> None:
    """Raise UsageError unless data of a file are what `origin_of` returned, or nothing; `where` names the file."""
    optional(ORIGIN).check(origin, f"{where}: origin")


def origin_differences(before: Mapping[str, Any], today: Mapping[str, Any]) -> list[str]:
    """Return in words what is not as it was: "optim.lr was 0.1, is 0.05".

    Raises:
        UsageError: if the recipe that was is none of this version.
    """
    found = [f"{path} was {_shown(one)}, is {_shown(other)}" for path, one, other in _changed_fields(before, today)]
    code = before["code"], today["code"]
    found += [f"{printable(name)} was edited" for name in sorted(code[0].keys() & code[1].keys()) if code[0][name] != code[1][name]]
    one, other = ((origin.get("weights") or {}).get("fingerprint") for origin in (before, today))
    if one and other and one != other:
        found.append(f"the weights {printable(before['weights']['source'])} are others")
    found += _of_classes(before["classes"], today["classes"])
    for split, words in SPLITS.items():
        one, other = before["images"].get(split, {}), today["images"].get(split, {})
        if one.get("count") != other.get("count"):
            found.append(f"{words} images were {one.get('count')}, are {other.get('count')}")
        elif one != other:
            found.append(f"the list of the {other['count']} {words} images is another: names, order, sizes or targets")
    if before["processes"] != today["processes"]:
        found.append(f"processes were {before['processes']}, are {today['processes']}")
    return found


def reorders(before: Mapping[str, Any], today: Mapping[str, Any]) -> bool:
    """Return whether the training images come in another order or in other batches, so that half an epoch has no other half."""
    fields = [path for path, *_ in _changed_fields(before, today)]
    return before["images"].get("train") != today["images"].get("train") or not {"seed", "data.batch_size", "data.sampler"}.isdisjoint(
        fields
    )


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of a recipe but those that change no weight."""
    tree = recipe.to_dict()
    for section, name in NO_EFFECT:
        (tree[section] if section else tree).pop(name)
    return tree


def _weights_today(recipe: Recipe) -> dict[str, Any] | None:
    """Return what is known of the weights that a recipe names without loading them."""
    source = recipe.model.trained
    found = None if source is None else fingerprint_at_hand(source)
    return None if source is None or found is None else LoadedWeights(source, found).to_dict()


def _changed_fields(before: Mapping[str, Any], today: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    complete = build_recipe(before["recipe"], where="the recipe that it was begun with")  # fields of later versions have their defaults
    changed = field_differences(_deciding(complete), today["recipe"])
    if not all((origin.get("weights") or {}).get("fingerprint") for origin in (before, today)):
        return changed
    named = complete.model.trained, build_recipe(today["recipe"], where="the recipe of today").model.trained
    return [  # where weights lie is nothing that their fingerprints do not say
        (path, one, other) for path, one, other in changed if path.rpartition(".")[2] not in WEIGHTS_OPTIONS or (one, other) != named
    ]


def _of_classes(before: list[str], today: list[str]) -> list[str]:
    if len(before) != len(today):
        return [f"there were {len(before)} classes, are {len(today)}"]
    changed = [index for index, (one, other) in enumerate(zip(before, today, strict=True)) if one != other]
    found = [f"class {index} was {_shown(before[index])}, is {_shown(today[index])}" for index in changed[:LISTED]]
    return [*found, f"{len(changed) - LISTED} more classes have other names"] if len(changed) > LISTED else found


def _shown(value: Any) -> str:
    return printable(repr(value) if isinstance(value, str) else "null" if value is None else value, 60)


def _texts(tree: Any) -> Iterator[str]:
    """Yield each text in nested plain data."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping | list):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _texts(value)
