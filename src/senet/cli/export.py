"""`senet export`: a network as a file for other engines."""

from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from senet.cli.arguments import CommandParser, add_code, add_json, add_reading, add_target, check_target, reading_of
from senet.cli.network import names_weights
from senet.errors import UsageError
from senet.spec import block_class

if TYPE_CHECKING:
    from torch import Tensor, nn

    from senet.data.image_file import ImageReading


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
    parser.epilog = "Example: senet export runs/mine --to mine.onnx --images photo.jpg"


def run(args: Namespace) -> int:
    """Export, and say what was written and how far it differs."""
    check_target(args)
    reading = reading_of(args)
    if args.images and args.no_verify:
        raise UsageError("--images are there to verify on: drop --no-verify")
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
