"""One file of COCO's results for the boxes that are predicted of many images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senet.atomic import replacing
from senet.data.coco.boxes import BOX_FILES, box_listing, further_listings
from senet.data.coco.files import Listing, find_listings, joined_categories
from senet.data.image_tree import few
from senet.errors import UsageError
from senet.file_kind import user_path
from senet.jsontext import json_text
from senet.tasks.detection.prediction import PredictedBoxes
from senet.text import printable


@dataclass(frozen=True)
class CocoNumbers:
    """Numbers that COCO's files give to images and classes.

    Args:
        images: name of an image's file, as the files say it -> its numbers, several if several images have that name.
        categories: name of a class -> its number.
        files: names of the files; none where nothing is known.
    """

    images: Mapping[str, Sequence[int]]
    categories: Mapping[str, int]
    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "CocoNumbers":
        """Return what files of COCO's instances say.

        Raises:
            UsageError: if one cannot be read, or they contradict each other.
        """
        return cls.listed([box_listing(path) for path in paths])

    @classmethod
    def listed(cls, listings: Sequence[Listing]) -> "CocoNumbers":
        """Return what the contents of files say.

        Raises:
            UsageError: if they contradict each other.
        """
        images: dict[str, list[int]] = {}
        for listing in listings:
            for entry in listing.images:
                known = images.setdefault(entry["file_name"].replace("\\", "/"), [])
                known += [entry["id"]] if entry["id"] not in known else []
        names = {category.name: category.id for category in joined_categories(listings)}
        return cls(images, names, tuple(listing.path.name for listing in listings))

    def image(self, path: str) -> int | None:
        """Return the number of an image: that of the longest name with which its path ends; None if no file knows it.

        Raises:
            UsageError: if several images have that name.
        """
        parts = Path(path).absolute().parts
        for start in range(len(parts)):
            if found := self.images.get("/".join(parts[start:])):
                if len(found) > 1:
                    raise UsageError(
                        f"{printable(path, None)} is one of {len(found)} images of that name in {', '.join(self.files)}; name one file"
                    )
                return found[0]
        return None


def listed_numbers(root: str | None) -> CocoNumbers:
    """Return the numbers that the files of COCO in a folder give, those of a test too; none if there are no such files."""
    try:
        if root is None or not user_path(root).is_dir():
            return CocoNumbers({}, {})
        used = [path for paths in find_listings(user_path(root), BOX_FILES).values() for path in paths]
        return CocoNumbers.listed([*map(box_listing, used), *further_listings(used)])
    except UsageError:  # of another form, or damaged: it knows no numbers
        return CocoNumbers({}, {})


def images_file(path: Path) -> Path:
    """Return the file beside results that lists images and classes which no other file knows."""
    return path.with_name(f"{path.stem}_images.json")


def check_boxes(predictions: Mapping[str, Any]) -> None:
    """Raise UsageError if what is predicted of an image is not boxes."""
    if other := next((image for image, found in predictions.items() if not isinstance(found, PredictedBoxes)), None):
        raise UsageError(
            f"COCO's results are of boxes, and {printable(other, None)} has a prediction of another task; leave out --coco-results"
        )


def write_results(path: Path, predictions: Mapping[str, PredictedBoxes], numbers: CocoNumbers) -> tuple[str, ...]:
    """Write the results of many images; return how images and classes are numbered, one line each.

    Images and classes that no file knows are numbered on from the largest number; beside the results a file NAME_images.json, of COCO's
    form without annotations, then lists all numbers, so that `COCO(NAME_images.json).loadRes(NAME.json)` reads the results.

    Args:
        path: the file, which is written over.
        predictions: path of an image -> what is predicted of it; of one set of classes.
        numbers: what files say.

    Raises:
        UsageError: if two images have one number, or a prediction is not of boxes.
    """
    check_boxes(predictions)
    said = {image: numbers.image(image) for image in predictions}
    images = _completed(said, max((number for found in numbers.images.values() for number in found), default=0))
    of_number: dict[int, str] = {}
    for image, number in images.items():
        if of_number.setdefault(number, image) != image:
            raise UsageError(
                f"{printable(of_number[number], None)} and {printable(image, None)} are both image {number} of {', '.join(numbers.files)}"
            )
    classes = max((found.classes for found in predictions.values()), key=len, default=())
    categories = _completed({name: numbers.categories.get(name) for name in classes}, max(numbers.categories.values(), default=0))
    ids = [categories[name] for name in classes]
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        rows = (json_text(row, indent=None) for image, found in predictions.items() for row in found.coco_results(images[image], ids))
        file.write("[")
        for place, row in enumerate(rows):
            file.write((",\n" if place else "\n") + row)
        file.write("\n]\n")
    notes = [f"images and classes are numbered as in {', '.join(numbers.files)}"] if numbers.files else []
    strangers = {
        "images": [image for image, number in said.items() if number is None],
        "classes": [name for name in classes if name not in numbers.categories],
    }
    if any(strangers.values()):
        _write_images(images_file(path), predictions, images, categories)
    return (*notes, *_said(strangers, numbers.files, images_file(path).name))


def _said(strangers: Mapping[str, Sequence[str]], files: Sequence[str], beside: str) -> list[str]:
    """Return how what no file knows is numbered, one line for images and one for classes."""
    start = "on from the largest number" if files else "from 1 in their order"
    known = f"which {', '.join(files)} does not know " if files else ""
    return [f"{len(names)} {what} {known}are numbered {start}, see {beside}: {few(names)}" for what, names in strangers.items() if names]


def _completed(said: Mapping[str, int | None], largest: int) -> dict[str, int]:
    """Return numbers, those that nothing says after the largest."""
    strangers = [name for name, number in said.items() if number is None]
    return {
        **{name: number for name, number in said.items() if number is not None},
        **{name: largest + place for place, name in enumerate(strangers, 1)},
    }


def _write_images(path: Path, predictions: Mapping[str, PredictedBoxes], images: Mapping[str, int], categories: Mapping[str, int]) -> None:
    sizes = {image: found.size for image, found in predictions.items()}
    entries = [{"id": images[image], "file_name": image, "height": height, "width": width} for image, (height, width) in sizes.items()]
    tree: dict[str, Any] = {
        "images": entries,
        "annotations": [],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    with replacing(path) as temporary:
        temporary.write_text(json_text(tree, indent=None), encoding="ascii")
