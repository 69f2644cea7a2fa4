"""`senet eval`: how good trained weights are on validation images."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from senet.cli.arguments import CommandParser, add_code, add_json, device_of
from senet.errors import UsageError
from senet.spec import block_class
from senet.text import printable

if TYPE_CHECKING:
    from senet.recipe import DataRecipe


STATED = ("name", "num_classes", "image_size", "eval_resize", "mean", "std", "range", "volumes")
"""Fields of the data that weights may say outside a run's folder; where images lie and how they are read is not theirs to say."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("weights", nargs="+", help="weights files or run folders; the predictions of several are averaged")
    parser.add_argument("--crops", default="centre", help="centre, or ten: corners and centre, each mirrored too")
    parser.add_argument("--scales", help="shorter sides in pixels before the crop, averaged: 224,256,288")
    parser.add_argument("--size", type=int, help="side of the crop in pixels; default: the network's")
    parser.add_argument("--device", help="where to compute, such as cuda; default: a GPU if there is one")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_code(parser)
    add_json(parser)
    parser.takes_recipe = True
    parser.epilog = (
        "The images are those that the first weights were validated on; flags change that: --data.name folder --data.root DIR. "
        "A task, data source or block of your own runs only if it is named: --task FILE.py:FACTORY, --data.name FILE.py:SOURCE, "
        "--block FILE.py:CLASS."
    )


def run(args: Namespace) -> int:
    """Evaluate, and print one row."""
    scales = _pixels(args.scales)
    task, block = args.changes.pop("task", None), args.changes.pop("model.block", None)
    if block is not None:
        block_class(block)
    from senet.tasks.registry import TASKS

    own = {name: args.changes.pop(name) for name in list(args.changes) if name.partition(".")[0] in TASKS}
    data = _data(args)
    from senet.cli.printing import show, with_progress
    from senet.training.evaluate import evaluate

    result = evaluate(
        args.weights,
        data,
        task=task,
        crops=args.crops,
        scales=scales,
        size=args.size,
        device=device_of(args.device) if args.device else None,
        changes=own,
        watch=iter if args.quiet else lambda batches: with_progress(batches, "evaluating"),
    )
    show(result, as_json=args.json, below=result.part_tables())
    return 0


def _pixels(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(side) for side in text.split(","))
    except ValueError:
        raise UsageError(f"--scales must be numbers of pixels such as 224,256, got {text!r}") from None


def _data(args: Namespace) -> "DataRecipe":
    from senet.recipe import build_recipe

    if foreign := [name for name in args.changes if not name.startswith("data.")]:
        raise UsageError(
            f"an evaluation has no field {foreign[0]!r}; allowed: --task, --block and fields of the data "
            "and of a task's own part, --data.root, --data.workers, --segmentation.flips, ..."
        )
    from senet.results.run_folder import RunFolder
    from senet.userfile import in_user_file, may_run
    from senet.weights.source import Source

    source = Source.parse(RunFolder.weights_of(args.weights[0]))
    metadata = source.metadata()
    recipe = metadata.recipe or {}
    if metadata.recipe is None and "data.name" not in args.changes:
        raise UsageError(f"{metadata.source!r} does not say what it was trained on: give --data.name and --data.root")
    if source.path is None or not RunFolder(source.path.parent).exists():
        said = recipe.get("data", {})
        if said.get("root") is not None and not {"data.name", "data.root"} & args.changes.keys():
            raise UsageError(
                f"{metadata.source!r} says that its images lie in {printable(said['root'])}, and weights that lie in no run's folder "
                "do not choose what is opened: give --data.root DIR"
            )
        recipe = {"data": {name: said[name] for name in STATED if name in said}}
    data = build_recipe(recipe, args.changes, where=f"the recipe in {printable(Path(metadata.source).name)}").data
    if in_user_file(data.name) and "data.name" not in args.changes and not may_run(data.name):
        raise UsageError(
            f"{metadata.source!r} was trained on images of {data.name}, and a file of weights is no reason to run that code: "
            f"name it yourself, --data.name {data.name}"
        )
    return data
