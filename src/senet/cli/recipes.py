"""`senet recipes`: list, show and copy the recipes that come with the package."""

import sys
from argparse import Namespace
from pathlib import Path

from senet.cli.arguments import CommandParser, add_json
from senet.errors import UsageError
from senet.recipe import annotated_recipe, list_recipes, load_recipe
from senet.streams import say
from senet.text import printable_lines

ACTIONS = ("list", "show", "copy")


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS, help="what to do")
    parser.add_argument("name", nargs="?", help="the recipe to show or copy")
    parser.add_argument("to", nargs="?", help="the file to copy to; default: NAME.yaml here")
    parser.add_argument("--resolved", action="store_true", help="show every field with its value, not the file as written")
    add_json(parser)


def run(args: Namespace) -> int:
    """Run one action."""
    if args.action != "list" and args.name is None:
        raise UsageError(f"`senet recipes {args.action}` needs a name: {', '.join(list_recipes())}")
    return {"list": _list, "show": _show, "copy": _copy}[args.action](args)


def _list(args: Namespace) -> int:
    from rich.table import Table

    from senet.terminal import Terminal

    about = {name: load_recipe(name, only_read=True).about for name in list_recipes()}
    if args.json:
        from senet.jsontext import json_text

        print(json_text(about))
        return 0
    table = Table("recipe", "about", box=None, pad_edge=False)
    for name, line in about.items():
        table.add_row(name, line)
    Terminal().print(table)
    return 0


def _show(args: Namespace) -> int:
    if args.json:
        from senet.jsontext import json_text

        print(json_text(load_recipe(args.name, only_read=True).to_dict()))
    else:
        sys.stdout.write(
            printable_lines(load_recipe(args.name, only_read=True).to_yaml() if args.resolved else annotated_recipe(args.name))
        )
    return 0


def _copy(args: Namespace) -> int:
    path = Path(args.to or f"{args.name}.yaml")
    text = annotated_recipe(args.name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{str(path)!r} exists and is not overwritten; give another file name") from None
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror}; give a file in a folder that is there") from None
    say(path)
    return 0
