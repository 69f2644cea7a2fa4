"""`senet train`: one run, from its recipe or from where it was interrupted."""

import os
from argparse import Namespace

from senet.cli.arguments import CommandParser, add_code, add_json, add_recipe, check_folder, recipe_of, say_code
from senet.errors import UsageError


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
        from senet.recipe import override
        from senet.results.run_folder import RunFolder

        begun = RunFolder.at(args.resume)
        saved = begun.recipe()
        begun.check_code(args.changes)
        say_code(saved, args.changes)
        recipe = override(saved, args.changes) if args.changes else saved
    if args.accept_changes and args.resume is None and not args.or_resume:
        raise UsageError("--accept-changes says how to go on: it needs --resume RUN")
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
