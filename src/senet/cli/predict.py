"""`senet predict`: what trained weights say of images."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.cli.arguments import CommandParser, add_code, add_json, add_reading, check_folder, check_free, device_of, reading_of
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.spec import block_class
from senet.streams import say

if TYPE_CHECKING:
    from senet.tasks.detection.coco_results import CocoNumbers

BOXES_OF_COCO = ("boxes", "coco_boxes")
"""Sources whose folder may hold files of COCO that number images and classes."""


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
    parser.add_argument("--coco-results", metavar="FILE", help="write the boxes of all images there, as one file of COCO's results")
    parser.add_argument(
        "--coco-ids",
        metavar="FILE",
        action="append",
        help="a JSON file of COCO that numbers images and classes; default: those in the data.root that a run's weights were trained on; "
        "without any they are numbered from 1, and FILE_images.json says how",
    )
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    add_reading(parser)
    add_code(parser)
    add_json(parser)
    parser.takes_recipe = True
    parser.epilog = "A task's own part of the recipe, as the weights were trained with it, can be changed by flags: --flips true."


def run(args: Namespace) -> int:
    """Print what is predicted of each image; return 1 if one could not be read."""
    _check(args)
    numbers = None if args.coco_results is None else _numbers(args)
    from senet.training.predict import predict
    from senet.training.prediction_files import PredictionFiles

    reading = reading_of(args)
    if args.block is not None:
        block_class(args.block)
    failed = False
    found, boxes = [], {}
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
        elif numbers is not None:
            from senet.tasks.detection.coco_results import check_boxes

            boxes[prediction.image] = prediction.prediction
            check_boxes({prediction.image: prediction.prediction})  # not after an hour, when all are there
        found.append(prediction.to_dict())
        if not args.json and prediction.error is None:
            say(f"{prediction.image}: {prediction.prediction}")
    results = {} if numbers is None else {"coco_results": _written(args, boxes, numbers)}
    if args.json:
        from senet.jsontext import json_text

        print(json_text({"predictions": found, **results}))
    return 1 if failed else 0


def _check(args: Namespace) -> None:
    """Raise UsageError if options do not go together, or a folder can hold nothing."""
    if not args.weights:
        raise UsageError("give --weights: a weights file, or the folder of a run")
    for folder in filter(None, (args.out, args.overlay, args.gates)):
        check_folder(folder, folder)
    if args.coco_ids and args.coco_results is None:
        raise UsageError("--coco-ids says how the results of --coco-results FILE are numbered; give that, too")


def _numbers(args: Namespace) -> "CocoNumbers":
    """Return the numbers of images and classes, and see that the results can be written."""
    from senet.results.run_folder import RunFolder
    from senet.tasks.detection.coco_results import CocoNumbers, images_file, listed_numbers
    from senet.weights.store import read_metadata

    target = Path(args.coco_results)
    for path in (target, images_file(target)):
        check_free(str(path), force=args.force)
    if args.coco_ids:
        return CocoNumbers.of([user_path(path) for path in args.coco_ids])
    weights = Path(RunFolder.weights_of(args.weights[0]))
    trusted = weights.is_file() and RunFolder(weights.parent).exists()  # others do not choose what is opened
    said = (read_metadata(weights).recipe or {}).get("data", {}) if trusted else {}
    return listed_numbers(said.get("root") if said.get("name") in BOXES_OF_COCO else None)


def _written(args: Namespace, boxes: dict[str, Any], numbers: "CocoNumbers") -> dict[str, Any]:
    """Write the results, and say how images and classes are numbered."""
    from senet.tasks.detection.coco_results import write_results

    notes = write_results(Path(args.coco_results), boxes, numbers)
    for note in () if args.json else notes:
        say(f"{args.coco_results}: {note}")
    return {"file": args.coco_results, "notes": list(notes)}
