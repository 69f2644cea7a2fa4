import re

import numpy as np
import pytest
from PIL import Image

from senet.data.image_file import ORIENTATION
from senet.data.masks import IGNORE, MaskReading, mask_reading, read_mask
from senet.data.source import UnreadableImageError
from senet.errors import UsageError
from senet.recipe import DataRecipe

LABELS = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)
PALETTE = ((0, 0, 0), (128, 0, 0), (0, 128, 64))


def saved(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def with_palette(labels):
    image = Image.fromarray(labels, "L").copy()
    image.putpalette([part for colour in (*PALETTE, *[(9, 9, 9)] * 253) for part in colour])
    assert image.mode == "P"
    return image


def coloured(labels):
    return np.array([*PALETTE, *[(9, 9, 9)] * 253], np.uint8)[labels]


@pytest.mark.parametrize(
    ("name", "image", "options"),
    [
        ("grey.png", LABELS, {}),
        ("grey.tif", LABELS, {"compression": "tiff_lzw"}),
        ("palette.png", with_palette(LABELS), {}),
        ("deep.png", LABELS.astype(np.uint16), {}),
        ("deep.tif", LABELS.astype(np.int32), {}),
        ("floats.tif", LABELS.astype(np.float32), {}),
        ("same_in_all.png", np.stack([LABELS] * 3, axis=2), {}),
        ("same_in_all.webp", np.stack([LABELS] * 3, axis=2), {"lossless": True}),
        ("with_alpha.png", np.stack([LABELS, np.full_like(LABELS, 7)], axis=2), {}),
    ],
)
def test_index_masks_of_every_form_are_class_indices(tmp_path, name, image, options):
    mask = read_mask(saved(tmp_path / name, image, **options), MaskReading(classes=3))
    assert mask.dtype == np.uint8
    assert mask.tolist() == LABELS.tolist()


@pytest.mark.parametrize(("name", "options"), [("c.png", {}), ("c.tiff", {}), ("c.webp", {"lossless": True, "exact": True})])
def test_colours_are_looked_up_in_the_palette(tmp_path, name, options):
    labels = LABELS.clip(0, 2)
    reading = MaskReading("colour", PALETTE, classes=3)
    assert read_mask(saved(tmp_path / name, coloured(labels), **options), reading).tolist() == labels.tolist()
    assert read_mask(saved(tmp_path / "p.png", with_palette(labels)), reading).tolist() == labels.tolist()


def test_a_label_map_renames_places_of_the_palette(tmp_path):
    path = saved(tmp_path / "c.png", coloured(LABELS.clip(0, 2)))
    reading = MaskReading("colour", PALETTE, {2: None, "others": 0}, classes=1)
    assert read_mask(path, reading).tolist() == [[0, 0, IGNORE], [IGNORE, IGNORE, 0]]


def test_instances_are_one_class(tmp_path):
    ids = np.array([[0, 1, 300], [65535, 0, 255]], np.uint16)
    path = saved(tmp_path / "i.png", ids)
    assert read_mask(path, MaskReading("instances", ignore=None, classes=2)).tolist() == [[0, 1, 1], [1, 0, 1]]
    assert read_mask(path, MaskReading("instances", ignore=65535, classes=2)).tolist() == [[0, 1, 1], [IGNORE, 0, 1]]
    colours = saved(tmp_path / "rgb.png", np.array([[[0, 0, 0], [0, 0, 5], [200, 0, 0]]], np.uint8))
    assert read_mask(colours, MaskReading("instances", ignore=None)).tolist() == [[0, 1, 1]]


def test_a_map_of_labels_says_what_others_become(tmp_path):
    path = saved(tmp_path / "m.png", np.array([[7, 8, 9, 255, 1000]], np.uint16))
    assert read_mask(path, MaskReading(label_map={7: 0, 8: 1, "others": None}, classes=2)).tolist() == [[0, 1, IGNORE, IGNORE, IGNORE]]
    assert read_mask(path, MaskReading(label_map={7: 0, 8: 1, 9: None, 255: 1, 1000: 0})).tolist() == [[0, 1, IGNORE, 1, 0]]


def test_masks_are_turned_as_images_are(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    assert read_mask(saved(tmp_path / "t.png", LABELS, exif=exif)).tolist() == np.rot90(LABELS, -1).tolist()


@pytest.mark.parametrize(
    ("name", "image", "options", "reading", "message"),
    [
        ("x.png", LABELS, {}, MaskReading(classes=2), r"x\.png: has labels that are no class \(2: 2 pixels\), where 0 to 1 are classes"),
        ("x.png", LABELS, {}, MaskReading(classes=3, ignore=None), r"\(255: 1 pixels\), where 0 to 2 are classes$"),
        (
            "x.png",
            coloured(LABELS),
            {},
            MaskReading("colour", PALETTE),
            r"colours that data.palette lacks \(\(9, 9, 9\) \(nearest is \(0, 0, 0\), number 0\): 1 pixels\)",
        ),
        ("x.png", coloured(LABELS), {}, MaskReading(), r"has colours \(mode RGB\) where labels are expected; data.masks colour"),
        ("x.jpg", LABELS, {}, MaskReading(), "is a lossy JPEG file, which changes labels"),
        ("x.webp", coloured(LABELS), {"quality": 90}, MaskReading("colour", PALETTE), "is a lossy WEBP file"),
        ("x.tif", LABELS.astype(np.float32) + 0.5, {}, MaskReading(), "no whole numbers"),
        ("x.tif", -LABELS.astype(np.int32), {}, MaskReading(), "negative values"),
        ("x.png", LABELS.astype(np.uint16), {}, MaskReading("colour", PALETTE), "deeper than 8 bits"),
        ("x.png", LABELS, {}, MaskReading(max_pixels=5), "more than data.max_pixels 5"),
    ],
)
def test_what_is_wrong_with_a_mask_is_said_in_one_line(tmp_path, name, image, options, reading, message):
    with pytest.raises(UnreadableImageError, match=message) as caught:
        read_mask(saved(tmp_path / name, image, **options), reading)
    assert "\n" not in str(caught.value)


def test_a_mask_that_is_not_there_or_damaged_is_named(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"none\.png: No such file"):
        read_mask(tmp_path / "none.png")
    path = saved(tmp_path / "cut.png", np.arange(10000, dtype=np.uint8).reshape(100, 100) % 3)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UnreadableImageError, match=re.escape(str(path))):
        read_mask(path)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("index", {"classes": ("a", "a")}, "'a' is there twice"),
        ("index", {"classes": tuple(map(str, range(256)))}, "1 to 255 names, got 256"),
        ("index", {"palette": ((0, 0, 256),)}, r"\[0, 0, 256\] is none"),
        ("index", {"palette": ((0, 0, 1), (0, 0, 1))}, r"different colours, and \[0, 0, 1\] is there twice"),
        ("index", {"label_map": {70000: 0}}, "labels from 0 to 65535, and 'others', got 70000"),
        ("index", {"label_map": {1: 2}, "classes": ("a", "b")}, "classes from 0 to 1 or null, got 2"),
        ("colour", {}, "data.palette does not say"),
        ("instances", {"ignore_index": 1}, "must be 2 or more"),
    ],
)
def test_fields_that_cannot_be_are_refused(kind, fields, message):
    with pytest.raises(UsageError, match=message):
        mask_reading(DataRecipe(name="masks", **fields), kind)
