"""`senet analyse`: what the gates of trained weights do, what each block is worth, and which can go."""

from argparse import Namespace

from senet.cli.arguments import CommandParser, add_evaluation, check_free, device_of
from senet.errors import UsageError, choice_error


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
    add_evaluation(parser)
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
    from senet.cli.printing import show, show_to_copy, with_steps
    from senet.report.gate_page import render_analysis
    from senet.terminal import Terminal
    from senet.training.analyse import analyse

    device = device_of(args.device) if args.device else None
    with with_steps(quiet=args.quiet) as watch:
        found = analyse(args.weights, args.changes, limit=args.limit, modes=modes, device=device, watch=watch)
    show(found, as_json=args.json, below=[found.effects_table()])
    console = Terminal(highlight=False)
    if not args.json:
        for advice in found.advice:
            console.print(f"- {advice.text}")
    if args.out is not None:  # after the figures, which a disk that is full does not take away
        write_text(args.out, render_analysis(found))
        if not args.json:
            show_to_copy({"page": args.out})
    return 0


def _modes(text: str) -> tuple[str, ...]:
    from senet.analysis.frozen import FREEZE_MODES

    given = tuple(dict.fromkeys(text.split(",")))
    for mode in given:
        if mode not in FREEZE_MODES:
            raise choice_error("mode of --modes", mode, FREEZE_MODES)
    return given
