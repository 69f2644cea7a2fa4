"""A file of weights that says all about itself."""

import json
from pathlib import Path

from senet.models.create import create_model
from senet.spec import InputSpec
from senet.weights.store import save_weights


def write_described(path: Path) -> Path:
    """Write weights with everything that their metadata can say."""
    model = create_model("se_preresnet20", num_classes=4, omitted=((2, 1),))
    images = InputSpec(32, 36, 3, (0.5,) * 3, (0.25,) * 3)
    recipe = {"name": "mine", "task": "classification", "data": {"name": "digits"}, "model": {"name": "preresnet20"}}
    save_weights(model, path, classes="abcd", input=images, recipe=recipe, extra={"epoch": 3})
    return path


def strings_of(path: Path) -> dict[str, str]:
    """Return the metadata of a file."""
    content = path.read_bytes()
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
