"""`senet analyse`: what the gates of trained weights do, what each block is worth, and which can go."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from senet.cli.arguments import CommandParser, add_code, add_json, check_free, device_of
from senet.errors import UsageError, choice_error

if TYPE_CHECKING:
    from senet.training.analyse import Watch


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("weights", help="a weights file, a source of weights or a run folder")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="validation images to take, drawn by chance and always the same; default: all"
    )
    parser.add_argument(
        "--modes",
        default="channel,mean,none",
        help="what each block's gates are replaced by, in turn, to measure it: channel (the mean of each channel), mean (one number), "
        "none (the block is left out)",
    )
    parser.add_argument("--out", metavar="PAGE.html", help="write a page with tables and figures there")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    parser.add_argument("--device", help="where to compute, such as cuda; default: a GPU if there is one")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_code(parser)
    add_json(parser)
    parser.takes_recipe = True
    parser.epilog = (
        "The images are those that the weights were validated on; flags change that: --data.name folder --data.root DIR. A task, data "
        "source or block of your own runs only if it is named: --task FILE.py:FACTORY, --data.name FILE.py:SOURCE, --block FILE.py:CLASS."
    )


def run(args: Namespace) -> int:
    """Analyse, print the tables and what follows, and write the page."""
    if args.limit is not None and args.limit < 1:
        raise UsageError(f"--limit must be at least 1 image, got {args.limit}")
    if args.out is not None:
        check_free(args.out, force=args.force)
    modes = _modes(args.modes)
    from senet.atomic import write_text
    from senet.cli.printing import show
    from senet.report.gate_page import render_analysis
    from senet.terminal import Terminal
    from senet.training.analyse import analyse

    device = device_of(args.device) if args.device else None
    with _progress(quiet=args.quiet) as watch:
        found = analyse(args.weights, args.changes, limit=args.limit, modes=modes, device=device, watch=watch)
    show(found, as_json=args.json, below=[found.effects_table()])
    console = Terminal(highlight=False)
    if not args.json:
        for advice in found.advice:
            console.print(f"- {advice.text}")
    if args.out is not None:  # after the figures, which a disk that is full does not take away
        write_text(args.out, render_analysis(found))
        if not args.json:
            console.print(f"page: {args.out}", soft_wrap=True)
    return 0


def _modes(text: str) -> tuple[str, ...]:
    from senet.analysis.frozen import FREEZE_MODES

    given = tuple(dict.fromkeys(text.split(",")))
    for mode in given:
        if mode not in FREEZE_MODES:
            raise choice_error("mode of --modes", mode, FREEZE_MODES)
    return given


@contextmanager
def _progress(*, quiet: bool) -> "Iterator[Watch]":
    """Yield what shows on a terminal how far each step is."""
    from rich.progress import Progress, TaskID

    from senet.terminal import Terminal

    console, steps = Terminal(stderr=True), dict[str, TaskID]()
    with Progress(console=console, disable=quiet or not console.is_terminal) as bars:

        def watch(what: str, done: int, total: int) -> None:
            if what not in steps:
                steps[what] = bars.add_task(what)
            bars.update(steps[what], completed=done, total=total)

        yield watch
