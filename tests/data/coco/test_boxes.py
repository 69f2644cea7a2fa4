"""COCO's boxes: what is read, and that every fault of a file is mended or left out, counted and named."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from data.coco.made_coco import put_json, rectangle
from senet.data.fingerprint import fingerprint
from senet.data.source import DataSource, open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe

CELLS = Path(os.environ.get("SENET_TEST_DATA", Path(__file__).parents[4] / "shared/data")) / "bccd_detection"
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def box(number, image, xywh, category: object = 3, **more):
    return {"id": number, "image_id": image, "category_id": category, "bbox": xywh, **more}


def listed(number, **more):
    return {"id": number, "file_name": f"{number}.png", "width": 20, "height": 10, **more}


def write(root: Path, annotations=(), images: Iterable = (1, 2), there: Iterable[int] = (1, 2), categories=CATEGORIES) -> Path:
    """Write a set of which the image 9 is for validation and has one box, and what is asked for is for training."""
    (root / "images").mkdir()
    for number in (*there, 9):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(root / "images" / f"{number}.png")
    entries = [image if isinstance(image, dict) else listed(image) for image in images]
    put_json(root / "instances_train.json", images=entries, annotations=list(annotations), categories=categories)
    put_json(root / "instances_val.json", images=[listed(9)], annotations=[box(1, 9, [1, 1, 3, 3])], categories=CATEGORIES)
    return root


def opened(root: Path, **fields) -> DataSource:
    return open_data(DataRecipe(name="coco_boxes", root=str(root), **fields))


GOOD = box(1, 1, [2, 3, 5, 4])


def notes(source: DataSource) -> list[str]:
    return [note.partition(": ")[2] for note in source.notes]


def test_boxes_labels_and_numbers_are_those_of_the_file(tmp_path):
    more = [GOOD, box(2, 2, [0, 0, 20, 10], 7, area=33.5), box(3, 2, [4, 4, 4, 4], iscrowd=1)]
    source = opened(write(tmp_path, more, images=(1, 2)))
    assert source.classes == ("cat", "dog")
    first, second = (source.train.targets[index] for index in range(2))
    assert (first.xyxy.tolist(), first.labels.tolist(), first.area.tolist()) == ([[2, 3, 7, 7]], [0], [20])
    assert (first.image_id, first.size, first.masks) == (1, (10, 20), None)
    assert second.labels.tolist() == [1, 0]
    assert second.area.tolist() == [33.5, 16]
    assert second.crowd.tolist() == [False, True]
    assert second.objects.labels.tolist() == [1]
    assert [part.dtype for part in (second.xyxy, second.labels, second.crowd, second.area)] == [np.float32, np.int64, bool, np.float32]
    assert notes(source)[:3] == [
        "boxes by instances_train.json",
        "boxes by instances_val.json",
        "2 categories are numbered 3 to 7 with holes; classes are in their order, from 0",
    ]
    assert (
        "train: 1 regions of many objects (crowd) or difficult objects, which are not learnt and not counted in evaluation: images/2.png"
        in (notes(source))
    )


@pytest.mark.parametrize(
    ("fault", "note"),
    [
        (box(2, 1, [-4, 3, 10, 4]), "1 boxes reach out of their image, cut at its edges: images/1.png"),
        (box(2, 1, [20, 3, 5, 4]), "1 boxes outside of their image, left out: images/1.png"),
        (box(2, 1, [2, 3, 0, 4]), "1 boxes without area, left out: images/1.png"),
        (box(2, 1, [2, 3, -2, 4]), "1 boxes without area, left out: images/1.png"),
        (box(2, 1, [2, 3, float("nan"), 4]), "1 boxes that are no four finite numbers, left out: images/1.png"),
        (box(2, 1, [2, 3, float("inf"), 4]), "1 boxes that are no four finite numbers, left out: images/1.png"),
        (box(2, 1, [2, 3, 4]), "1 boxes that are no four finite numbers, left out: images/1.png"),
        (box(2, 1, "2 3 4 5"), "1 boxes that are no four finite numbers, left out: images/1.png"),
        (box(2, 1, [2, 3, 4, 4], 5), "1 boxes of no class that is listed, left out: images/1.png"),
        (box(2, 1, [2, 3, 4, 4], None), "1 boxes of no class that is listed, left out: images/1.png"),
        (box(2, 8, [2, 3, 4, 4]), "1 annotations of no image that is listed, left out: annotation 2"),
        (box(2, 1, [2, 3, 5, 4]), "1 boxes repeat another of their class, left out: images/1.png"),
        (box(1, 1, [2, 3, 5, 5]), "1 annotations have the id of another; ids of annotations are not used: id 1"),
    ],
)
def test_a_faulty_box_is_counted_and_named(tmp_path, fault, note):
    source = opened(write(tmp_path, [GOOD, fault], images=(1,), there=(1,)))
    assert f"train: {note}" in notes(source)
    boxes = source.train.targets[0]
    expected = [[2, 3, 7, 7]] + ([[0, 3, 6, 7]] if "reach out" in note else []) + ([[2, 3, 7, 8]] if "id of another" in note else [])
    assert boxes.xyxy.tolist() == expected


def test_a_coordinate_that_was_rounded_is_cut_without_a_word(tmp_path):
    source = opened(write(tmp_path, [box(1, 1, [-0.3, 0, 20.5, 10.2], area=999.0)], images=(1,), there=(1,)))
    assert source.train.targets[0].xyxy.tolist() == [[0, 0, 20, 10]]
    assert not any("cut at" in note for note in source.notes)


@pytest.mark.parametrize(
    ("images", "there", "note", "left"),
    [
        ((1, 2), (1,), "1 images that instances_train.json lists are missing, left out: 2.png", ["1.png"]),
        ((1, 2, listed(1, file_name="3.png")), (1, 2, 3), "2 images share their id with another, left out: 1.png, 3.png", ["2.png"]),
        ((1, 2, listed(5, file_name="1.png")), (1, 2), "1 images are listed more than once, and taken once: 1.png", ["1.png", "2.png"]),
        (
            (1, listed(2, width=30)),
            (1, 2),
            "1 images of another size than the file says, left out: images/2.png (20 x 10, not 30 x 10)",
            ["1.png"],
        ),
        ((1, 2), (1, 2), "1 images without an object, kept: images/2.png", ["1.png", "2.png"]),
    ],
)
def test_a_faulty_image_is_counted_and_named(tmp_path, images, there, note, left):
    source = opened(
        write(tmp_path, [GOOD, box(2, 2, [1, 1, 2, 2])] if "2.png" not in note or "object" not in note else [GOOD], images, there)
    )
    assert f"train: {note}" in notes(source)
    assert [source.train.describe(index) for index in range(len(source.train))] == [f"images/{name}" for name in left]
    assert len(source.train.targets) == len(left)


def test_annotations_of_an_image_that_is_listed_twice_are_joined(tmp_path):
    source = opened(write(tmp_path, [GOOD, box(2, 5, [1, 1, 2, 2])], (1, listed(5, file_name="1.png")), (1,)))
    assert source.train.targets[0].xyxy.tolist() == [[2, 3, 7, 7], [1, 1, 3, 3]]


def test_images_that_no_file_lists_and_classes_without_a_box_are_named(tmp_path):
    source = opened(write(tmp_path, [GOOD], images=(1,), there=(1, 4)))
    assert "1 images are in no list, left out: images/4.png" in notes(source)
    assert "train: 1 classes without a box: dog" in notes(source)


def test_a_name_that_no_file_can_have_is_missing(tmp_path):
    root = write(tmp_path, [GOOD], images=(listed(7, file_name="x" * 300), 1), there=(1,))
    put_json(root / "instances_test.json", images=[listed(4, file_name="y" * 300)], annotations=[], categories=CATEGORIES)
    said = notes(opened(root))
    assert any(note.startswith("train: 1 images that instances_train.json lists are missing, left out: xxx") for note in said)


def test_images_of_a_file_that_is_not_used_are_in_a_list(tmp_path):
    root = write(tmp_path, [GOOD], images=(1,), there=(1, 4, 5))
    put_json(root / "instances_test.json", images=[listed(4), listed(6)], annotations=[], categories=CATEGORIES)
    put_json(root / "instances_damaged.json", images=[{"id": 5}], annotations=[], categories=CATEGORIES)
    said = notes(opened(root))
    assert "1 images of instances_test.json are not used" in said
    assert "1 images are in no list, left out: images/5.png" in said


def test_an_image_for_both_splits_is_named(tmp_path):
    source = opened(write(tmp_path, [GOOD, box(2, 9, [1, 1, 3, 3])], images=(1, 9), there=(1,)))
    assert "1 images are both for train and for val: images/9.png" in notes(source)


def test_sizes_need_not_be_said(tmp_path):
    source = opened(write(tmp_path, [GOOD], images=({"id": 1, "file_name": "1.png"}, listed(2, width=0, height=None)), there=(1, 2)))
    assert [source.train.targets[index].size for index in range(2)] == [(10, 20), (10, 20)]


TURNS = {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90}


@pytest.mark.parametrize("orientation", TURNS)
def test_boxes_and_outlines_of_a_stored_image_are_turned_with_it(tmp_path, orientation):
    write(tmp_path, [box(1, 1, [2, 3, 5, 4], segmentation=rectangle(2, 3, 7, 7))], images=(1,), there=())
    pixels = np.zeros((10, 20), np.uint8)
    pixels[3:7, 2:7] = 255
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "images" / "1.png", exif=exif)
    source = opened(tmp_path)
    boxes, upright = source.train.targets[0], np.asarray(source.train.read(0))[:, :, 0] == 255
    assert upright.tolist() == (np.asarray(Image.fromarray(pixels).transpose(TURNS[orientation])) == 255).tolist()
    rows, columns = np.nonzero(upright)
    assert boxes.size == upright.shape == (20, 10)
    assert boxes.xyxy.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    assert boxes.masks is not None
    np.testing.assert_array_equal(boxes.masks.pixels(*boxes.size)[0], upright)
    assert any("1 images are turned upright" in note for note in source.notes)


def test_boxes_of_an_upright_image_stay_and_a_mirrored_one_is_named(tmp_path):
    write(tmp_path, [GOOD, box(2, 2, [1, 1, 2, 2])], images=(listed(1, width=10, height=20), 2), there=())
    for number, orientation in ((1, 6), (2, 3)):
        exif = Image.Exif()
        exif[274] = orientation
        Image.new("RGB", (20, 10)).save(tmp_path / "images" / f"{number}.png", exif=exif)
    source = opened(tmp_path)
    assert [source.train.targets[index].xyxy.tolist() for index in range(2)] == [[[2, 3, 7, 7]], [[1, 1, 3, 3]]]
    said = "train: 2 images are turned by their EXIF orientation, and their boxes are taken as upright: images/1.png, images/2.png"
    assert said in notes(source)


def test_an_object_without_an_outline_among_others_has_that_of_its_box(tmp_path):
    source = opened(
        write(tmp_path, [box(1, 1, [2, 3, 5, 4], segmentation=[]), box(2, 1, [1, 1, 2, 2], segmentation=rectangle(1, 1, 3, 3))])
    )
    masks = source.train.targets[0].masks
    assert masks is not None
    assert masks.pixels(10, 20).sum(axis=(1, 2)).tolist() == [20, 4]
    assert source.train.targets[1].masks is not None
    assert "train: 1 objects without an outline, which is taken to be their box: images/1.png" in notes(source)


def test_classes_are_chosen_by_name(tmp_path):
    root = write(tmp_path, [GOOD, box(2, 1, [1, 1, 2, 2], 7), box(3, 9, [1, 1, 1, 1])])
    put_json(root / "instances_val.json", images=[listed(9)], annotations=[box(1, 9, [1, 1, 3, 3], 7)], categories=CATEGORIES)
    source = opened(root, classes=("dog",))
    assert source.classes == ("dog",)
    assert source.train.targets[0].xyxy.tolist() == [[1, 1, 3, 3]]
    assert "train: 1 boxes of no class that is listed, left out: images/1.png" in notes(source)
    with pytest.raises(UsageError, match=r"unknown class in data\.classes 'dig' \(did you mean 'dog'\?\); allowed: cat, dog"):
        opened(root, classes=("dig",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"annotations": [box(2, 1, [20, 3, 5, 4])]},
            "no box is left for train; 1 boxes outside of their image, left out: images/1.png; 2 im",
        ),
        ({"annotations": [box(2, 1, [2, 3, 5, 4], iscrowd=1)]}, "no box is left for train; 1 regions of many objects"),
        ({"annotations": [GOOD], "images": (listed(1, width=5),)}, "no box is left for train; 1 images of another size than the file says"),
        ({"annotations": [GOOD], "there": ()}, "lists, is in none of train, images/train, images or the folder itself"),
        ({"annotations": [GOOD], "categories": [{"id": 3, "name": "cat"}, {"id": 3, "name": "cow"}]}, "category 3 is 'cat' and 'cow'"),
        ({"annotations": [GOOD], "images": (listed(1, file_name="../1.png"),)}, "lead out of their folder"),
        ({"annotations": [GOOD], "images": ()}, "images: expected a list of 1 to"),
    ],
)
def test_where_nothing_is_left_one_line_says_why(tmp_path, changes, message):
    with pytest.raises(UsageError) as caught:
        opened(write(tmp_path, **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label_map": {1: 0}}, "data.label_map says nothing of boxes"),
        ({"classes": ("cat", "cat")}, "one or more different names, got cat, cat"),
        ({"root": "nowhere"}, "needs --data.root DIR, with DIR/annotations/instances_train2017.json"),
    ],
)
def test_fields_that_cannot_be_are_refused(tmp_path, fields, message):
    with pytest.raises(UsageError) as caught:
        open_data(DataRecipe(name="coco_boxes", **{"root": str(write(tmp_path, [GOOD])), **fields}))
    assert message in str(caught.value)


def test_a_fingerprint_tells_boxes_and_images_apart(tmp_path):
    root = write(tmp_path, [GOOD])
    first = fingerprint(opened(root).train)
    assert fingerprint(opened(root).train) == first
    put_json(root / "instances_train.json", images=[listed(1), listed(2)], annotations=[box(1, 1, [2, 3, 5, 5])], categories=CATEGORIES)
    assert fingerprint(opened(root).train) != first


def test_images_without_a_list_for_validation_are_held_out(tmp_path):
    root = write(tmp_path, [GOOD, box(2, 2, [1, 1, 2, 2])])
    (root / "instances_val.json").unlink()
    source = opened(root, val_share=0.5)
    assert sorted([source.train.describe(0), source.val.describe(0)]) == ["images/1.png", "images/2.png"]
    assert {source.train.describe(0): source.train.targets[0].image_id, source.val.describe(0): source.val.targets[0].image_id} == {
        "images/1.png": 1,
        "images/2.png": 2,
    }
    assert "data.val_share 0.5 is held out: 1 of 2 images" in notes(source)


def test_an_image_that_cannot_be_read_keeps_its_place(tmp_path):
    root = write(tmp_path, [GOOD, box(2, 2, [1, 1, 2, 2])], images=(1, {"id": 2, "file_name": "2.png"}))
    for number in (1, 2):
        (root / "images" / f"{number}.png").write_bytes(b"damaged")
    source = opened(root)
    assert source.train.targets[0].xyxy.tolist() == [[2, 3, 7, 7]], "by the size that the file says"
    assert len(source.train.targets[1]) == 0


@pytest.mark.skipif(not CELLS.is_dir(), reason=f"{CELLS} is not there")
def test_blood_cells_are_those_that_pycocotools_reads():
    source = opened(CELLS)
    assert (len(source.train), len(source.val), source.classes) == (205, 87, ("RBC", "WBC", "Platelets"))
    assert "72 images of instances_test.json are not used" in notes(source)
    assert not any("in no list" in note for note in source.notes)
    oracle = COCO(str(CELLS / "instances_val.json"))
    for index in range(len(source.val)):
        boxes = source.val.targets[index]
        said = oracle.loadAnns(oracle.getAnnIds([boxes.image_id]))
        assert source.val.describe(index) == f"images/{oracle.imgs[boxes.image_id]['file_name']}"
        np.testing.assert_array_equal(boxes.xyxy, [[x, y, x + w, y + h] for x, y, w, h in (entry["bbox"] for entry in said)])
        assert (boxes.labels + 1).tolist() == [entry["category_id"] for entry in said]
        assert boxes.area.tolist() == [entry["area"] for entry in said]
