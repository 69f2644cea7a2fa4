"""`senet convert`: weights of another library, or of the official release, as a file of this package."""

from argparse import Namespace
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.cli.arguments import CommandParser, add_code, add_json, add_target, check_target
from senet.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from senet.spec import InputSpec


@dataclass(frozen=True)
class Conversion:
    """Outcome of a conversion: the file, the network, its parameters and classes, and the images that it expects."""

    file: str
    model: str
    parameters: int
    classes: tuple[str, ...] | None
    input: "InputSpec | None"

    def table(self) -> "Table":
        """Return a table for the terminal."""
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row("file", self.file)
        table.add_row("network", self.model)
        table.add_row("parameters", f"{self.parameters:,}")
        table.add_row("classes", f"{len(self.classes)}: {self.classes[0]} ... {self.classes[-1]}" if self.classes else "not known")
        table.add_row("images", _describe_input(self.input))
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", help="FILE, LIBRARY:FILE, LIBRARY/NAME:FILE, or LIBRARY/NAME to fetch; a .caffemodel is read as it is")
    add_target(parser, "the .safetensors file to write")
    parser.add_argument("--model", help="name of the network (`senet models`), for files that do not tell")
    parser.add_argument("--num-classes", type=int, help="with --model: classes of the network, where they are not its data set's")
    parser.add_argument("--in-channels", type=int, help="with --model: channels of the images, where they are not the weights' own")
    parser.add_argument(
        "--adapt-input",
        choices=("repeat", "mean"),
        default="repeat",
        help="how the first kernel is spread over --in-channels: repeat = the old ones in turn; mean = their average",
    )
    parser.add_argument("--classes", help="a text file with the names of the classes, one a line, in the order of the logits")
    parser.add_argument(
        "--input",
        choices=("rgb", "imagenet"),
        help="fold the images' convention into the first convolution: rgb = RGB in 0..1 less the weights' own mean; "
        "imagenet = torchvision's mean and std",
    )
    add_code(parser)
    add_json(parser)
    parser.examples = (
        "senet convert SE-ResNet-50.caffemodel --to se_resnet50.safetensors",
        "senet predict --weights se_resnet50.safetensors photo.jpg",
    )


def run(args: Namespace) -> int:
    """Convert, and say what was written."""
    target = Path(args.to)
    if target.suffix != ".safetensors":
        raise UsageError(f"--to must name a .safetensors file, got {args.to!r}")
    check_target(args)
    for option, value, what in (("--num-classes", args.num_classes, "classes"), ("--in-channels", args.in_channels, "channels")):
        if value is not None and args.model is None:
            raise UsageError(f"{option} needs --model; without it the file says how many {what} there are")
    names = None if args.classes is None else _names(Path(args.classes))
    from senet.cli.printing import show
    from senet.models.create import create_model, from_pretrained
    from senet.publishing.public import public_text
    from senet.weights.load import change_input
    from senet.weights.store import find_config, metadata_of, save_weights

    channels = {} if args.in_channels is None else {"in_channels": args.in_channels}
    model = (
        create_model(args.model, num_classes=args.num_classes, weights=args.source, adapt_input=args.adapt_input, **channels)
        if args.model is not None
        else from_pretrained(args.source)
    )
    if args.input is not None:
        change_input(model, args.input)
    config, metadata = find_config(model), metadata_of(model)
    count = config.options["num_classes"]
    if names is not None and len(names) != count:
        raise UsageError(f"{args.classes!r} names {len(names)} classes, and the network has {count}")
    save_weights(
        model, target, classes=names, recipe=metadata.recipe, extra=dict(metadata.extra) | {"converted_from": public_text(args.source)}
    )
    parameters = sum(p.numel() for p in model.parameters())
    show(Conversion(str(target), config.name, parameters, names or metadata.classes, metadata.input), as_json=args.json)
    return 0


def _names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise UsageError(f"--classes: there is no file {str(path)!r}")
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def _describe_input(spec: "InputSpec | None") -> str:
    if spec is None:
        return "not known"
    mean, std = (", ".join(f"{255 * value:.1f}" for value in values) for values in (spec.mean, spec.std))
    colours = {1: "grey", 3: spec.order.upper()}.get(spec.channels, f"{spec.channels} channels")
    return f"{spec.size} px from {spec.resize}, {colours}, mean {mean} and std {std} of 255"
