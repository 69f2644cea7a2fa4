"""`senet coco`: the boxes of a folder, whatever their format, as COCO's JSON."""

from argparse import Namespace
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.cli.arguments import CommandParser, add_json, check_folder, check_free
from senet.errors import UsageError, choice_error
from senet.measuring.numbers import plural
from senet.text import printable

if TYPE_CHECKING:
    from rich.table import Table

    from senet.data.coco.written import CocoCounts


@dataclass(frozen=True)
class WrittenBoxes:
    """Outcome: the files that were written with what they hold, the classes, and what was found wrong with the boxes that were read."""

    files: "dict[str, CocoCounts]"
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    def table(self) -> "Table":
        """Return a table for the terminal."""
        from rich.table import Table

        from senet.data.image_tree import few

        table = Table(box=None, show_header=False, pad_edge=False)
        for path, counts in self.files.items():
            crowd = f", {plural(counts.crowd, 'region')} of many objects or difficult ones" if counts.crowd else ""
            table.add_row("written", path, f"{plural(counts.images, 'image')}, {counts.boxes} boxes{crowd}")
            if counts.unreadable:
                table.add_row("left out", path, f"{plural(len(counts.unreadable), 'image')} of unknown size: {few(counts.unreadable)}")
        table.add_row("classes", f"{len(self.classes)}", ", ".join(self.classes))
        for note in self.notes:
            table.add_row("note", "", note)
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        files = [{"file": path, **counts.to_dict()} for path, counts in self.files.items()]
        return {"files": files, "classes": list(self.classes), "notes": list(self.notes)}


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("root", help="folder of images and boxes")
    parser.add_argument("--to", metavar="DIR", help="folder of instances_train.json and instances_val.json; default: root")
    parser.add_argument("--data-name", default="boxes", help="what the folder holds: coco_boxes, voc or yolo; boxes = as recognised")
    parser.add_argument("--val-share", type=float, help="share of the images that is for validation, where the folder says none")
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    add_json(parser)
    parser.epilog = "Names of files in the JSON are paths below root: that is the folder of images for readers of COCO."


def run(args: Namespace) -> int:
    """Read the boxes, write them, and say what was left out."""
    from senet.atomic import replacing
    from senet.cli.printing import show, with_progress
    from senet.data.box_files import BoxedImages
    from senet.data.coco.written import write_coco
    from senet.data.source import open_data
    from senet.recipe import build_recipe

    share = {} if args.val_share is None else {"val_share": args.val_share}
    recipe = build_recipe({"data": {"name": args.data_name, "root": args.root, **share}}).data
    targets = _targets(args)
    source = open_data(recipe)
    counts = {}
    with ExitStack() as stack:  # both files are whole before one is replaced
        for (split, target), images in zip(targets.items(), (source.train, source.val), strict=True):
            assert isinstance(images, BoxedImages)
            file = stack.enter_context(replacing(target))
            counts[str(target)] = write_coco(file, images, source.classes, with_progress(range(len(images)), f"writing {split}"))
    show(WrittenBoxes(counts, source.classes, source.notes), as_json=args.json)
    return 0


def _targets(args: Namespace) -> dict[str, Path]:
    """Return split -> the file to write.

    Raises:
        UsageError: if there is no folder to read, or a file is there that may not be written over or is what is to be read.
    """
    from senet.data.box_folder import BOXES, box_format
    from senet.data.coco.boxes import BOX_FILES
    from senet.data.coco.files import find_listings
    from senet.file_kind import user_path

    if args.data_name not in BOXES:
        raise choice_error("--data-name", args.data_name, BOXES)
    root = user_path(args.root)
    if not root.is_dir():
        raise UsageError(f"{printable(args.root)} is not a folder; name the folder of images and boxes")
    if args.to is not None:
        check_folder(user_path(args.to), args.to)
    folder = root if args.to is None else user_path(args.to)
    targets = {split: folder / f"instances_{split}.json" for split in ("train", "val")}
    if "coco_boxes" in (args.data_name, args.data_name == "boxes" and box_format(root)):
        read = {path.resolve() for paths in find_listings(root, BOX_FILES).values() for path in paths}
        if same := [path for path in targets.values() if path.resolve() in read]:
            raise UsageError(
                f"{same[0]} is what is read; name another folder, --to DIR, or the format of other files there, --data-name voc"
            )
    for path in targets.values():
        check_free(str(path), force=args.force)
    return targets
