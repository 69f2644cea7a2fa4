"""Which objects are found and which boxes are wrong: as pycocotools matches them."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from senet.data.boxes import Boxes
from senet.tasks.detection.matching import box_overlaps, matches
from tasks.detection.made_detections import Found, coco_dicts, made_images, slow_iou


def matched_by_pycocotools(truths: list[Boxes], founds: list[Found], iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which objects are found and which detections are wrong, of all images in their order."""
    tree, results = coco_dicts(truths, founds)
    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = tree
        objects.createIndex()
        judge = COCOeval(objects, objects.loadRes(results), "bbox")
        judge.params.iouThrs, judge.params.areaRng, judge.params.areaRngLbl = np.array([iou]), [[0, 1e10]], ["all"]
        judge.evaluate()
    found, wrong = np.zeros(len(tree["annotations"]), bool), np.zeros(len(results), bool)
    for entry in filter(None, judge.evalImgs):  # its numbers begin at 1
        found[np.array(entry["gtIds"], int) - 1] = (entry["gtMatches"][0] > 0) & (np.array(entry["gtIgnore"]) == 0)
        wrong[np.array(entry["dtIds"], int) - 1] = entry["dtMatches"][0] == 0
    return found, wrong


@pytest.mark.parametrize("iou", [0.5, 0.75])
@pytest.mark.parametrize("seed", range(4))
def test_matches_are_those_of_pycocotools(seed: int, iou: float) -> None:
    truths, founds = made_images(seed)
    own = [
        matches(truth, *(one[name].numpy() for name in ("boxes", "labels", "scores")), iou=iou)
        for truth, one in zip(truths, founds, strict=True)
    ]
    found, wrong = matched_by_pycocotools(truths, founds, iou)
    assert np.array_equal(np.concatenate([its.found for its in own]), found)
    assert np.array_equal(np.concatenate([its.wrong for its in own]), wrong)
    assert found.any()
    assert wrong.any()
    assert not (found | np.concatenate([truth.crowd for truth in truths])).all()


def test_overlaps_are_those_of_loops() -> None:
    truth = made_images(1)[0][4]
    boxes = np.concatenate([made_images(1)[1][4]["boxes"].double().numpy(), np.zeros((1, 4))])
    others = np.concatenate([truth.xyxy.astype(float), np.zeros((1, 4))])
    crowd = np.append(truth.crowd, False)
    found = box_overlaps(boxes, others, crowd)
    for row, column in np.ndindex(*found.shape):
        no_area = row == len(boxes) - 1 and (crowd[column] or column == len(others) - 1)
        expected = 0 if no_area else slow_iou(boxes[row], others[column], crowd=bool(crowd[column]))
        assert found[row, column] == pytest.approx(expected, abs=1e-12)
    assert crowd.any()


def test_of_two_boxes_on_one_object_the_surer_is_right_and_a_crowd_takes_any_number() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 90, 90]], np.float32)
    truth = Boxes(boxes, np.array([0, 0]), np.array([False, True]), np.array([100, 1600], np.float32), 1, (100, 100))
    found = np.array([[0, 0, 10, 9], [0, 0, 10, 10], [55, 55, 60, 60], [60, 60, 70, 70], [0, 0, 10, 10]], np.float32)
    its = matches(truth, found, np.array([0, 0, 0, 0, 1]), np.array([0.9, 0.8, 0.7, 0.6, 0.95]))
    assert its.found.tolist() == [True, False]
    assert its.wrong.tolist() == [False, True, False, False, True]
    nothing = matches(truth.chosen(np.zeros(2, bool)), found[:0], np.zeros(0, int), np.zeros(0))
    assert (nothing.found.shape, nothing.wrong.shape) == ((0,), (0,))
