"""`senet eval`: how good trained weights are on validation images."""

from argparse import Namespace

from senet.cli.arguments import CommandParser, add_evaluation, device_of
from senet.errors import UsageError


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("weights", nargs="+", help="weights files or run folders; the predictions of several are averaged")
    parser.add_argument("--crops", default="centre", help="centre, or ten: corners and centre, each mirrored too")
    parser.add_argument("--scales", help="shorter sides in pixels before the crop, averaged: 224,256,288")
    parser.add_argument("--size", type=int, help="side of the crop in pixels; default: the network's")
    add_evaluation(parser)
    parser.epilog = (
        "The images are those that the first weights were validated on; flags change that: --data.name folder --data.root DIR. "
        "A task, data source or block of your own runs only if it is named: --task FILE.py:FACTORY, --data.name FILE.py:SOURCE, "
        "--block FILE.py:CLASS."
    )


def run(args: Namespace) -> int:
    """Evaluate, and print one row."""
    scales = _pixels(args.scales)
    from senet.training.evaluation_request import EvaluationRequest

    request = EvaluationRequest.of(args.weights[0], args.changes)
    from senet.cli.printing import show, with_progress
    from senet.training.evaluate import evaluate

    result = evaluate(
        args.weights,
        request.data,
        task=request.task,
        crops=args.crops,
        scales=scales,
        size=args.size,
        device=device_of(args.device) if args.device else None,
        changes=request.own,
        watch=iter if args.quiet else lambda batches: with_progress(batches, "evaluating"),
    )
    show(result, as_json=args.json, below=result.part_tables())
    return 0


def _pixels(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(side) for side in text.split(","))
    except ValueError:
        raise UsageError(f"--scales must be numbers of pixels such as 224,256, got {text!r}") from None
