"""On what weights are measured: what their file says of task and images, and what a user says instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senet.errors import UsageError
from senet.recipe import DataRecipe, build_recipe
from senet.results.run_folder import RunFolder
from senet.spec import block_class
from senet.tasks.registry import TASKS
from senet.text import printable
from senet.userfile import in_user_file, may_run
from senet.weights.source import Source

STATED = ("name", "num_classes", "image_size", "eval_resize", "mean", "std", "range", "volumes")
"""Fields of the data that weights may say outside a run's folder; where images lie and how they are read is not theirs to say."""


@dataclass(frozen=True)
class EvaluationRequest:
    """Task and images that weights are measured on.

    Args:
        data: the recipe of the images.
        task: name of the task; None = the one that the weights name.
        own: fields of the task's own part of a recipe -> what they are to be instead of what the weights say.
    """

    data: DataRecipe
    task: str | None
    own: Mapping[str, Any]

    @classmethod
    def of(cls, weights: str | Path, changes: Mapping[str, Any]) -> "EvaluationRequest":
        """Read what weights say, and change it.

        Args:
            weights: a source of weights, or a run folder, whose best weights are taken.
            changes: fields of a recipe by their dotted names: of the data, of a task's own part, `task`, and `model.block`, a class of a
                user's file that the weights may then run.

        Raises:
            UsageError: for other fields, weights that cannot be read or do not say what they were trained on, images that only a file of
                weights chooses, or a user's code that only it names.
        """
        rest = dict(changes)
        task, block = rest.pop("task", None), rest.pop("model.block", None)
        if block is not None:
            block_class(block)
        own = {name: rest.pop(name) for name in list(rest) if name.partition(".")[0] in TASKS}
        return cls(_data(weights, rest), task, own)


def _data(weights: str | Path, changes: Mapping[str, Any]) -> DataRecipe:
    if foreign := [name for name in changes if not name.startswith("data.")]:
        raise UsageError(
            f"an evaluation has no field {foreign[0]!r}; allowed: --task, --block and fields of the data "
            "and of a task's own part, --data.root, --data.workers, --segmentation.flips, ..."
        )
    source = Source.parse(RunFolder.weights_of(weights))
    metadata = source.metadata()
    recipe = metadata.recipe or {}
    if metadata.recipe is None and "data.name" not in changes:
        raise UsageError(f"{metadata.source!r} does not say what it was trained on: give --data.name and --data.root")
    if source.path is None or not RunFolder(source.path.parent).exists():
        said = recipe.get("data", {})
        if said.get("root") is not None and not {"data.name", "data.root"} & changes.keys():
            raise UsageError(
                f"{metadata.source!r} says that its images lie in {printable(said['root'])}, and weights that lie in no run's folder "
                "do not choose what is opened: give --data.root DIR"
            )
        recipe = {"data": {name: said[name] for name in STATED if name in said}}
    data = build_recipe(recipe, changes, where=f"the recipe in {printable(Path(metadata.source).name)}").data
    if in_user_file(data.name) and "data.name" not in changes and not may_run(data.name):
        raise UsageError(
            f"{metadata.source!r} was trained on images of {data.name}, and a file of weights is no reason to run that code: "
            f"name it yourself, --data.name {data.name}"
        )
    return data
