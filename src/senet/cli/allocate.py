"""`senet allocate`: hidden widths of all blocks of a trained network out of one budget, and recipes to train them."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.cli.arguments import CommandParser, add_evaluation, check_free, device_of
from senet.compression.budget import Budget
from senet.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from senet.compression.allocated_recipes import AllocatedRecipes
    from senet.compression.allocated_widths import Allocation
    from senet.measuring.scores import Loss, Scores
    from senet.recipe import Recipe
    from senet.training.members import Member


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("weights_of", metavar="RUN", help="the folder of a run, or weights, of a network with SE, scSE or CMPE-SE blocks")
    parser.add_argument("--params", metavar="N", help="parameters that the network may have: 1.5M, 900k, or a share of what it has, 0.98")
    parser.add_argument("--latency", metavar="SHARE", help="share of the time of an image that it may take, measured on this device: 0.9")
    parser.add_argument("--of", choices=("network", "blocks"), default="network", help="what --params counts: the network, or its blocks")
    parser.add_argument("--drop", action="store_true", help="let whole blocks go, instead of keeping one hidden unit in each")
    parser.add_argument("--limit", type=int, help="how many validation images to watch and measure; default: all")
    parser.add_argument("--out", metavar="FILE.yaml", help="write the recipe that trains these widths, and beside it FILE_uniform.yaml")
    parser.add_argument("--weights", metavar="FILE.safetensors", help="write the network without the units that go, to train on from")
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    add_evaluation(parser)
    parser.epilog = (
        "Half of the validation images, drawn by chance, decide which units go; the other half says what that costs before the network is "
        "trained on."
    )
    parser.examples = ("senet allocate runs/mine --params 0.5 --of blocks --out narrow.yaml --weights narrow.safetensors",)


def run(args: Namespace) -> int:
    """Allocate, write what is asked for, and print one row a block."""
    budget = _budget(args)
    _check_files(args)
    from senet.cli.printing import show, show_to_copy, with_progress
    from senet.compression.allocated_recipes import AllocatedRecipes
    from senet.compression.allocation import allocate_hidden
    from senet.compression.hidden_pruning import prune_hidden
    from senet.measuring.scores import points_lost
    from senet.training.measured import ValidationSet
    from senet.training.members import choose_device, load_members

    device = choose_device(args.weights_of, device_of(args.device) if args.device else None)
    (member,) = load_members(args.weights_of, device)
    if args.out is not None and member.recipe is None:
        raise UsageError(f"{member.name} does not say by which recipe it was trained: leave out --out")
    images = ValidationSet.of(member, args.changes, device=device, limit=args.limit)
    decision, held_out = images.halves()
    watched = decision.labelled() if args.quiet else with_progress(decision.labelled(), "watching hidden units")
    allocation = allocate_hidden(member.model, watched, budget, drop=args.drop)
    pruned = prune_hidden(member.model, allocation)
    scores = held_out.measure(member.model), held_out.measure(pruned)
    trained = _recipe(member)
    recipes = None if trained is None or not allocation.can_be_asked_for else AllocatedRecipes.of(trained, allocation)
    files = _write(args, recipes, pruned, member)
    line = None if recipes is None or args.out is None else recipes.compare_line(args.out)
    show(AllocationReport(allocation, scores, points_lost(*scores), len(held_out), files, line), as_json=args.json)
    if not args.json:
        show_to_copy(files, {} if line is None else {"to compare": line})
    return 0


@dataclass(frozen=True)
class AllocationReport:
    """Outcome of the command.

    Args:
        allocation: the hidden widths.
        scores: of the network as it is, and without the units that go, on images that did not decide.
        loss: difference of the two.
        images: how many images these are.
        files: what was written -> where.
        compare: the command that trains the widths against one ratio; None without a recipe in a file.
    """

    allocation: "Allocation"
    scores: tuple["Scores", "Scores"]
    loss: "Loss"
    images: int
    files: dict[str, str]
    compare: str | None

    def table(self) -> "Table":
        """Return the allocation's table, with what it costs below it."""
        table = self.allocation.table()
        before, after = self.scores
        said = (
            f"{before.metric}: {before.value:.2f} {before.unit} as it is, {after.value:.2f} without these units, before it is trained on: "
            f"{self.loss.text()} worse on {self.images} images that did not decide"
        )
        table.caption = f"{table.caption}\n{said}"
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        before, after = self.scores
        measured = {"metric": before.metric, "unit": before.unit, "before": before.value, "after": after.value, "images": self.images}
        told = {"measured": measured | {"loss": self.loss.to_dict()}, "files": self.files, "compare": self.compare}
        return self.allocation.to_dict() | told


def _budget(args: Namespace) -> Budget:
    if (args.params is None) == (args.latency is None):
        raise UsageError("give one budget: --params 1.5M, --params 0.5 --of blocks, or --latency 0.9")
    if args.latency is not None:
        return Budget.parse(args.latency, "latency")
    return Budget.parse(args.params, "params" if args.of == "network" else "block params")


def _uniform_file(path: str) -> str:
    return str(Path(path).with_stem(f"{Path(path).stem}_uniform"))


def _check_files(args: Namespace) -> None:
    for flag, path, suffix in (("--out", args.out, ".yaml"), ("--weights", args.weights, ".safetensors")):
        if path is not None and Path(path).suffix != suffix:
            raise UsageError(f"{flag} names a file that ends in {suffix}, got {path!r}")
    for path in filter(None, (args.out, args.out and _uniform_file(args.out), args.weights)):
        check_free(path, force=args.force)


def _recipe(member: "Member") -> "Recipe | None":
    """Return the recipe that the weights say they were trained by."""
    from senet.recipe import build_recipe

    return None if member.recipe is None else build_recipe(member.recipe, where=f"the recipe in {Path(member.name).name}")


def _write(args: Namespace, recipes: "AllocatedRecipes | None", pruned: Any, member: "Member") -> dict[str, str]:
    """Write the files that are asked for, and return what they are."""
    from senet.atomic import write_text
    from senet.weights.store import save_weights

    files = {}
    if args.out is not None:
        if recipes is None:
            raise UsageError(f"{member.name} has blocks that no option `block` describes: leave out --out")
        for what, recipe, path in (
            ("recipe", recipes.allocated, args.out),
            ("recipe of one ratio", recipes.uniform, _uniform_file(args.out)),
        ):
            write_text(path, recipe.to_yaml())
            files[what] = path
    if args.weights is not None:
        save_weights(pruned, args.weights, recipe=None if recipes is None else recipes.allocated.to_dict())
        files["weights"] = args.weights
    return files
