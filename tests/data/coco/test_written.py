"""COCO's JSON that is written of boxes: pycocotools reads it, and the same boxes come back, bit for bit."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from data.coco.made_coco import put_json, rectangle
from data.made_boxes import notes, opened, read_names, voc_object, write_voc, write_yolo
from senet.data.coco.shapes import mask_runs, runs_mask
from senet.data.coco.written import write_coco
from senet.data.source import DataSource


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def written(root: Path, source: DataSource) -> DataSource:
    for split, images in (("train", source.train), ("val", source.val)):
        write_coco(root / f"instances_{split}.json", images, source.classes)  # pyright: ignore[reportArgumentType]
    return opened(root, "coco_boxes")


def assert_same(first: DataSource, second: DataSource) -> None:
    assert read_names(first) == read_names(second)
    assert first.classes == second.classes
    for before, after in ((first.train, second.train), (first.val, second.val)):
        for index in range(len(before)):
            one, other = before.targets[index], after.targets[index]
            assert (one.image_id, one.size, one.masks is None) == (other.image_id, other.size, other.masks is None)
            for name in ("xyxy", "labels", "crowd", "area"):
                assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
            if one.masks is not None:
                np.testing.assert_array_equal(one.masks.pixels(*one.size), other.masks.pixels(*one.size))


def odd_lines(seed: int, count: int = 40) -> str:
    random = np.random.default_rng(seed)
    return "".join(
        f"{label} {x} {y} {w} {h}\n" for label, (x, y, w, h) in zip(random.integers(3, size=count), random.random((count, 4)), strict=True)
    )


def polygons(seed: int) -> str:
    shares = np.random.default_rng(seed).random((5, 8)) * 1.2 - 0.1
    return "".join(f"0 {' '.join(map(str, row))}\n" for row in shares)


def test_boxes_of_yolo_come_back_bit_for_bit(tmp_path):
    source = opened(write_yolo(tmp_path, {"a": odd_lines(0), "b": ""}, {"c": odd_lines(1)}, "names: [cat, dog, cow]\n"), "yolo")
    assert len(source.train.targets[0]) == 40
    assert_same(source, written(tmp_path, source))
    assert opened(tmp_path, "boxes").notes == opened(tmp_path, "coco_boxes").notes, "COCO's files are the first of several formats"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_outlines_come_back(tmp_path):
    source = opened(write_yolo(tmp_path, {"a": polygons(0) + odd_lines(2, 5)}, {"c": polygons(1)}, "names: [cat, dog, cow]\n"), "yolo")
    assert_same(source, written(tmp_path, source))
    coco, boxes = COCO(str(tmp_path / "instances_train.json")), source.train.targets[0]
    drawn = [coco.annToMask(coco.anns[number]).astype(bool) for number in coco.getAnnIds([boxes.image_id])]
    np.testing.assert_array_equal(np.stack(drawn), boxes.masks.pixels(*boxes.size))


def test_boxes_of_voc_come_back_and_pycocotools_reads_them(tmp_path):
    difficult = voc_object("dog", (1.5, 2, 9, 8), "<difficult>1</difficult>")
    write_voc(
        tmp_path,
        {"a": [voc_object("cat", (3, 4, 7, 7)), difficult], "b": [voc_object("dog", (5, 5, 30, 9))], "c": []},
        {"train": "a\nc", "val": "b"},
    )
    source = opened(tmp_path, "voc")
    assert_same(source, written(tmp_path, source))
    coco = COCO(str(tmp_path / "instances_train.json"))
    assert coco.loadCats(coco.getCatIds()) == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert coco.imgs[1] == {"id": 1, "file_name": "JPEGImages/a.png", "width": 20, "height": 10}
    assert [coco.anns[number]["bbox"] for number in coco.getAnnIds()] == [[2, 3, 5, 4], [0.5, 1, 8.5, 7]]
    assert [coco.anns[number]["iscrowd"] for number in coco.getAnnIds()] == [0, 1]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_outlines_of_turned_images_are_written_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        Image.new("RGB", (20, 10)).save(tmp_path / "images" / f"{number}.png", exif=exif)
    shape = rectangle(2, 3, 7, 7)
    for number, split in ((1, "train"), (2, "val")):
        annotation = {"id": 1, "image_id": number, "category_id": 7, "bbox": [2, 3, 5, 4], "area": 19.5, "segmentation": shape}
        listed = [{"id": number, "file_name": f"{number}.png", "width": 20, "height": 10}]
        put_json(tmp_path / f"instances_{split}.json", images=listed, annotations=[annotation], categories=[{"id": 7, "name": "cat"}])
    source = opened(tmp_path, "coco_boxes")
    assert source.train.targets[0].size == (20, 10)
    again = written(tmp_path, source)
    assert_same(source, again)
    assert not any("turned upright" in note for note in notes(again))


def test_an_image_of_unknown_size_is_left_out_and_named(tmp_path):
    write_yolo(tmp_path, {"a": odd_lines(0), "b": odd_lines(1)}, {"c": odd_lines(2)}, "names: [cat, dog, cow]\n")
    (tmp_path / "images" / "train" / "b.png").write_bytes(b"damaged")
    counts = write_coco(tmp_path / "x.json", opened(tmp_path, "yolo").train, ("cat", "dog", "cow"))  # pyright: ignore[reportArgumentType]
    assert counts.to_dict() == {"images": 1, "boxes": 40, "crowd": 0, "unreadable": ("images/train/b.png",)}
    assert [image["file_name"] for image in json.loads((tmp_path / "x.json").read_text())["images"]] == ["images/train/a.png"]


@pytest.mark.parametrize("mask", [np.zeros((3, 4), bool), np.ones((3, 4), bool), np.random.default_rng(0).random((7, 5)) < 0.5])
def test_runs_of_a_mask_are_that_mask(mask):
    np.testing.assert_array_equal(runs_mask(mask_runs(mask), *mask.shape), mask)
