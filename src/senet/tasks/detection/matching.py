"""Which objects of an image are found, and which detections are wrong, as COCO matches them."""

from dataclasses import dataclass

import numpy as np

from senet.data.boxes import Boxes, box_areas


@dataclass(frozen=True)
class Matches:
    """Objects and detections of an image side by side.

    Args:
        found: (n,) bool, the boxes of the truth that a detection of their class matches; of crowd never.
        wrong: (k,) bool, the detections that match nothing; what is found in a crowd is neither right nor wrong.
    """

    found: np.ndarray
    wrong: np.ndarray


def matches(truth: Boxes, xyxy: np.ndarray, labels: np.ndarray, scores: np.ndarray, *, iou: float = 0.5) -> Matches:
    """Match detections with objects, the surest first: each takes the free object of its class that it overlaps most.

    Args:
        truth: what there is.
        xyxy: (k, 4) left, top, right and bottom of the detections.
        labels: (k,) their classes.
        scores: (k,) of equals, the first is matched first.
        iou: overlap from which on a detection matches.
    """
    overlaps = box_overlaps(xyxy.astype(np.float64), truth.xyxy.astype(np.float64), truth.crowd)
    overlaps[labels[:, None] != truth.labels] = -1
    found, wrong = np.zeros(len(truth), bool), np.ones(len(labels), bool)
    for place in np.argsort(-scores, kind="stable").tolist():
        free = np.where(found | truth.crowd, -1.0, overlaps[place])
        if free.max(initial=-1) >= iou:
            found[free.argmax()] = True
            wrong[place] = False
        elif overlaps[place][truth.crowd].max(initial=-1) >= iou:
            wrong[place] = False
    return Matches(found, wrong)


def box_overlaps(xyxy: np.ndarray, others: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return the overlap of each box with each other one, over their union, or, where that is a crowd, over the box: (k, n).

    Args:
        xyxy: (k, 4) float64.
        others: (n, 4) float64.
        crowd: (n,) bool.
    """
    corners = np.concatenate([np.maximum(xyxy[:, None, :2], others[:, :2]), np.minimum(xyxy[:, None, 2:], others[:, 2:])], axis=2)
    inner = box_areas(corners.reshape(-1, 4)).reshape(len(xyxy), len(others))
    own = box_areas(xyxy)[:, None]
    whole = np.where(crowd, own, own + box_areas(others) - inner)
    return np.divide(inner, whole, out=np.zeros_like(inner), where=whole > 0)
