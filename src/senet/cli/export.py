"""`senet export`: a network as a file for other engines."""

from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from senet.cli.arguments import CommandParser, add_code, add_json, add_reading, add_target, check_target, reading_of
from senet.cli.network import names_weights
from senet.errors import UsageError
from senet.recipe import parse_text
from senet.spec import block_class

if TYPE_CHECKING:
    from torch import Tensor, nn

    from senet.data.image_file import ImageReading

OF_INT8 = ("gates", "calibration", "float_layers", "calibration_images", "limit")
"""Arguments of --int8."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "network", help="a source of weights, the folder of a run, or the name of a network (`senet models`), then untrained"
    )
    add_target(parser, "the .onnx or .pt2 file to write")
    parser.add_argument(
        "--images", nargs="+", default=[], help="photographs on which the file is compared with the network, beside random images"
    )
    parser.add_argument("--fixed-size", action="store_true", help="take images of the network's own size only, in any number")
    parser.add_argument("--block", help="the block of the weights, if that is one of your own: FILE.py:CLASS (runs that file)")
    parser.add_argument("--no-optimize", action="store_true", help="export the network as it was trained, not its inference form")
    parser.add_argument("--no-verify", action="store_true", help="do not run the file")
    add_reading(parser)
    add_code(parser)
    add_json(parser)
    add_int8(parser)
    parser.takes_recipe = True
    parser.examples = (
        "senet export runs/mine --to mine.onnx --images photo.jpg",
        "senet export runs/mine --to mine.onnx --int8 --data.root DIR",
    )
    parser.epilog = "Fields of the data, as --data.root, are for --int8 alone: its images are those that the weights were validated on."


def add_int8(parser: CommandParser) -> None:
    """Add --int8 and what belongs to it; a flag that was not given is None."""
    group = parser.add_argument_group("8 bits")
    group.add_argument("--int8", action="store_true", help="write a file that computes in 8 bits, and measure it on validation images")
    group.add_argument("--gates", help="gates of blocks: float, weights (in 8 bits, and nothing else) or int8; default: float")
    group.add_argument("--calibration", help="how ranges are found: percentile, minmax or entropy; default: percentile")
    group.add_argument("--float-layers", type=int, help="layers that stay float: those that 8 bits harm most; default: 0")
    group.add_argument("--calibration-images", type=int, help="validation images that ranges are found on; default: 200")
    group.add_argument("--limit", type=int, help="validation images that are used at all; default: every one")


def run(args: Namespace) -> int:
    """Export, and say what was written and how far it differs."""
    check_target(args)
    reading = reading_of(args)
    if args.images and args.no_verify:
        raise UsageError("--images are there to verify on: drop --no-verify")
    if args.int8:
        return _run_int8(args)
    if given := next((name for name in OF_INT8 if getattr(args, name) is not None), next(iter(args.changes), None)):
        raise UsageError(f"--{given.replace('_', '-')} says how a network is written in 8 bits: add --int8, or drop it")
    if args.block is not None:
        block_class(args.block)
    from senet.cli.printing import show
    from senet.deploy.export import export
    from senet.models.create import create_model, from_pretrained
    from senet.models.registry import list_models
    from senet.results.run_folder import RunFolder

    named = args.network in list_models() or not names_weights(args.network)
    model = create_model(args.network) if named else from_pretrained(RunFolder.weights_of(args.network))
    report = export(
        model,
        args.to,
        optimize=not args.no_optimize,
        verify=not args.no_verify,
        images=_batches(model, args.network, args.images, reading) if args.images else (),
        fixed_size=args.fixed_size,
    )
    show(report, as_json=args.json)
    return 0


def _run_int8(args: Namespace) -> int:
    """Write a file in 8 bits, and say what that costs."""
    if refused := next((flag for flag, given in (("--images", args.images), ("--no-verify", args.no_verify)) if given), None):
        raise UsageError(f"--int8 compares on validation images, always: drop {refused}")
    values = args.range and f"[{args.range}]"
    own = {"data.max_pixels": args.max_pixels, "data.range": values, "model.block": args.block}
    changes = args.changes | {name: parse_text(value) for name, value in own.items() if value is not None}
    from senet.cli.printing import show
    from senet.models.registry import list_models

    if args.network in list_models():
        raise UsageError(f"{args.network!r} names an untrained network, and --int8 measures trained ones: give a run or a file of weights")
    from senet.training.quantized import quantize_trained

    options = {name: getattr(args, name) for name in OF_INT8 if getattr(args, name) is not None}
    show(
        quantize_trained(args.network, args.to, changes, optimize=not args.no_optimize, fixed_size=args.fixed_size, **options),
        as_json=args.json,
    )
    return 0


def _batches(model: "nn.Module", name: str, images: list[str], reading: "ImageReading") -> "list[Tensor]":
    """Return each photograph as a batch of its own."""
    from senet.data.image_file import read_image
    from senet.data.source import UnreadableImageError
    from senet.data.transforms import eval_transform
    from senet.weights.store import metadata_of

    spec = metadata_of(model).input
    if spec is None:
        raise UsageError(f"{name!r} does not say what images it expects, so that photographs cannot be prepared: drop --images")
    transform, reading = eval_transform(spec, "centre"), replace(reading, value_range=reading.value_range or spec.range)
    try:
        return [transform(read_image(image, reading))[None] for image in images]
    except UnreadableImageError as error:
        raise UsageError(f"--images: {error}") from error
