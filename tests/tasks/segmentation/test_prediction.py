"""A predicted mask as numbers, as a file that reads back, and as a picture of its image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from senet.data.masks import IGNORE, MaskReading, read_mask
from senet.data.palettes import voc_palette
from senet.tasks.segmentation.colours import CONFUSED, FALSE, MISSED, coloured, mask_errors, outlined, tinted
from senet.tasks.segmentation.prediction import PredictedMask

MASK = np.zeros((7, 9), np.uint8)
MASK[2:5, 3:8] = 1
MASK[0, 0] = 2
NAMES = ("background", "nucleus", "edge")
GREY = Image.new("L", (9, 7), 100)
RED = ((0, 0, 0), (200, 0, 0), (0, 50, 0))


def test_numbers() -> None:
    found = PredictedMask(MASK, NAMES)
    assert found.to_dict()["pixels"] == {"background": 47, "nucleus": 15, "edge": 1}
    assert (found.to_dict()["height"], found.to_dict()["width"]) == (7, 9)
    assert sum(found.to_dict()["percent"].values()) == pytest.approx(100)
    assert str(found) == "background 74.6 %  nucleus 23.8 %  edge 1.6 %"


@pytest.mark.parametrize("classes", [2, 3, 21, 255])
def test_file_is_a_png_of_indices_with_the_palette_and_reads_back(tmp_path: Path, classes: int) -> None:
    mask = np.arange(600, dtype=np.int64).reshape(20, 30) % classes
    PredictedMask(mask.astype(np.uint8), tuple(map(str, range(classes)))).write(tmp_path / "no suffix")
    with Image.open(tmp_path / "no suffix") as image:
        assert (image.format, image.mode) == ("PNG", "P")
        assert np.array_equal(np.asarray(image.convert("RGB")), np.array(voc_palette(classes), np.uint8)[mask])
    (tmp_path / "no suffix").rename(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", MaskReading(classes=classes)), mask)


def test_palette_is_the_sources_unless_it_is_too_short() -> None:
    assert PredictedMask(MASK, NAMES, RED).colours == RED
    assert PredictedMask(MASK, NAMES, RED[:2]).colours == voc_palette(3)


def test_ignored_pixels_keep_their_index_and_are_white() -> None:
    mask = MASK.copy()
    mask[6, 8] = IGNORE
    image = coloured(mask, RED)
    assert np.array_equal(np.asarray(image), mask)
    assert image.convert("RGB").getpixel((8, 6)) == (255, 255, 255)


def test_picture_tints_objects_outlines_them_and_leaves_the_rest() -> None:
    drawn = np.asarray(PredictedMask(MASK, NAMES, RED).draw(GREY))
    assert drawn.shape == (7, 9, 3)
    assert drawn[3, 5].tolist() == [140, 60, 60]  # 0.6 * 100 + 0.4 * 200
    assert drawn[2, 5].tolist() == drawn[3, 3].tolist() == [200, 0, 0]
    assert drawn[0, 0].tolist() == [0, 50, 0]
    assert (drawn[MASK == 0] == 100).all()
    assert np.array_equal(np.asarray(GREY), np.full((7, 9), 100))


def test_outline_lies_inside_its_region() -> None:
    drawn = np.asarray(outlined(GREY, MASK, RED))
    assert (drawn[MASK == 0] == 100).all()
    assert ((drawn == [200, 0, 0]).all(axis=2) & (MASK == 1)).sum() == 15 - 3
    assert np.array_equal(np.asarray(tinted(GREY, np.full_like(MASK, IGNORE), RED)), np.full((7, 9, 3), 100))


def test_errors_have_their_colours() -> None:
    truth = np.array([[0, 1, 1, 0, 2, IGNORE]], np.uint8)
    found = np.array([[0, 1, 0, 1, 1, 1]], np.uint8)
    image = Image.new("L", (6, 1), 0)
    drawn = [tuple(colour) for colour in np.asarray(mask_errors(image, truth, found, 0))[0].tolist()]
    assert drawn == [(160,) * 3, (160,) * 3, MISSED, FALSE, CONFUSED, (160,) * 3]
    drawn = [tuple(colour) for colour in np.asarray(mask_errors(image, truth, found, None))[0].tolist()]
    assert drawn[2:5] == [CONFUSED] * 3
