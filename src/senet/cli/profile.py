"""`senet profile`: what a network costs and how long it takes, part by part and against its plain twin."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.cli.arguments import CommandParser, add_code, add_json, device_of, model_changes, shape_of
from senet.cli.network import names_weights
from senet.errors import UsageError
from senet.recipe import build_recipe

if TYPE_CHECKING:
    import torch
    from torch import nn


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("network", help="name of a network (`senet models`), a source of weights, or the folder of a run")
    parser.add_argument(
        "--input-size", help="N,C,H,W of the batch (N,C,D,H,W of volumes), or one number: the side of one image; default: the network's own"
    )
    parser.add_argument("--batch-size", type=int, help="images in the batch")
    parser.add_argument("--device", default="cpu", help="where to measure, such as cuda")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--no-latency", action="store_true", help="count only, which takes neither time nor memory for large images")
    add_code(parser)
    add_json(parser)
    parser.takes_recipe = True
    parser.epilog = "The network's options are flags, as in a recipe: --block se --reduction 8 --placement pre --model.options.v1_5 true."


def run(args: Namespace) -> int:
    """Profile one network."""
    side = whole_number(args.input_size)
    size = None if args.input_size is None or side is not None else shape_of(args.input_size, "--input-size", (4, 5))
    for flag, number in (("--batch-size", args.batch_size), ("--threads", args.threads)):
        if number is not None and number < 1:
            raise UsageError(f"{flag} must be at least 1, got {number}")
    import torch

    from senet.cli.printing import show
    from senet.profiling import profile
    from senet.terminal import Terminal, literal

    device = device_of(args.device)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    with Terminal(stderr=True).status(literal(f"building {args.network}")) as status:
        model, own_size = _network(args.network, args.changes, device)
        n, *image = size or (1, *_image(args.network, own_size, side))
        shape = (args.batch_size or n, *image)
        result = profile(model, shape, latency=not args.no_latency, status=lambda what: status.update(literal(f"{args.network}: {what}")))
    show(result, as_json=args.json)
    return 0


def whole_number(text: str | None) -> int | None:
    """Return the number that a text is, if it is one of at least 1."""
    return int(text) if text is not None and text.isdecimal() and int(text) > 0 else None


def _image(name: str, own_size: tuple[int, ...] | None, side: int | None) -> tuple[int, ...]:
    """Return (C, H, W), or (C, D, H, W), of an image with that side, or of the network's own size."""
    if own_size is None:
        raise UsageError(f"{name} does not say its input size: give --input-size N,C,H,W, such as 1,3,224,224")
    return own_size if side is None else (own_size[0], *[side] * (len(own_size) - 1))


def _network(name: str, changes: dict[str, Any], device: "torch.device") -> "tuple[nn.Module, tuple[int, ...] | None]":
    """Return the network and the (C, H, W) of its images, if it says that."""
    from senet.models.create import create_model, from_pretrained
    from senet.models.foreign import is_foreign
    from senet.models.registry import list_models
    from senet.weights.store import metadata_of

    path = Path(name)
    if name not in list_models() and not is_foreign(name) and names_weights(name):
        if changes:
            raise UsageError(f"{name} says which network it fits: leave out {', '.join(changes)}")
        model = from_pretrained(path / "best.safetensors" if path.is_dir() else name, device=device)
        images = metadata_of(model).input
    else:
        recipe = build_recipe({"model": {"name": name}}, model_changes(changes)).model
        model, images = create_model(name, device=device, **recipe.recalibration.to_dict(), **recipe.options), None
    own: Any = getattr(model, "input_size", None)
    return model, own if images is None else (images.channels, *[images.size] * (len(own or (0, 0, 0)) - 1))
