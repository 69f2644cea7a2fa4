"""One name for boxes of every format, by what lies in the folder."""

import pytest

from data.made_boxes import notes, opened, put_images, voc_object, write_texts, write_voc, write_yolo
from senet.data.box_folder import box_format
from senet.errors import UsageError

CAT = voc_object("cat", (3, 4, 7, 7))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_the_same_objects_of_two_formats_are_the_same_boxes(tmp_path):
    voc = opened(write_voc(tmp_path / "voc", {"a": [CAT], "b": [CAT]}, {"train": "a", "val": "b"}), "boxes")
    yolo = opened(write_yolo(tmp_path / "yolo", {"a": "0 0.225 0.5 0.25 0.4"}, {"b": "0 0.225 0.5 0.25 0.4"}, "names: [cat]"), "boxes")
    assert voc.name == yolo.name == "boxes"
    assert voc.train.targets[0].xyxy.tolist() == yolo.train.targets[0].xyxy.tolist() == [[2, 3, 7, 7]]
    assert "boxes by XML files in Annotations" in notes(voc)
    assert "boxes by text files in labels/train, labels/val" in notes(yolo)


def test_a_folder_of_no_format_says_all(tmp_path):
    put_images(tmp_path / "images", ["a.png"])
    with pytest.raises(UsageError) as caught:
        opened(tmp_path, "boxes")
    for said in (
        "no files of boxes are recognised",
        "coco_boxes with DIR/annotations/instances",
        "voc with DIR/JPEG",
        "yolo with DIR/images",
    ):
        assert said in str(caught.value)


def test_a_damaged_description_is_no_reason_to_say_nothing(tmp_path):
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.1 0.1"}, {"b": ""}, "names: [cat")
    assert box_format(tmp_path) == "yolo"
    with pytest.raises(UsageError, match=r"data\.yaml is not valid YAML"):
        opened(tmp_path, "boxes")


def test_another_description_is_no_hindrance(tmp_path):
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.1 0.1"}, {"b": "0 0.5 0.5 0.2 0.2"}, None)
    write_texts(tmp_path, {"compose.yaml": "[", "cells.yaml": "names: [cat]\n"})
    assert opened(tmp_path, "boxes").classes == ("cat",)
