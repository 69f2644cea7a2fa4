"""`senet export`: a network as a file for other engines."""

from argparse import Namespace

from senet.cli.arguments import CommandParser, add_code, add_json, add_target, check_target
from senet.errors import UsageError


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "network", help="a source of weights, the folder of a run, or the name of a network (`senet models`), then untrained"
    )
    add_target(parser, "the .onnx or .pt2 file to write")
    parser.add_argument(
        "--images", nargs="+", default=[], help="photographs on which the file is compared with the network, beside random images"
    )
    parser.add_argument("--no-optimize", action="store_true", help="export the network as it was trained, not its inference form")
    parser.add_argument("--no-verify", action="store_true", help="do not run the file")
    add_code(parser)
    add_json(parser)
    parser.epilog = "Example: senet export runs/mine --to mine.onnx --images photo.jpg"


def run(args: Namespace) -> int:
    """Export, and say what was written and how far it differs."""
    check_target(args)
    if args.images and args.no_verify:
        raise UsageError("--images are there to verify on: drop --no-verify")
    from senet.cli.printing import show
    from senet.data.image_file import read_image
    from senet.data.transforms import eval_transform
    from senet.deploy.export import export
    from senet.models.create import create_model, from_pretrained
    from senet.models.registry import list_models
    from senet.results.run_folder import RunFolder
    from senet.weights.store import metadata_of

    model = create_model(args.network) if args.network in list_models() else from_pretrained(RunFolder.weights_of(args.network))
    batches = []
    if args.images:
        spec = metadata_of(model).input
        if spec is None:
            raise UsageError(f"{args.network!r} does not say what images it expects, so that photographs cannot be prepared: drop --images")
        transform = eval_transform(spec, "centre")
        batches = [transform(read_image(image))[None] for image in args.images]
    report = export(model, args.to, optimize=not args.no_optimize, verify=not args.no_verify, images=batches)
    show(report, as_json=args.json)
    return 0
