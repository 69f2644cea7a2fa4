"""Boxes: their shapes, choosing among them, clipping and outlines."""

import numpy as np
import pytest

from senet.data.boxes import ARRAY_TURNS, Boxes, Outlines, box_areas, clipped

SQUARE, RUNS = [[1, 1, 4, 1, 4, 3, 1, 3]], {"size": [6, 8], "counts": [0, 6, 42]}


def boxes(count: int = 3, masks: Outlines | None = None) -> Boxes:
    xyxy = np.arange(4 * count, dtype=np.float32).reshape(count, 4)
    labels, crowd = np.arange(count) % 2, np.arange(count) == 1
    return Boxes(xyxy, labels, crowd, box_areas(xyxy), 7, (6, 8), masks)


def test_some_boxes_are_chosen_with_all_that_is_known_of_them() -> None:
    every = boxes(masks=Outlines(("a", "b", "c")))
    backwards = every.chosen(np.array([2, 0]))
    assert backwards.xyxy.tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert backwards.labels.tolist() == [0, 0]
    assert backwards.masks == Outlines(("c", "a"))
    assert (backwards.image_id, backwards.size) == (7, (6, 8))
    assert every.objects.xyxy.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]], "crowd is no object"
    assert len(boxes(0).objects) == 0


@pytest.mark.parametrize("wrong", [{"labels": np.zeros(2, np.int64)}, {"xyxy": np.zeros((3, 5), np.float32)}, {"masks": Outlines(())}])
def test_lengths_that_differ_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"of [23] boxes"):
        Boxes(**{**vars(boxes()), **wrong})


def test_clipping_keeps_what_is_inside_and_leaves_nothing_outside() -> None:
    random = np.random.default_rng(0)
    xyxy = np.sort(random.uniform(-20, 40, (500, 2, 2)), axis=1).reshape(500, 4)
    cut = clipped(xyxy, (11, 17))
    assert (cut >= 0).all()
    assert (cut[:, [0, 2]] <= 17).all()
    assert (cut[:, [1, 3]] <= 11).all()
    np.testing.assert_array_equal(clipped(cut, (11, 17)), cut)
    sides = [np.maximum(np.minimum(xyxy[:, axis + 2], end) - np.maximum(xyxy[:, axis], 0), 0) for axis, end in ((0, 17), (1, 11))]
    np.testing.assert_allclose(box_areas(cut), sides[0] * sides[1], rtol=1e-12)
    assert box_areas(np.array([[5.0, 0, 3, 4], [1, 1, 1, 9]])).tolist() == [0, 0]


def test_outlines_become_pixels() -> None:
    pixels = Outlines((SQUARE, RUNS)).pixels(6, 8)
    assert pixels.shape == (2, 6, 8)
    assert pixels[0].sum() == 6
    assert pixels[1, :, 0].all()
    assert not pixels[1, :, 1:].any()
    assert Outlines(()).pixels(6, 8).shape == (0, 6, 8)


@pytest.mark.parametrize("orientation", [1, *ARRAY_TURNS])
def test_outlines_become_run_lengths_of_the_upright_image(orientation: int) -> None:
    size = (6, 8) if orientation == 1 else (8, 6)
    outlines = Outlines((SQUARE, RUNS), orientation)
    assert (Outlines(outlines.runs(*size)).pixels(*size) == outlines.pixels(*size)).all()
    assert Outlines(()).runs(6, 8) == ()
