"""Lists of images, whatever they say: each line is a name, and one of no image is left out and named."""

import os

import pytest

from data.made_boxes import notes, opened, read_names, voc_object, write_texts, write_voc, write_yolo
from senet.data.box_folder import box_format
from senet.data.image_lists import listed_lines, without_suffix
from senet.errors import UsageError

GOOD = "0 0.25 0.5 0.3 0.4\n"
CAT = voc_object("cat", (3, 4, 7, 7))
NO_NAMES = (".", "..", "/", "a\0b", "x" * 300)
"""Lines that are the name of no file."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize(("path", "name"), [("a/b.x.png", "a/b.x"), ("b", "b"), (".", "."), ("/", "/"), ("a/..", "a/..")])
def test_suffixes_are_taken_off_names(path, name):
    assert without_suffix(path) == name


@pytest.mark.parametrize("line", NO_NAMES)
def test_a_line_that_names_no_file_is_left_out_and_said(tmp_path, line):
    voc = opened(write_voc(tmp_path / "voc", {"a": [CAT], "b": [CAT]}, {"train": f"a\n{line}\n", "val": "b"}), "voc")
    description = "train: train.txt\nval: images/val\nnames: [cat]\n"
    root = write_yolo(tmp_path / "yolo", {"a": GOOD}, {"b": GOOD}, description)
    write_texts(root, {"train.txt": f"{line}\nimages/train/a.png\n"})
    yolo = opened(root, "yolo")
    assert (read_names(voc)["train"], read_names(yolo)["train"]) == (["JPEGImages/a.png"], ["images/train/a.png"])
    assert all(any("1 images that train lists are missing, left out: " in note for note in notes(source)) for source in (voc, yolo))
    assert box_format(root) == "yolo"


def test_a_description_of_a_name_that_is_too_long_is_said(tmp_path):
    source = opened(write_yolo(tmp_path, {"a": GOOD}, {"b": GOOD}, f"train: {'x' * 300}\nnames: [cat]\n"), "yolo")
    assert any(note.startswith("data.yaml says train: xxx") for note in notes(source))


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    os.mkfifo(tmp_path / "train.txt")
    with pytest.raises(UsageError, match=r"train.txt must be a file that lists images, one a line: is no regular file"):
        listed_lines(tmp_path / "train.txt")
