"""Arguments that commands share; the one place that makes parsers."""

import os
from argparse import Action, ArgumentDefaultsHelpFormatter, ArgumentError, ArgumentParser, Namespace
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from senet.errors import UsageError, nearest
from senet.file_kind import file_kind, is_url
from senet.recipe import Recipe, build_recipe, code_of, field_path, field_paths, load_recipe, parse_text
from senet.schema import brief
from senet.streams import say
from senet.userfile import code_file

if TYPE_CHECKING:
    import torch

    from senet.data.image_file import ImageReading


LONGEST_FILE_NAME = 255
"""Bytes that file systems allow."""


class Formatter(ArgumentDefaultsHelpFormatter):
    """Help that says the defaults which say something."""

    def _get_help_string(self, action: Action) -> str | None:
        says_nothing = action.default in (None, False, []) or "default" in (action.help or "")
        return action.help if says_nothing else super()._get_help_string(action)


class CommandParser(ArgumentParser):
    """Parser of one command; with `takes_recipe`, every field of a recipe is a flag. `examples` are commands to copy, below its help."""

    takes_recipe = False
    examples: tuple[str, ...] = ()

    def options(self) -> list[str]:
        """Return the flags that the command itself has."""
        return [string for action in self._actions for string in action.option_strings]

    def words(self, words: list[str]) -> Namespace:
        """Parse the command's words; `.changes` of the result holds the recipe's fields, `.words` the words themselves.

        Raises:
            UsageError: for an unknown flag (the nearest is named) or a value of the wrong type.
        """
        changes, rest = self._take_changes(words) if self.takes_recipe else ({}, words)
        try:
            args, unknown = self.parse_known_args(rest)
        except ArgumentError as error:
            raise UsageError(f"{error.argument_name}: {error.message}; --help says more") from error
        if unknown:
            raise UsageError(self._unknown(unknown))
        return Namespace(**vars(args), changes=changes, words=words)

    def format_help(self) -> str:
        """Return the help with each example on a line of its own, which is not wrapped."""
        return "\n".join([super().format_help(), "examples:", *self.examples, ""]) if self.examples else super().format_help()

    def print_help(self, file: Any = None) -> None:
        """Print the help; argparse would not say when it cannot be written."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with what is wrong, where argparse would end the process."""
        raise UsageError(f"{message}; --help says more")

    def _take_changes(self, words: list[str]) -> tuple[dict[str, Any], list[str]]:
        changes, rest = {}, []
        queue = list(words)
        while queue:
            word = queue.pop(0)
            flag, equals, value = word.partition("=")
            if not flag.startswith("--") or flag in self.options() or not _is_field(flag.removeprefix("--")):
                rest.append(word)
                continue
            if not equals and not queue:
                raise UsageError(f"{flag} needs a value")
            changes[field_path(flag.removeprefix("--"))] = parse_text(value if equals else queue.pop(0))
        return changes, rest

    def _unknown(self, words: list[str]) -> str:
        known = self.options() + ([f"--{path}" for path in field_paths()] if self.takes_recipe else [])
        flag = next((word for word in words if word.startswith("-")), None)
        if flag is None:
            return f"one word too many: {words[0]!r}; --help says what the command takes"
        return f"unknown flag {flag!r}{nearest(flag, known)}; --help lists them"


def command_parser(prog: str, about: str) -> CommandParser:
    """Return an empty parser for one command."""
    about = f"{about[0].upper()}{about[1:]}."
    return CommandParser(prog=prog, description=about, formatter_class=Formatter, exit_on_error=False, allow_abbrev=False)


