"""YOLO's boxes: what is read, where it may lie, and that every fault is counted and named."""

from pathlib import PurePath

import numpy as np
import pytest

from data.made_boxes import notes, opened, put_images, read_names, write_texts, write_yolo
from senet.data.yolo import label_path
from senet.data.yolo_file import LARGEST_TEXT
from senet.errors import UsageError

GOOD = "0 0.25 0.5 0.3 0.4\n"
"""Left 2, top 3, right 8 and bottom 7 of 20 x 10 pixels."""


WRONG = (
    *("0 0.5 0.5 0.1", "0 0.5 0.5 0.1 nan", "0 120 40 30 30", "cat 0.5 0.5 0.1 0.1", "0.5 0.5 0.5 0.1 0.1"),
    *("0 .5 .5 .1 .1 .9", "0 .1 .1 .2 .1 .2 .2 .3"),
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_boxes_are_shares_of_their_image(tmp_path):
    source = opened(write_yolo(tmp_path, {"a": GOOD + "\n1 0.5 0.5 1 1\n", "b": ""}, {"c": GOOD}), "yolo")
    boxes = source.train.targets[0]
    assert source.classes == ("cat", "dog")
    np.testing.assert_allclose(boxes.xyxy, [[2, 3, 8, 7], [0, 0, 20, 10]], rtol=1e-6)
    assert (boxes.labels.tolist(), boxes.crowd.any(), boxes.size, boxes.masks) == ([0, 1], False, (10, 20), None)
    np.testing.assert_allclose(boxes.area, [24, 200], rtol=1e-6)
    assert [images.targets[index].image_id for images in (source.train, source.val) for index in range(len(images))] == [1, 2, 3]
    assert notes(source)[:2] == ["boxes by text files in labels/train, labels/val", "described by data.yaml"]
    assert "train: 1 images without an object, kept: images/train/b.png" in notes(source)


def test_polygons_are_masks_and_the_boxes_around_them(tmp_path):
    source = opened(write_yolo(tmp_path, {"a": "1 0.1 0.2 0.4 0.2 0.4 0.7 0.1 0.7\n" + GOOD}, {"c": GOOD}), "yolo")
    boxes = source.train.targets[0]
    np.testing.assert_allclose(boxes.xyxy, [[2, 2, 8, 7], [2, 3, 8, 7]], rtol=1e-6)
    assert boxes.masks is not None
    wanted = np.zeros((2, 10, 20), bool)
    wanted[0, 2:7, 2:8] = wanted[1, 3:7, 2:8] = True
    np.testing.assert_array_equal(boxes.masks.pixels(10, 20), wanted)
    assert "train: 1 objects without an outline, which is taken to be their box: images/train/a.png" in notes(source)


@pytest.mark.parametrize(
    ("fault", "note"),
    [
        ("2 0.5 0.5 0.1 0.1", "1 boxes of no class that is listed, left out: images/train/a.png"),
        ("-1 0.5 0.5 0.1 0.1", "1 boxes of no class that is listed, left out: images/train/a.png"),
        ("0 1.5 0.5 0.1 0.1", "1 boxes outside of their image, left out: images/train/a.png"),
        ("0 0.5 0.5 0 0.1", "1 boxes without area, left out: images/train/a.png"),
        (GOOD, "1 boxes repeat another of their class, left out: images/train/a.png"),
        *((line, "1 lines say neither a box nor a polygon in shares of the image, left out: images/train/a.png line 2") for line in WRONG),
    ],
)
def test_a_faulty_line_is_counted_and_named(tmp_path, fault, note):
    source = opened(write_yolo(tmp_path, {"a": GOOD + fault}, {"c": GOOD}), "yolo")
    assert f"train: {note}" in notes(source)
    assert len(source.train.targets[0]) == 1


def test_points_of_poses_are_not_corners(tmp_path):
    line = "0 0.25 0.5 0.3 0.4 0.3 0.3 0.4 0.4\n"
    source = opened(write_yolo(tmp_path, {"a": line}, {"c": line}, "names: [person]\nkpt_shape: [2, 2]\n"), "yolo")
    np.testing.assert_allclose(source.train.targets[0].xyxy, [[2, 3, 8, 7]], rtol=1e-6)
    assert source.train.targets[0].masks is None


def test_files_without_partner_and_damaged_ones_are_named(tmp_path):
    write_yolo(tmp_path, {"a": GOOD, "b": GOOD, "d": GOOD, "e": GOOD}, {"c": GOOD})
    (tmp_path / "labels" / "train" / "b.txt").unlink()
    (tmp_path / "labels" / "train" / "d.txt").write_bytes(b"0 0.5\0")
    (tmp_path / "labels" / "train" / "e.txt").write_text((LARGEST_TEXT + 1) * " ")
    write_texts(tmp_path / "labels" / "train", {"z.txt": GOOD, "classes.txt": "cat\ndog\n"})
    source = opened(tmp_path, "yolo")
    assert read_names(source)["train"] == ["images/train/a.png", "images/train/b.png"]
    assert "1 files of boxes are of no image that is there: labels/train/z.txt" in notes(source)
    assert "train: 1 images have no file of boxes, and so no object: images/train/b.png" in notes(source)
    assert (
        "train: 2 files of boxes cannot be read, and their images are left out: labels/train/d.txt is no text, "
        f"labels/train/e.txt has more than {LARGEST_TEXT} bytes"
    ) in notes(source)


PLACES = {
    "of the format": ("images/{}", "labels/{}", ("train", "val"), "path: ../cells\ntrain: images/train\nval: images/val\n"),
    "of another machine": ("images/{}", "labels/{}", ("train", "val"), "train: /home/me/cells/images/train\nval: /home/me/images/val\n"),
    "not described": ("images/{}", "labels/{}", ("train", "val"), ""),
    "split first": ("{}/images", "{}/labels", ("train", "valid"), "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"),
    "beside the images": ("{}", "{}", ("train", "valid"), "train: train\nval: valid\n"),
}


@pytest.mark.parametrize("place", PLACES)
def test_folders_of_several_forms_are_found(tmp_path, place):
    images, labels, splits, description = PLACES[place]
    for split in splits:
        put_images(tmp_path / images.format(split), [f"{split}.png"])
        write_texts(tmp_path / labels.format(split), {f"{split}.txt": GOOD})
    (tmp_path / "data.yaml").write_text(description + "names: [cat, dog]\n")
    source = opened(tmp_path, "yolo")
    assert list(read_names(source).values()) == [[f"{images.format(split)}/{split}.png"] for split in splits]
    assert (len(source.train.targets[0]), len(source.val.targets[0]), source.classes) == (1, 1, ("cat", "dog"))


@pytest.mark.parametrize("line", ["./images/{}.png", "images/{}.png", "/data/me/images/{}.png", "../datasets/x/images/{}.png"])
def test_lists_of_images_are_read(tmp_path, line):
    put_images(tmp_path / "images", [f"{name}.png" for name in "abcd"])
    write_texts(tmp_path / "labels", {f"{name}.txt": GOOD for name in "abcd"})
    write_texts(
        tmp_path, {"train.txt": "".join(line.format(name) + "\n" for name in "abx"), "val.txt": line.format("c"), "classes.txt": "cat\n"}
    )
    source = opened(tmp_path, "yolo")
    assert read_names(source) == {"train": ["images/a.png", "images/b.png"], "val": ["images/c.png"]}
    assert source.classes == ("cat",)
    assert "1 images are in no list, left out: images/d.png" in notes(source)
    assert f"1 images that train lists are missing, left out: {line.format('x')}" in notes(source)


def test_one_folder_without_lists_is_split_by_a_share(tmp_path):
    put_images(tmp_path / "images", [f"{name}.png" for name in "abcd"])
    write_texts(tmp_path / "labels", {f"{name}.txt": f"{place} 0.5 0.5 0.1 0.1\n" for place, name in enumerate("abcd")})
    source = opened(tmp_path, "yolo", val_share=0.5)
    assert [len(names) for names in read_names(source).values()] == [2, 2]
    assert source.classes == ("0", "1", "2", "3")
    assert "4 classes by their numbers; a file data.yaml or classes.txt names them" in notes(source)


def test_what_a_description_says_wrongly_is_said(tmp_path):
    text = "train: ../../../etc\nval: images/val\nnc: 80\nnames: {0: cat, 7: dog}\n"
    source = opened(write_yolo(tmp_path, {"a": GOOD + "7 0.5 0.5 0.2 0.2\n"}, {"c": GOOD}, text), "yolo")
    assert source.train.targets[0].labels.tolist() == [0, 1]
    said = notes(source)
    assert "data.yaml says train: ../../../etc, which is not in this folder" in said
    assert "data.yaml says 80 classes (nc) and names 2" in said
    assert "classes are in the order of their numbers, which have holes" in said
    assert read_names(source)["train"] == ["images/train/a.png"]


@pytest.mark.parametrize("train", ["images/train", "../outside/images"])
def test_places_outside_of_the_folder_are_not_read(tmp_path, train):
    put_images(tmp_path / "outside" / "images", ["x.png"])
    write_texts(tmp_path / "outside" / "labels", {"x.txt": GOOD})
    root = write_yolo(tmp_path / "root", {"a": GOOD}, {"c": GOOD}, f"train: {train}\nval: list.txt\nnames: [cat]\n")
    elsewhere = tmp_path / "outside" / "images" / "x.png"
    write_texts(root, {"list.txt": f"../outside/images/x.png\n{elsewhere}\n./images/val/c.png\n"})
    source = opened(root, "yolo")
    assert read_names(source) == {"train": ["images/train/a.png"], "val": ["images/val/c.png"]}
    note = (
        "data.yaml says train"
        if "outside" in train
        else f"2 images that val lists are missing, left out: ../outside/images/x.png, {elsewhere}"
    )
    assert any(said.startswith(note) for said in notes(source))


def test_boxes_that_are_one_in_float32_are_one(tmp_path):
    source = opened(write_yolo(tmp_path, {"a": GOOD + "0 0.2500000001 0.5 0.3 0.4\n"}, {"c": GOOD}), "yolo")
    assert len(source.train.targets[0]) == 1
    assert "train: 1 boxes repeat another of their class, left out: images/train/a.png" in notes(source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [cat, cat]\n", "names must be different and not empty, got cat, cat"),
        ("names: 3\n", "names must be a list of names, or numbers with names, got 3"),
        ("names: {cat: 0}\n", "names must be a list of names, or numbers with names"),
        ("names: [cat\n", "is not valid YAML"),
        ("names: !!python/object:os.system [cat]\n", "is not valid YAML"),
    ],
)
def test_a_description_that_says_no_names_is_refused(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        opened(write_yolo(tmp_path, {"a": GOOD}, {"c": GOOD}, text), "yolo")
    assert message in str(caught.value)
    assert "data.yaml" in str(caught.value)


def test_a_folder_without_text_files_says_what_is_expected(tmp_path):
    put_images(tmp_path / "images" / "train", ["a.png"])
    with pytest.raises(UsageError, match=r"there are no text files of YOLO; expected is DIR/images/train, DIR/labels/train/\*\.txt"):
        opened(tmp_path, "yolo")


@pytest.mark.parametrize(
    ("image", "text"),
    [
        ("images/train/a.b.png", "labels/train/a.b.txt"),
        ("images/images/a.png", "images/labels/a.txt"),
        ("Images/a.png", "Labels/a.txt"),
        ("train/a.png", "train/a.txt"),
        ("images.png", "images.txt"),
    ],
)
def test_the_file_of_an_image_is_in_labels_where_that_is_in_images(image, text):
    assert PurePath(label_path(image)) == PurePath(text)
