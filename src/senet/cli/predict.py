"""`senet predict`: what trained weights say of images."""

from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.cli.arguments import CommandParser, add_code, add_json, add_reading, check_folder, check_free, device_of, reading_of
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.spec import block_class
from senet.streams import say

if TYPE_CHECKING:
    from senet.tasks.detection.coco_results import CocoNumbers
    from senet.training.predict import ImagePrediction
    from senet.training.prediction_records import PredictionRecords

BOXES_OF_COCO = ("boxes", "coco_boxes")
"""Sources whose folder may hold files of COCO that number images and classes."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "images",
        nargs="+",
        help="image files, colour or grey, of any size, NIfTI volumes, videos, or folders of images; patterns in quotes "
        "('photos/**/*.jpg'); @LIST, a file that names files and folders, one a line; - for such lines on standard input",
    )
    parser.add_argument("--weights", action="append", help="a weights file or run folder; given several times, predictions are averaged")
    parser.add_argument("--task", help="what the weights predict, if that is a task of your own: FILE.py:FACTORY (runs that file)")
    parser.add_argument("--block", help="the block of the weights, if that is one of your own: FILE.py:CLASS (runs that file)")
    parser.add_argument("--top-k", type=int, default=5, help="how many answers to give, where the task ranks several")
    parser.add_argument("--crops", default="centre", help="centre, or ten: corners and centre, each mirrored too")
    parser.add_argument("--device", help="where to compute, such as cuda; default: a GPU if there is one")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images predicted together; default: 32, fewer of large ones")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read images; default: what cores can spare")
    parser.add_argument("--every", default="1", metavar="N", help="frames of videos: each N-th (10), or one in so many seconds (0.5s)")
    parser.add_argument(
        "--out",
        metavar="PLACE",
        action="append",
        default=[],
        help="a folder: write predictions there, masks as PNG, volumes as .nii.gz, other answers as JSON; or FILE.jsonl: write a line an "
        "image as soon as it is predicted, and go on where an interrupted prediction ended; give it twice for both",
    )
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
    parser.add_argument("--strict", action="store_true", help="end at the first image that cannot be read")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_reading(parser)
    add_code(parser)
    add_json(parser)
    parser.takes_recipe = True
    parser.epilog = "A task's own part of the recipe, as the weights were trained with it, can be changed by flags: --flips true."


def run(args: Namespace) -> int:
    """Print or write what is predicted of each image; return 1 if one could not be read."""
    folder, lines = _check(args)
    numbers = None if args.coco_results is None else _numbers(args)
    from senet.cli.printing import with_progress
    from senet.data.video import FrameStep
    from senet.training.predict import PredictionPace, predict
    from senet.training.prediction_files import PredictionFiles
    from senet.training.prediction_records import PredictionRecords

    step, reading = FrameStep.parse(args.every), reading_of(args)
    watch = iter if args.quiet or not (lines or args.json) else lambda images: with_progress(images, "predicting")
    pace = PredictionPace(args.batch_size, args.workers, step, args.strict, watch)
    if args.block is not None:
        block_class(args.block)
    records = None if lines is None else PredictionRecords(lines, force=args.force)
    boxes: dict[str, Any] = {}
    found = predict(
        args.weights,
        args.images,
        task=args.task,
        top_k=args.top_k,
        crops=args.crops,
        device=device_of(args.device) if args.device else None,
        reading=reading,
        changes=args.changes,
        files=PredictionFiles(folder, args.overlay, args.force, args.gates),
        pace=pace,
        records=records,
    )
    show, end = _shown_records(records, as_json=args.json) if records is not None else _shown(as_json=args.json)
    failed = False
    with closing(found):
        for prediction in found:
            failed |= prediction.error is not None
            if prediction.error is not None:
                say(f"cannot read {prediction.error}", error=True)
            elif numbers is not None:
                from senet.tasks.detection.coco_results import check_boxes

                boxes[prediction.image] = prediction.prediction
                check_boxes({prediction.image: prediction.prediction})  # not after an hour, when all are there
            show(prediction)
    end({} if numbers is None else {"coco_results": _written(args, boxes, numbers)})
    return 1 if failed or (records is not None and records.unreadable) else 0


def _shown(*, as_json: bool) -> "tuple[Callable[[ImagePrediction], None], Callable[[dict[str, Any]], None]]":
    """Return what prints a prediction, and what prints the end."""
    if not as_json:
        return lambda one: None if one.error else say(f"{one.image}: {one.prediction}"), lambda results: None
    from senet.cli.printing import JsonList

    shown = JsonList("predictions")
    return lambda one: shown.add(one.to_dict()), shown.end


def _shown_records(
    records: "PredictionRecords", *, as_json: bool
) -> "tuple[Callable[[ImagePrediction], None], Callable[[dict[str, Any]], None]]":
    """Return the same where each prediction has its line in a file, of which only the end is told."""

    def end(results: dict[str, Any]) -> None:
        from senet.jsontext import json_text
        from senet.measuring.numbers import plural

        if as_json:
            told = {"file": str(records.path), "images": records.images, "unreadable": records.unreadable, "added": records.added}
            print(json_text({"records": told, **results}))
        else:
            unreadable = f", {records.unreadable} of them could not be read" if records.unreadable else ""
            say(f"{records.path} is complete: {plural(records.images, 'image')}{unreadable}; {records.added} added now")

    return lambda one: None, end


def _check(args: Namespace) -> tuple[str | None, str | None]:
    """Return the folder and the file of --out.

    Raises:
        UsageError: if options do not go together, or a place can hold nothing.
    """
    from senet.training.prediction_records import LINES

    if not args.weights:
        raise UsageError("give --weights: a weights file, or the folder of a run")
    files = [place for place in args.out if Path(place).suffix == LINES and not Path(place).is_dir()]
    folders = [place for place in args.out if place not in files]
    if len(files) > 1 or len(folders) > 1:
        raise UsageError(f"--out is one folder, one FILE{LINES}, or one of each, got {', '.join(args.out)}")
    for folder in filter(None, (*folders, args.overlay, args.gates)):
        check_folder(folder, folder)
    for file in files:
        check_free(file, force=True)
    if args.coco_ids and args.coco_results is None:
        raise UsageError("--coco-ids says how the results of --coco-results FILE are numbered; give that, too")
    if files and args.coco_results is not None:
        raise UsageError(f"--coco-results needs all predictions of one go, and --out {files[0]} may go on with earlier ones; leave out one")
    return next(iter(folders), None), next(iter(files), None)


def _numbers(args: Namespace) -> "CocoNumbers":
    """Return the numbers of images and classes, and see that the results can be written."""
    from senet.results.run_folder import RunFolder
    from senet.tasks.detection.coco_results import CocoNumbers, images_file, listed_numbers
    from senet.weights.store import read_metadata

    for path in (args.coco_results, str(images_file(Path(args.coco_results)))):
        check_free(path, force=args.force)
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
