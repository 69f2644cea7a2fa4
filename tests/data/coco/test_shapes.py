import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as cocomask

from senet.data.coco.shapes import mask_shape, polygon_mask, runs_mask, shape_mask, text_runs

DRAWN = json.loads((Path(__file__).parent / "drawn_by_cocoapi.json").read_text())
"""Random polygons, and their masks as pycocotools 2.0.11 draws them: `frPyObjects`, and its run lengths as numbers."""


@pytest.mark.parametrize("entry", DRAWN)
def test_polygons_and_run_lengths_are_drawn_as_cocos_own_api_draws_them(entry):
    height, width = entry["size"]
    expected = np.repeat(np.arange(len(entry["runs"])) % 2 == 1, entry["runs"]).reshape(width, height).T
    assert text_runs(entry["counts"]) == entry["runs"]
    for shape in ([entry["polygon"]], {"size": entry["size"], "counts": entry["counts"]}, {"size": entry["size"], "counts": entry["runs"]}):
        assert (shape_mask(shape, height, width) == expected).all()
    assert 0 < expected.sum() < height * width


def test_a_rectangle_on_pixel_edges_is_its_pixels():
    mask = polygon_mask([2, 1, 6, 1, 6, 4, 2, 4], 6, 8)
    assert np.argwhere(mask).tolist() == [[y, x] for y in (1, 2, 3) for x in (2, 3, 4, 5)]


def test_polygons_of_one_object_are_joined():
    parts = [[0, 0, 2, 0, 2, 2, 0, 2], [4, 4, 6, 4, 6, 6, 4, 6]]
    assert (shape_mask(parts, 6, 6) == polygon_mask(parts[0], 6, 6) | polygon_mask(parts[1], 6, 6)).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, "neither polygons nor run lengths"),
        ([], "neither polygons nor run lengths"),
        ([[1, 2, 3, 4]], "no list of 3 or more corners"),
        ([[1, 2, 3, 4, 5, 6, 7]], "no list of 3 or more corners"),
        ([[1, 2, 3, 4, 5, "x"]], "no list of 3 or more corners"),
        ([[1, 2, 3, 4, 5, float("nan")]], "no list of 3 or more corners"),
        ([[1, 2, 3, 4, 5, 1e12]], "no list of 3 or more corners"),
        ([[[1, 2], [3, 4], [5, 6]]], "no list of 3 or more corners"),
        ([7], "no list of 3 or more corners"),
        ({"size": [4, 5], "counts": [20]}, r"of size \[4, 5\] for an image of \[5, 4\]"),
        ({"size": [5, 4], "counts": [19]}, "do not make up 5 x 4 pixels"),
        ({"size": [5, 4], "counts": [25, -5]}, "do not make up"),
        ({"size": [5, 4], "counts": [2.0, 18]}, "do not make up"),
        ({"size": [5, 4]}, "do not make up"),
        ({"size": [5, 4], "counts": "\n"}, "damaged"),
        ({"size": [5, 4], "counts": "o"}, "cut short"),
        ({"size": [5, 4], "counts": "o" * 99}, "damaged"),
    ],
)
def test_shapes_that_are_none_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        shape_mask(shape, 5, 4)


def test_runs_begin_outside_and_go_down_the_columns():
    assert runs_mask([1, 2, 3], 2, 3).tolist() == [[False, True, False], [True, False, False]]


@pytest.mark.parametrize("entry", DRAWN)
def test_masks_have_the_run_lengths_that_cocos_own_api_writes(entry):
    height, width = entry["size"]
    assert mask_shape(runs_mask(entry["runs"], height, width)) == {"size": entry["size"], "counts": entry["counts"]}


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97, 1.0])
def test_masks_and_run_lengths_say_the_same(share):
    random = np.random.default_rng(0)
    for height, width in ((1, 1), (1, 7), (7, 1), (13, 29), (64, 700)):
        mask = random.random((height, width)) < share
        shape = mask_shape(mask)
        assert (shape_mask(shape, height, width) == mask).all()
        encoded = cocomask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert shape == {"size": [height, width], "counts": encoded["counts"].decode()}
