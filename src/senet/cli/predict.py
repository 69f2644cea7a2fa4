"""`senet predict`: what trained weights say of images."""

from argparse import Namespace

from senet.cli.arguments import CommandParser, add_code, add_json, add_reading, check_folder, device_of, reading_of
from senet.errors import UsageError
from senet.spec import block_class
from senet.streams import say


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("images", nargs="+", help="image files, colour or grey, of any size, NIfTI volumes, or folders of them")
    parser.add_argument("--weights", action="append", help="a weights file or run folder; given several times, predictions are averaged")
    parser.add_argument("--task", help="what the weights predict, if that is a task of your own: FILE.py:FACTORY (runs that file)")
    parser.add_argument("--block", help="the block of the weights, if that is one of your own: FILE.py:CLASS (runs that file)")
    parser.add_argument("--top-k", type=int, default=5, help="how many answers to give, where the task ranks several")
    parser.add_argument("--crops", default="centre", help="centre, or ten: corners and centre, each mirrored too")
    parser.add_argument("--device", help="where to compute, such as cuda; default: a GPU if there is one")
    parser.add_argument("--out", metavar="DIR", help="write predictions there: masks as PNG, volumes as .nii.gz, other answers as JSON")
    parser.add_argument("--overlay", metavar="DIR", help="write a picture of each image there that shows what is predicted of it")
    parser.add_argument("--gates", metavar="DIR", help="write the gates of sSE and scSE blocks over each image there, as one picture")
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    add_reading(parser)
    add_code(parser)
    add_json(parser)
    parser.takes_recipe = True
    parser.epilog = "A task's own part of the recipe, as the weights were trained with it, can be changed by flags: --flips true."


def run(args: Namespace) -> int:
    """Print what is predicted of each image; return 1 if one could not be read."""
    if not args.weights:
        raise UsageError("give --weights: a weights file, or the folder of a run")
    for folder in filter(None, (args.out, args.overlay, args.gates)):
        check_folder(folder, folder)
    from senet.training.predict import predict
    from senet.training.prediction_files import PredictionFiles

    reading = reading_of(args)
    if args.block is not None:
        block_class(args.block)
    failed = False
    found = []
    for prediction in predict(
        args.weights,
        args.images,
        task=args.task,
        top_k=args.top_k,
        crops=args.crops,
        device=device_of(args.device) if args.device else None,
        reading=reading,
        changes=args.changes,
        files=PredictionFiles(args.out, args.overlay, args.force, args.gates),
    ):
        if prediction.error is not None:
            failed = True
            say(f"cannot read {prediction.error}", error=True)
        found.append(prediction.to_dict())
        if not args.json and prediction.error is None:
            say(f"{prediction.image}: {prediction.prediction}")
    if args.json:
        from senet.jsontext import json_text

        print(json_text({"predictions": found}))
    return 1 if failed else 0
