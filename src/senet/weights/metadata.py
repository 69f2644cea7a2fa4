"""What a file of weights says about them, held against a schema before anything believes it.

The strings of a safetensors file's metadata are JSON. Here they are read into plain data whose types, ranges and lengths are right; which
options a network of that name takes, and whether its plan fits, is for those to say who build it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from senet.errors import UsageError
from senet.schema import Requirement, integer, items, one_of, optional, plain_data, read_json, record, text
from senet.spec import PLACEMENTS, WRITTEN_BLOCK, WRITTEN_INPUT, InputSpec
from senet.text import printable

LEVELS = 12
"""Levels of lists and mappings in a recipe or in what else a file says."""

_PLAIN = plain_data(LEVELS)
_NAMED = record({}, others=_PLAIN)

COMMON_OPTIONS = {
    "num_classes": optional(integer(0, 10**7)),
    "in_channels": integer(1, 10**5),
    "block": optional(WRITTEN_BLOCK),
    "placement": one_of(*PLACEMENTS),
    "stages": optional(items(integer(0, 1000))),
    "omitted": items(items(integer(0, 10**5), 2, 2), high=10**5),
    "inserted": items(_NAMED, high=100),
    "reduced": items(_NAMED, high=100),
}
"""Options that networks of all families have -> what they may be."""

WRITTEN_OPTIONS = record(COMMON_OPTIONS, needed=("num_classes", "in_channels", "block", "placement", "stages"), others=_PLAIN)

NETWORK_NAME = Requirement(
    "the name of a network",
    lambda name: isinstance(name, str) and 0 < len(name) <= 1000 and name.isprintable() and re.search(r"\w", name) is not None,
)

STATEMENTS = {
    "model": optional(record({"name": NETWORK_NAME, "options": WRITTEN_OPTIONS}, needed=("name", "options"))),
    "classes": optional(items(text(1000), low=1, high=10**6)),
    "input": optional(WRITTEN_INPUT),
    "recipe": optional(record({"task": text(1000), "name": text(1000), "data": _NAMED, "model": _NAMED}, others=_PLAIN)),
    "senet": optional(text(100)),
    "extra": record({}, others=plain_data(LEVELS, allow_nan=True)),
}
"""Key of a file's metadata -> what it may say; other keys belong to other programs."""


@dataclass(frozen=True)
class WeightsMetadata:
    """Statements of a file about its weights; a field is None where it is silent.

    Args:
        source: path of the file.
        config: name and options of the network, as `ModelConfig.to_dict` gives them.
        classes: names of the classes, in the order of the logits.
        input: the images it expects.
        recipe: the experiment that made it.
        senet: version of the package that wrote it.
        extra: anything else, such as epoch and accuracy.
    """

    source: str
    config: Mapping[str, Any] | None = None
    classes: tuple[str, ...] | None = None
    input: InputSpec | None = None
    recipe: Mapping[str, Any] | None = None
    senet: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> Mapping[str, Any]:
        """Name and options of the network.

        Raises:
            UsageError: if the file does not say.
        """
        if self.config is None:
            raise UsageError(f"{self.source!r} does not say which network it fits; create that with create_model and use load_weights")
        return self.config


def write_metadata(where: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the strings of a file's metadata; what could not be read back is not written.

    Raises:
        UsageError: if a value is no plain data with finite numbers, or does not say what `STATEMENTS` allows.
    """
    strings = {}
    for key, value in values.items():
        try:
            strings[key] = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"cannot write {where}: {key} is not plain data with finite numbers ({printable(error)})") from error
        read_json(strings[key], f"cannot write {where}: {key}", STATEMENTS[key])
    return strings


def parse_metadata(source: str, strings: Mapping[str, str]) -> WeightsMetadata:
    """Read the strings of a file's metadata.

    Raises:
        UsageError: if one is not JSON, or does not say what `STATEMENTS` allows; the file and the place in it are named.
    """
    found = {key: read_json(strings[key], f"{source}: {key}", rule) for key, rule in STATEMENTS.items() if key in strings}
    values: dict[str, Any] = {"config" if key == "model" else key: value for key, value in found.items() if value is not None}
    if "classes" in values:
        values["classes"] = tuple(values["classes"])
    if "input" in values:
        values["input"] = InputSpec.from_written(values["input"], f"{source}: input")
    return WeightsMetadata(source, **values)
