"""Pascal VOC's boxes: what is read, which lists count, and that every fault is counted and named."""

import pytest

from data.made_boxes import notes, opened, put_images, read_names, voc_object, voc_text, write_texts, write_voc
from senet.data.voc_file import LARGEST_XML, plain_xml
from senet.errors import UsageError

GOOD = voc_object("cat", (3, 4, 7, 7))
"""Pixels 3 to 7 and 4 to 7, counted from 1."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def write(root, objects=(), **changes):
    """Write a set of which b is for validation and a for training, with GOOD and what is asked for."""
    return write_voc(root, {"a": [GOOD, *objects], "b": [GOOD]}, {"train": "a\n", "val": "b\n"} | changes)


def test_corners_are_inside_and_counted_from_one(tmp_path):
    more = voc_object(
        "dog", ("1", "1", "20", "10.0"), "<difficult>1</difficult><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    )
    source = opened(write(tmp_path, [more]), "voc")
    boxes = source.train.targets[0]
    assert source.classes == ("cat", "dog")
    assert boxes.xyxy.tolist() == [[2, 3, 7, 7], [0, 0, 20, 10]]
    assert (boxes.labels.tolist(), boxes.crowd.tolist(), boxes.area.tolist()) == ([0, 1], [False, True], [20, 200])
    assert (boxes.image_id, source.val.targets[0].image_id, boxes.size, boxes.masks) == (1, 2, (10, 20), None)
    assert notes(source)[:2] == [
        "boxes by XML files in Annotations",
        "2 classes by the names of the objects, in alphabetical order; a file classes.txt gives another",
    ]
    assert any("1 regions of many objects (crowd) or difficult objects" in note for note in notes(source))


@pytest.mark.parametrize(
    ("fault", "note"),
    [
        (
            voc_object("cat", (0, 4, 7, 7)),
            "1 boxes begin at 0, before VOC's first pixel, which is 1: do these files count from 0?: JPEGImages/a.png",
        ),
        (voc_object("cat", (21, 4, 25, 7)), "1 boxes outside of their image, left out: JPEGImages/a.png"),
        (voc_object("cat", (7, 4, 3, 7)), "1 boxes without area, left out: JPEGImages/a.png"),
        (voc_object("cat", ("x", 4, 3, 7)), "1 boxes that are no four finite numbers, left out: JPEGImages/a.png"),
        (voc_object("cat", (3, 4, "inf", 7)), "1 boxes that are no four finite numbers, left out: JPEGImages/a.png"),
        ("<object><name>cat</name></object>", "1 boxes that are no four finite numbers, left out: JPEGImages/a.png"),
        (voc_object("", (3, 4, 7, 7)), "1 boxes of no class that is listed, left out: JPEGImages/a.png"),
        (voc_object("cat", (3, 4, 9, 30)), "1 boxes reach out of their image, cut at its edges: JPEGImages/a.png"),
        (GOOD, "1 boxes repeat another of their class, left out: JPEGImages/a.png"),
    ],
)
def test_a_faulty_object_is_counted_and_named(tmp_path, fault, note):
    source = opened(write(tmp_path, [fault]), "voc")
    assert f"train: {note}" in notes(source)
    expected = {"begin at": [[0, 3, 7, 7]], "reach": [[2, 3, 9, 10]]}
    assert source.train.targets[0].xyxy.tolist() == [[2, 3, 7, 7], *next((boxes for said, boxes in expected.items() if said in note), [])]


BOMB = "<!DOCTYPE a [<!ENTITY b '1234567890'><!ENTITY c '&b;&b;&b;&b;'>]><annotation><size><width>&c;</width></size></annotation>"
FOREIGN = "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><annotation>&b;</annotation>"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "has a document type, which is not read"),
        (FOREIGN, "has a document type, which is not read"),
        ("<annotation>", "is no XML: no element found"),
        ("<html></html>", "is XML of <html>, not of <annotation>"),
        ("<?xml version='1.0' encoding='klingon'?><annotation/>", "unknown encoding"),
        ("<annotation>" + 21 * "<part>", "has elements in more than 20 levels"),
        ("<annotation>" + LARGEST_XML * " " + "</annotation>", f"has more than {LARGEST_XML} bytes"),
    ],
)
def test_a_damaged_or_hostile_file_is_named_and_its_image_left_out(tmp_path, text, why):
    write_voc(tmp_path, {name: [GOOD] for name in "abc"}, {"train": "a\nc\n", "val": "b\n"})
    (tmp_path / "Annotations" / "c.xml").write_text(text)
    source = opened(tmp_path, "voc")
    (note,) = [note for note in notes(source) if "cannot be read" in note]
    assert note.startswith("train: 1 files of boxes cannot be read, and their images are left out: Annotations/c.xml ")
    assert why in note
    assert read_names(source)["train"] == ["JPEGImages/a.png"]


def test_entities_of_xml_itself_and_encodings_are_read():
    tree = plain_xml("<?xml version='1.0' encoding='latin-1'?><annotation><name>caf\xe9 &amp; bar</name></annotation>".encode("latin-1"))
    assert tree.findtext("name") == "caf\xe9 & bar"


@pytest.mark.parametrize(
    ("lists", "train", "val"),
    [
        ({"train": "a", "val": "b", "trainval": "a\nb", "test": "c"}, "a", "b"),
        ({"trainval": "a\nb", "test": "c"}, "ab", "c"),
        ({"trainval": "a\nb\nc", "val": "b"}, "ac", "b"),
        ({"val": "b.png\n"}, "acd", "b"),
        ({"train": "a\n\n d \r\n", "test": "b"}, "ad", "b"),
    ],
)
def test_lists_say_which_images_are_for_what(tmp_path, lists, train, val):
    source = opened(write_voc(tmp_path, {name: [GOOD] for name in "abcd"}, lists), "voc")
    assert read_names(source) == {split: [f"JPEGImages/{name}.png" for name in names] for split, names in (("train", train), ("val", val))}


def test_images_in_no_list_are_named_and_those_of_an_unused_list_are_not(tmp_path):
    source = opened(write_voc(tmp_path, {name: [GOOD] for name in "abcd"}, {"train": "a", "val": "b", "test": "c"}), "voc")
    assert [note for note in notes(source) if "in no list" in note] == ["1 images are in no list, left out: JPEGImages/d.png"]


def test_without_lists_a_share_is_held_out(tmp_path):
    source = opened(write_voc(tmp_path, {name: [GOOD] for name in "abcd"}, {}), "voc", val_share=0.5)
    assert [len(names) for names in read_names(source).values()] == [2, 2]
    ids = [images.targets[index].image_id for images in (source.train, source.val) for index in range(2)]
    assert sorted(ids) == [1, 2, 3, 4]


def test_files_without_partner_are_named(tmp_path):
    write_voc(tmp_path, {"a": [GOOD], "b": [GOOD], "c": [GOOD]}, {"train": "a\nd\ne\na", "val": "b"}, images="abd")
    put_images(tmp_path / "JPEGImages", ["b.jpg"])
    said = notes(opened(tmp_path, "voc"))
    assert "1 files of boxes are of no image that is there: Annotations/c.xml" in said
    assert "1 images have the name of another, whose file of boxes cannot be for both, left out: JPEGImages/b.png" in said
    assert "1 images that train lists are missing, left out: e" in said
    assert "1 images are listed by train more than once, and taken once: a" in said
    assert "train: 1 images have no file of boxes, left out: JPEGImages/d.png" in said


def test_an_image_without_an_object_is_kept_and_one_of_another_size_is_not(tmp_path):
    write_voc(tmp_path, {"a": [GOOD], "b": [GOOD], "c": [], "d": [GOOD], "e": [GOOD]}, {"train": "a\nc\nd\ne", "val": "b"})
    write_texts(tmp_path / "Annotations", {"d.xml": voc_text([GOOD], (30, 10)), "e.xml": voc_text([GOOD], None)})
    source = opened(tmp_path, "voc")
    assert read_names(source)["train"] == [f"JPEGImages/{name}.png" for name in "ace"]
    assert "train: 1 images without an object, kept: JPEGImages/c.png" in notes(source)
    assert "train: 1 images of another size than the file says, left out: JPEGImages/d.png (20 x 10, not 30 x 10)" in notes(source)


def test_a_file_gives_the_order_of_the_classes(tmp_path):
    (write(tmp_path, [voc_object("bird", (1, 1, 2, 2))]) / "classes.txt").write_text("cow\ncat\n")
    source = opened(tmp_path, "voc")
    assert source.classes == ("cow", "cat")
    assert "train: 1 boxes of no class that is listed, left out: JPEGImages/a.png" in notes(source)
    assert "train: 1 classes without a box: cow" in notes(source)


def test_files_may_lie_beside_their_images_in_a_folder_of_the_split(tmp_path):
    for split, names in (("train", "ab"), ("valid", "a")):
        put_images(tmp_path / split, [f"{name}.jpg" for name in names])
        write_texts(tmp_path / split, {f"{name}.xml": voc_text([GOOD]) for name in names})
    source = opened(tmp_path, "voc")
    assert read_names(source) == {"train": ["train/a.jpg", "train/b.jpg"], "val": ["valid/a.jpg"]}
    assert [source.train.targets[0].image_id, source.train.targets[1].image_id, source.val.targets[0].image_id] == [1, 2, 3]


def test_a_folder_without_xml_files_says_what_is_expected(tmp_path):
    put_images(tmp_path / "JPEGImages", ["a.png"])
    with pytest.raises(UsageError, match=r"there are no XML files of Pascal VOC; expected is DIR/JPEGImages, DIR/Annotations/\*\.xml"):
        opened(tmp_path, "voc")
