"""`senet models`: the networks and what they cost, alone or beside the papers' tables."""

from argparse import Namespace

from senet.cli.arguments import CommandParser, add_json


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("pattern", nargs="?", default="*", help="shell wildcard, such as 'se_*resnet50'")
    parser.add_argument(
        "--paper", action="store_true", help="the papers' tables: what they print beside what is counted here, and why it differs"
    )
    add_json(parser)


def run(args: Namespace) -> int:
    """List the networks that match."""
    from senet.cli.printing import show, with_progress

    if args.paper:
        from senet.profiling.paper import PaperTables

        show(PaperTables.of(args.pattern, lambda rows: with_progress(rows, "counting")), as_json=args.json)
        return 0
    from senet.models.listing import ModelListing

    show(ModelListing.of(args.pattern), as_json=args.json)
    return 0
