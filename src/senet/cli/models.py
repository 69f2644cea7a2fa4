"""`senet models`: the networks and what they cost in parameters."""

from jsonargparse import Namespace

from senet.cli.arguments import CommandParser, add_json


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("pattern", nargs="?", default="*", help="shell wildcard, such as 'se_*resnet50'")
    add_json(parser)


def run(args: Namespace) -> int:
    """List the networks that match."""
    from senet.cli.printing import show
    from senet.models.listing import ModelListing

    show(ModelListing.of(args.pattern), as_json=args.json)
    return 0
