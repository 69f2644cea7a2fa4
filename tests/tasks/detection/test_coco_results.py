"""COCO's results of many images: numbered as the data's files say, and read by pycocotools."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from data.coco.made_coco import put_json
from senet.errors import UsageError
from senet.tasks.detection.coco_results import CocoNumbers, images_file, listed_numbers, write_results
from senet.tasks.detection.prediction import PredictedBoxes

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
CLASSES = ("cat", "dog")


def found(*labels: int, classes: Sequence[str] = CLASSES) -> PredictedBoxes:
    corners = np.array([[place, 1, place + 2, 4] for place in range(len(labels))], np.float32).reshape(-1, 4)
    return PredictedBoxes(corners, np.array(labels, int), np.linspace(0.9, 0.5, len(labels), dtype=np.float32), classes, (10, 20))


def listing(path: Path, images: dict[int, str], categories=CATEGORIES) -> Path:
    entries = [{"id": number, "file_name": name, "width": 20, "height": 10} for number, name in images.items()]
    put_json(path, images=entries, annotations=[], categories=categories)
    return path


def results(path: Path) -> list[tuple[int, int]]:
    return [(row["image_id"], row["category_id"]) for row in json.loads(path.read_text())]


def test_known_images_and_classes_have_the_numbers_of_the_file(tmp_path):
    known = listing(tmp_path / "instances_val.json", {12: "val/a.png", 4: "b.png"})
    target = tmp_path / "found.json"
    notes = write_results(target, {"x/val/a.png": found(1, 0), "x/b.png": found(0)}, CocoNumbers.of([known]))
    assert results(target) == [(12, 7), (12, 3), (4, 3)]
    assert notes == ("images and classes are numbered as in instances_val.json",)
    assert not images_file(target).exists()
    read = COCO(str(known)).loadRes(str(target))
    assert [read.anns[number]["bbox"] for number in sorted(read.anns)] == [[0, 1, 2, 3], [1, 1, 2, 3], [0, 1, 2, 3]]


def test_without_a_file_numbers_are_written_beside_the_results(tmp_path):
    target = tmp_path / "found.json"
    notes = write_results(target, {"b.png": found(1), "a.png": found(0)}, CocoNumbers({}, {}))
    assert results(target) == [(1, 2), (2, 1)]
    assert notes == (
        "2 images are numbered from 1 in their order, see found_images.json: b.png, a.png",
        "2 classes are numbered from 1 in their order, see found_images.json: cat, dog",
    )
    truth = COCO(str(tmp_path / "found_images.json"))
    assert truth.imgs[1] == {"id": 1, "file_name": "b.png", "width": 20, "height": 10}
    assert [category["name"] for category in truth.loadCats([1, 2])] == ["cat", "dog"]
    assert len(truth.loadRes(str(target)).anns) == 2


def test_what_a_file_does_not_know_is_numbered_on_and_said(tmp_path):
    known = listing(tmp_path / "v.json", {12: "a.png"}, CATEGORIES[:1])
    target = tmp_path / "found.json"
    notes = write_results(target, {"z.png": found(0), "a.png": found(1)}, CocoNumbers.of([known]))
    assert results(target) == [(13, 8), (12, 7)]
    assert notes[1:] == (
        "1 images which v.json does not know are numbered on from the largest number, see found_images.json: z.png",
        "1 classes which v.json does not know are numbered on from the largest number, see found_images.json: cat",
    )
    assert len(COCO(str(images_file(target))).loadRes(str(target)).anns) == 2


def test_nothing_found_is_an_empty_list(tmp_path):
    write_results(tmp_path / "found.json", {"a.png": found()}, CocoNumbers({}, {}))
    assert json.loads((tmp_path / "found.json").read_text()) == []


def test_the_longest_name_counts_and_one_of_several_images_is_refused(tmp_path):
    numbers = CocoNumbers.of([listing(tmp_path / "t.json", {1: "a.png", 2: "train/a.png"}), listing(tmp_path / "v.json", {3: "b.png"})])
    assert [numbers.image(path) for path in ("x/train/a.png", "x/a.png", "train/b.png", "ba.png")] == [2, 1, 3, None]
    twice = CocoNumbers.of([listing(tmp_path / "t.json", {1: "a.png"}), listing(tmp_path / "v.json", {3: "a.png"})])
    with pytest.raises(UsageError, match=r"a\.png is one of 2 images of that name in t\.json, v\.json; name one file"):
        twice.image("a.png")


def test_two_files_of_one_image_and_other_predictions_are_refused(tmp_path):
    numbers = CocoNumbers.of([listing(tmp_path / "v.json", {3: "b.png"})])
    with pytest.raises(UsageError, match=r"x/b\.png and y/b\.png are both image 3 of v\.json"):
        write_results(tmp_path / "found.json", {"x/b.png": found(0), "y/b.png": found(0)}, numbers)
    with pytest.raises(UsageError, match=r"COCO's results are of boxes, and a\.png has a prediction of another task"):
        write_results(tmp_path / "found.json", {"a.png": "cat"}, numbers)  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "found.json").exists()


def test_a_category_that_a_file_repeats_is_known(tmp_path):
    known = listing(tmp_path / "v.json", {3: "b.png"}, [*CATEGORIES, CATEGORIES[0]])
    assert CocoNumbers.of([known]).categories == {"cat": 3, "dog": 7}


def test_a_folder_gives_the_numbers_of_all_its_files(tmp_path):
    for number, split in enumerate(("train", "val", "test"), 1):
        listing(tmp_path / f"instances_{split}.json", {number: f"{split}.png"})
    numbers = listed_numbers(str(tmp_path))
    assert [numbers.image(f"{split}.png") for split in ("train", "val", "test")] == [1, 2, 3]
    (tmp_path / "instances_test.json").write_text("damaged")
    listing(tmp_path / "valid_more.json", {4: "more.png"})
    known = listed_numbers(str(tmp_path))
    assert [known.image(f"{split}.png") for split in ("train", "val", "test", "more")] == [1, 2, None, 4]
    (tmp_path / "instances_val.json").write_text("damaged")
    assert listed_numbers(str(tmp_path)).files == listed_numbers(None).files == listed_numbers(str(tmp_path / "nowhere")).files == ()
