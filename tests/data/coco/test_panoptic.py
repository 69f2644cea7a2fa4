import numpy as np
import pytest
from PIL import Image

from data.coco.made_coco import write_panoptic
from senet.data.mask_statistics import mask_statistics
from senet.data.masks import IGNORE
from senet.data.source import open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def opened(root, **fields):
    return open_data(DataRecipe(name="coco_panoptic", root=str(root), **fields))


def test_segments_become_the_classes_of_their_categories(tmp_path):
    source = opened(write_panoptic(tmp_path))
    assert source.classes == ("cat", "sky")
    assert source.palette == ((200, 0, 0), (0, 0, 200))
    assert source.train.targets[1].tolist() == [[IGNORE, IGNORE, 0, 0, 1, 1, IGNORE, IGNORE]] * 6
    assert source.train.describe(1) == "images/train2017/002.jpg"
    statistics = mask_statistics(source.train, 2)
    assert statistics.pixels.tolist() == [24, 24]
    assert statistics.image_pixels.tolist() == [48, 48]


def test_a_label_map_can_name_pixels_of_no_segment(tmp_path):
    source = opened(write_panoptic(tmp_path), label_map={0: 0, 3: 1, 7: 1}, classes=("void", "any"))
    assert source.train.targets[0].tolist() == [[0, 0, 1, 1, 1, 1, 0, 0]] * 6


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: write_panoptic(root, numbers_of=((300, 3),)),
            r"2 of 2 masks cannot be read.*panoptic_train2017/001.png: has 12 pixels of segments that the JSON file does not list: 70000",
        ),
        (
            lambda root: write_panoptic(root, numbers_of=((300, 4), (70000, 7))),
            "segment of 001.png has number 300 and category 4, which is not",
        ),
        (
            lambda root: (root / "annotations/panoptic_train2017/001.png").unlink(),
            "1 of 2 masks that panoptic_train2017.json lists are missing",
        ),
        (
            lambda root: (root / "annotations/panoptic_train2017").rename(root / "x"),
            "the folder panoptic_train2017 of its PNG files is not",
        ),
        (
            lambda root: Image.fromarray(np.zeros((6, 8), np.uint8)).save(root / "annotations/panoptic_train2017/001.png"),
            r"1 of 2 masks cannot be read.* is no PNG file of colours but PNG of mode L",
        ),
        (
            lambda root: Image.new("RGB", (7, 6)).save(root / "annotations/panoptic_train2017/001.png"),
            r"1 of 2 masks have another size than their image, such as panoptic_train2017/001.png: 7 x 6, and its image 8 x 6",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, spoil, message):
    write_panoptic(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
