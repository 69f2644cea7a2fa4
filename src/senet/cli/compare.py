"""`senet compare`: train variants of a recipe over seeds and report what the differences support."""

from argparse import SUPPRESS, Namespace

from senet.cli.arguments import CommandParser, add_code, add_json, add_recipe, check_folder, recipe_of
from senet.errors import UsageError


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    add_recipe(parser)
    parser.add_argument(
        "--vary",
        action="append",
        default=SUPPRESS,
        metavar="FIELD=VALUE,...",
        help="a recipe field and its values, such as block=none,se or reduction=2,4,8; again for another field: all are crossed, and the "
        "first variant is the baseline (default: block=none,se); fields joined by + change together: block+groups.host=[none,1],[se,0]",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds each variant is trained with")
    parser.add_argument(
        "--jobs",
        type=int,
        default=SUPPRESS,
        help="how many runs train at a time, each in a process of its own (default: 1; on a Ray cluster one for each GPU, or machine; with "
        "SLURM all that are missing)",
    )
    parser.add_argument(
        "--cluster",
        choices=("ray", "slurm"),
        default=SUPPRESS,
        help="train on several machines that share --out: as tasks of a Ray cluster, or as a job array of SLURM (docs/cluster.md)",
    )
    parser.add_argument(
        "--address",
        default=SUPPRESS,
        metavar="HOST:PORT",
        help="of the Ray cluster's head, or auto on one of its machines (default: a cluster of this machine alone)",
    )
    parser.add_argument("--out", default="runs", help="folder for the runs, the result and the report")
    parser.add_argument("--no-report", action="store_true", help="write no HTML page")
    add_code(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    """Compare, print the outcome and say where the page is."""
    check_folder(args.out, args.out)
    recipe = recipe_of(args)
    from senet.cli.printing import show_comparison
    from senet.comparison import compare
    from senet.comparison.variants import parse_vary

    vary: dict[str, list[object]] = {}
    for path, values in map(parse_vary, getattr(args, "vary", [])):
        if path in vary:
            raise UsageError(f"{path} is varied twice; give all its values at once: --vary {path}=...,...")
        vary[path] = values
    how = {name: getattr(args, name) for name in ("jobs", "cluster", "address") if hasattr(args, name)}
    if how.get("cluster") == "slurm":
        from senet.comparison.on_slurm import submit
        from senet.comparison.run import plan_of

        if "address" in how:
            raise UsageError("--address is that of a Ray cluster: leave it out with --cluster slurm")
        plan = plan_of(recipe, vary or None, args.seeds, args.out)
        result = submit(plan, args.words, jobs=how.get("jobs"), report=not args.no_report)
    else:
        result = compare(recipe, vary=vary or None, seeds=args.seeds, out=args.out, report=not args.no_report, **how)
    show_comparison(result, as_json=args.json)
    return 0
