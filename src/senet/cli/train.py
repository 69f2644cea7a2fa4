"""`senet train`: one run, from its recipe or from where it was interrupted."""

import os
from argparse import Namespace

from senet.cli.arguments import CommandParser, add_code, add_json, add_recipe, check_folder, recipe_of, say_code
from senet.errors import UsageError
from senet.recipe import Recipe, override


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    add_recipe(parser)
    parser.set_defaults(recipe=None)  # to know whether one was given beside --resume
    parser.add_argument("--out", default="runs", help="where the run gets its folder, named after recipe and digest")
    parser.add_argument("--folder", help="the run's folder itself, instead of one below --out")
    parser.add_argument("--resume", metavar="RUN", help="folder of an interrupted run to go on with; needs no recipe")
    parser.add_argument(
        "--or-resume",
        action="store_true",
        help="go on with the run in the folder if this command began it before: for launchers and clusters that repeat a command",
    )
    parser.add_argument(
        "--accept-changes",
        action="store_true",
        help="go on although recipe, code, classes, images or the number of processes are not what they were; also to train longer",
    )
    parser.add_argument("--devices", type=int, metavar="N", help="train in N processes on this machine, one on each GPU; on CPUs without")
    parser.add_argument("--nodes", type=int, metavar="M", help="machines that train together; give the same command on each")
    parser.add_argument("--rdzv-endpoint", metavar="HOST:PORT", help="where they meet: an address of one of them, which the others reach")
    parser.add_argument(
        "--max-restarts", type=int, metavar="K", help="how often processes that were killed start anew, to go on from what was saved; 3"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_code(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    """Train, and print the best and the last epoch."""
    if args.resume is not None and args.recipe is not None:
        raise UsageError(f"--resume {args.resume} brings its own recipe: leave out {args.recipe!r}")
    if args.resume is None:
        check_folder(args.folder or args.out, args.folder or args.out)
        args.recipe = args.recipe or "digits"
        recipe = recipe_of(args)
    else:
        from senet.results.run_folder import RunFolder

        begun = RunFolder.at(args.resume)
        saved = begun.recipe()
        begun.check_code(args.changes)
        say_code(saved, args.changes)
        recipe = override(saved, args.changes) if args.changes else saved
    if args.accept_changes and args.resume is None and not args.or_resume:
        raise UsageError("--accept-changes says how to go on: it needs --resume RUN")
    if (code := _in_several(args, recipe)) is not None:
        return code
    from senet.cli.printing import show
    from senet.training.loop import train

    result = train(
        recipe,
        out=args.out,
        folder=args.folder,
        resume=args.resume,
        or_resume=args.or_resume,
        accept_changes=args.accept_changes,
        progress=not args.quiet,
    )
    if os.environ.get("RANK", "0") == "0":  # of several processes, one speaks
        show(result, as_json=args.json)
    return 0


def _in_several(args: Namespace, recipe: Recipe) -> int | None:
    """Train in the processes that the arguments ask for; return the exit code, None if this is one of them, or the only one."""
    given = {"devices": args.devices, "nodes": args.nodes, "endpoint": args.rdzv_endpoint, "restarts": args.max_restarts}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return None
    if given.keys() == {"restarts"}:
        raise UsageError(f"--max-restarts {args.max_restarts} is for several processes of one run: say how many with --devices")
    from senet.training.launch import Processes, launch_processes, process_count

    processes = Processes(**given)
    if "WORLD_SIZE" in os.environ:
        if process_count() != processes.world:
            raise UsageError(f"the flags ask for {processes.world} processes, and a launcher has started {process_count()}; leave them out")
        return None
    processes.check(recipe)
    return None if processes.world == 1 else launch_processes(["train", *args.words], processes)
