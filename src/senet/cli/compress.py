"""`senet compress`: fold or prune a trained network, fine-tune it if asked, and say what that loses and saves."""

import shlex
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.cli.arguments import CommandParser, add_evaluation, check_folder, check_free, device_of
from senet.errors import UsageError
from senet.recipe import load_recipe
from senet.recipe.compress import FOLD_TOLERANCE, LEFT_OF, RANK_NAMES, SCOPES_OF_CUTS, TIMED, Compression, parse_compress
from senet.spec import check_choice, check_positive
from senet.weights.loaded import called_after

if TYPE_CHECKING:
    from senet.training.compress_weights import TrainedWeights

SIMPLE = ("gate", "l1", "taylor", "random")
"""Rankings that are compared where none is named."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("weights", help="a run's folder or a file of weights; it stays as it is")
    parser.add_argument(
        "--tolerance", type=float, help=f"points of the primary metric that folding gates may cost; without --target, {FOLD_TOLERANCE}"
    )
    parser.add_argument(
        "--target", metavar="COST=SHARE", help="prune channels until so much is left: latency=0.7, macs=0.5, params, memory"
    )
    parser.add_argument(
        "--rank",
        help=f"by what channels are ranked, several with --finetune: {','.join(RANK_NAMES)}; default: gate, there {','.join(SIMPLE)}",
    )
    parser.add_argument("--batch", type=int, metavar="N", help="with --target latency: how many images are timed together (default: 1)")
    parser.add_argument("--scope", help="global: the least important channels of the network go; layer: as many of every layer")
    parser.add_argument("--steps", type=int, help="in how many steps channels go, each fine-tuned with --finetune")
    parser.add_argument(
        "--finetune", metavar="RECIPE", help="compare: optimiser, schedule and epochs of this recipe fine-tune every network"
    )
    parser.add_argument("--seeds", type=int, help="how many seeds each is fine-tuned with (default: 3)")
    parser.add_argument("--jobs", type=int, help="how many runs train at a time")
    parser.add_argument("--to", help="the file to write; default: in --out, named after weights and compression")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    parser.add_argument("--out", default="runs", help="folder for what is written")
    parser.add_argument("--no-report", action="store_true", help="write no HTML page of a comparison")
    add_evaluation(parser, device="without --finetune, where to compute, such as cuda; default: a GPU if there is one")
    parser.epilog = "Images are those of the run; fields of the data are flags: --data.root DIR."
    parser.examples = (
        "senet compress runs/mine --tolerance 0.1",
        "senet compress runs/mine --target macs=0.7 --rank l1",
        "senet compress runs/mine --target latency=0.7 --finetune digits --epochs 3 --lr 0.01",
    )


def run(args: Namespace) -> int:
    """Compress, and say what was written."""
    ways = ways_of(args)
    if args.finetune is not None:
        return _compare(args, ways)
    if len(ways) > 1:
        raise UsageError("several rankings are compared after fine-tuning: add --finetune RECIPE, or name one")
    for flag in ("seeds", "jobs", "no_report"):
        if (value := getattr(args, flag)) is not None and value is not False:
            raise UsageError(f"--{flag.replace('_', '-')} is for comparisons: add --finetune RECIPE")
    (way,) = ways
    if args.to is None:
        check_folder(args.out, args.out)
    target = args.to or str(Path(args.out) / f"{called_after(args.weights)}-{way.text.replace('@', '-').replace(':', '-')}.safetensors")
    check_free(target, force=args.force)
    device = None if args.device is None else device_of(args.device)
    from senet.cli.printing import show, show_to_copy
    from senet.training.compress_weights import TrainedWeights

    opened = TrainedWeights.open(args.weights, args.changes, device)
    report = _folded(opened, way, quiet=args.quiet) if way.rank is None else opened.prune(way, args.steps or 1)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    opened.save(report.model, target, way.text)
    show(report, as_json=args.json)
    if not args.json:
        show_to_copy({"weights": Path(target).resolve()})
    return 0


def ways_of(args: Namespace) -> list[Compression]:
    """Return how the command is to compress.

    Raises:
        UsageError: for flags that do not go together, or values that cannot be.
    """
    if args.steps is not None:
        check_positive("--steps", args.steps)
    if args.target is None:
        for flag in ("rank", "batch", "scope", "steps"):
            if getattr(args, flag) is not None:
                raise UsageError(f"--{flag} is for pruning: add --target, such as --target macs=0.7; without it gates are folded")
        tolerance = FOLD_TOLERANCE if args.tolerance is None else args.tolerance
        if not 0 <= tolerance < 1000:
            raise UsageError(f"--tolerance must be 0 or more points of the metric, and below 1000, got {tolerance}")
        return [Compression(None, tolerance)]
    if args.tolerance is not None:
        raise UsageError("--tolerance is for folding gates and --target for pruning channels: leave out one of the two")
    cost, share = _target(args.target)
    batch = 1 if args.batch is None else check_positive("--batch", args.batch)
    if args.batch is not None and cost != TIMED:
        raise UsageError(
            f"--batch says how many images are timed together, and {cost} is counted: leave it out, or say --target {TIMED}=0.7"
        )
    ranks = (args.rank or ",".join(SIMPLE if args.finetune is not None else SIMPLE[:1])).split(",")
    scope = args.scope or SCOPES_OF_CUTS[0]
    check_choice("scope", scope, SCOPES_OF_CUTS)
    for rank in ranks:
        check_choice("rank", rank, RANK_NAMES)
    if len(set(ranks)) < len(ranks):
        raise UsageError(f"--rank names one twice: {args.rank}")
    return [Compression(rank, share, cost, scope, batch) for rank in ranks]


def _target(text: str) -> tuple[str, float]:
    cost, equals, share = text.partition("=")
    check_choice("target", cost, tuple(LEFT_OF))
    try:
        found = parse_compress(f"l1_{share}@{cost}") if equals else None
    except UsageError:
        found = None
    if found is None:
        raise UsageError(f"--target wants the share that is left, above 0 and below 1, such as {cost}=0.7, got {text!r}")
    return found.cost, found.amount


def _folded(opened: "TrainedWeights", way: Compression, *, quiet: bool) -> Any:
    """Fold, with a bar of the measurements on a terminal."""
    from senet.cli.printing import with_steps

    with with_steps(quiet=quiet) as watch:
        watch("measuring blocks", 0, None)
        return opened.fold(way.amount, partial(watch, "measuring blocks"))


def _compare(args: Namespace, ways: list[Compression]) -> int:
    if args.to is not None:
        raise UsageError("--to names one file, and with --finetune every run's folder has its own weights: leave it out")
    if args.force:
        raise UsageError("--force writes over a file, and with --finetune runs that are there are used or go on: leave it out")
    if args.device is not None:
        raise UsageError("--device is for a network that is not trained on: with --finetune runs use a GPU if there is one; leave it out")
    check_folder(args.out, args.out)
    finetune = load_recipe(args.finetune)
    from senet.cli.printing import show_comparison
    from senet.comparison.compress import compare_compressed, fine_tuning_of

    recipe = fine_tuning_of(args.weights, finetune, args.changes)
    result = compare_compressed(
        args.weights,
        ways,
        recipe,
        steps=args.steps or 1,
        seeds=3 if args.seeds is None else args.seeds,
        jobs=args.jobs,
        out=args.out,
        report=not args.no_report,
        progress=not args.quiet,
        command=_command(args),
    )
    show_comparison(result, as_json=args.json)
    return 0


def _command(args: Namespace) -> str:
    """Return the command that gives a comparison again."""
    named = ("tolerance", "target", "batch", "rank", "scope", "steps", "finetune", "seeds")
    words = [word for name in named if (value := getattr(args, name)) is not None for word in (f"--{name}", str(value))]
    changes = [word for path, value in args.changes.items() for word in (f"--{path}", "null" if value is None else str(value))]
    return shlex.join(["senet", "compress", args.weights, *words, *changes])