def add_json(parser: CommandParser) -> None:
    """Add --json, which prints plain data for other programs instead of a table."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_code(parser: CommandParser) -> None:
    """Add --allow-code, for code that recipes, run folders and weights name and that lies elsewhere."""
    parser.add_argument(
        "--allow-code",
        action="append",
        default=[],
        metavar="PATH",
        help="a file, or a folder of files, of code that a recipe, a run or weights may name and run; again for another. Without it: what "
        "the command line names, and for recipes what lies in their own folder or in the working folder",
    )


def add_evaluation(parser: CommandParser, device: str = "where to compute, such as cuda; default: a GPU if there is one") -> None:
    """Add what commands share that measure trained weights on images: --device, --quiet, --allow-code, --json, and fields of a recipe.

    Args:
        parser: the command's.
        device: what its help says of --device.
    """
    parser.add_argument("--device", help=device)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_code(parser)
    add_json(parser)
    parser.takes_recipe = True


def add_target(parser: CommandParser, about: str) -> None:
    """Add --to, the file to write, and --force, which allows to write over one that is there."""
    parser.add_argument("--to", required=True, help=about)
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def check_target(args: Namespace) -> None:
    """Raise UsageError if the file to write is there and --force is not."""
    check_free(args.to, force=args.force)


def check_free(path: str, *, force: bool) -> None:
    """Raise UsageError if a file is there, and may not be written over, or if there can be none."""
    kind = file_kind(path)
    if kind not in (None, "file"):
        raise UsageError(f"{path!r} is a {kind}; name a file to write")
    if kind == "file" and not force:
        raise UsageError(f"{path!r} exists; --force writes over it")
    check_folder(Path(path).absolute().parent, path)


def check_folder(folder: str | Path, what: str) -> None:
    """Raise UsageError if there can be no folder at a path in which files are written; `what` was asked for."""
    if is_url(what):
        raise UsageError(f"cannot write {brief(what)}: files go to this machine; name a folder here, and upload it afterwards")
    path = Path(folder).absolute()
    if long := next((part for part in (*path.parts, Path(what).name) if len(os.fsencode(part)) > LONGEST_FILE_NAME), None):
        raise UsageError(f"{brief(long)} is too long for the name of a file or folder: at most {LONGEST_FILE_NAME} bytes")
    there = next(place for place in (path, *path.parents) if file_kind(place) is not None or place == place.parent)
    if (kind := file_kind(there)) != "folder":
        raise UsageError(f"cannot write {what!r}: {str(there)!r} is a {kind}, and no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {what!r}: {str(there)!r} may not be written by this user")


def add_recipe(parser: CommandParser, default: str = "digits") -> None:
    """Add the positional RECIPE, and a flag for every field of a recipe: `--optim.lr 0.1`, or `--lr 0.1` where the short name is unique."""
    parser.add_argument("recipe", nargs="?", default=default, help="name of a recipe (`senet recipes`) or a YAML file")
    parser.takes_recipe = True
    parser.epilog = (
        "Every field of a recipe is a flag too, by its path or by its last part where that is unique: --optim.lr 0.1 or --lr 0.1. "
        f"`senet recipes show {default}` prints the fields."
    )


def recipe_of(args: Namespace) -> Recipe:
    """Return the recipe that a command's arguments name, with the flags applied."""
    recipe = load_recipe(args.recipe, args.changes)
    say_code(recipe, args.changes)
    return recipe


def say_code(recipe: Recipe, given: Collection[str]) -> None:
    """Say on stderr which files a recipe runs, besides those that the command line names."""
    for field, name in code_of(recipe.to_dict()).items():
        if field not in given and os.environ.get("RANK", "0") == "0":
            say(f"runs {code_file(name)} ({field} of the recipe)", error=True)


def device_of(name: str) -> "torch.device":
    """Return a device that this machine has.

    Raises:
        UsageError: for another.
    """
    from senet.devices import available_device

    return available_device(name)


def add_reading(parser: CommandParser) -> None:
    """Add --data.range and --data.max_pixels to a command that reads image files without a recipe."""
    parser.add_argument("--data.range", dest="range", metavar="LOW,HIGH", help="values that are black and white, of more than 8 bits")
    parser.add_argument("--data.max_pixels", dest="max_pixels", metavar="N", help="largest width x height of an image file")


def reading_of(args: Namespace) -> "ImageReading":
    """Return how a command reads image files.

    Raises:
        UsageError: for a range or a number that cannot be.
    """
    from senet.data.image_file import ImageReading
    from senet.data.source import check_numbers

    given = {"range": args.range and parse_text(f"[{args.range}]"), "max_pixels": args.max_pixels}
    data = build_recipe({"data": {name: value for name, value in given.items() if value is not None}}, where="flags").data
    check_numbers(data)
    return ImageReading.of(data)


def shape_of(text: str, what: str, lengths: tuple[int, ...] = (4,)) -> tuple[int, ...]:
    """Read N,C,H,W or NxCxHxW; N,C,D,H,W too where `lengths`, how many numbers there may be, has 5.

    Raises:
        UsageError: unless these are so many positive numbers.
    """
    try:
        shape = tuple(int(length) for length in text.replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if len(shape) not in lengths or min(shape) < 1:
        volumes = "; five, N,C,D,H,W, for volumes" if 5 in lengths else ""
        raise UsageError(f"{what} must be four numbers N,C,H,W such as 1,3,224,224, got {text!r}{volumes}")
    return shape


def model_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the flags of a command that takes the network's part of a recipe only.

    Raises:
        UsageError: if there are others.
    """
    if foreign := [field for field in changes if not field.startswith("model.")]:
        raise UsageError(f"{foreign[0]!r} is no option of a network; those are allowed: --block, --placement, --stages, ...")
    return changes


def _is_field(name: str) -> bool:
    try:
        field_path(name)
    except UsageError:
        return False
    return True
