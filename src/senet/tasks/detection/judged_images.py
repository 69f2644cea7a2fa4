"""Objects and detections of images, judged over all of them by size and at the border, or one image by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from senet.data.boxes import Boxes, box_areas
from senet.tasks.detection.average_precision import BoxRows, CocoScoring, Precision, outline_areas
from senet.tasks.detection.border import BORDER_RANGES, border_areas

OBJECT_SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's ranges of areas in square pixels, bounds included."""


@dataclass(frozen=True)
class JudgedImages:
    """Images with their objects and detections, judged on demand.

    Args:
        scoring: objects and detections.
    """

    scoring: CocoScoring

    @cached_property
    def by_outline(self) -> "JudgedImages":
        """The same, judged by outlines instead of boxes; a detection is as large as its outline."""
        found = self.scoring.detections
        assert found.shapes is not None
        return JudgedImages(replace(self.scoring, overlap="segm", detections=replace(found, area=outline_areas(found.shapes))))

    @cached_property
    def by_size(self) -> Precision:
        """All objects, and those of COCO's sizes."""
        return self.scoring.judged(OBJECT_SIZES)

    @cached_property
    def by_border(self) -> Precision:
        """All objects, and those that touch the border of their image and that do not."""
        scoring = self.scoring
        rows = [replace(rows, area=self._border(rows)) for rows in (scoring.objects, scoring.detections)]
        return replace(scoring, objects=rows[0], detections=rows[1]).judged(BORDER_RANGES)

    def count(self, bounds: tuple[float, float] | None = None, label: int | None = None) -> int:
        """Return how many objects there are, of a range of areas and of a class if they are given; crowd is none."""
        objects = self.scoring.objects
        chosen = self._single if label is None else self._single & (objects.labels == label)
        return int((chosen if bounds is None else chosen & within(objects.area, bounds)).sum())

    def border_counts(self) -> dict[str, int]:
        """Return how many objects touch the border of their image, and how many do not."""
        values = self._border(self.scoring.objects)[self._single]
        return {kind: int((values == high if high > 0.5 else values == 0).sum()) for kind, (_, high) in BORDER_RANGES.items()}

    @property
    def _single(self) -> np.ndarray:
        crowd = self.scoring.objects.crowd
        return np.ones(len(self.scoring.objects.labels), bool) if crowd is None else ~crowd

    def _border(self, rows: BoxRows) -> np.ndarray:
        return border_areas(rows.xyxy, self.scoring.sizes[rows.images])


def judged_images(
    truths: Sequence[Boxes],
    classes: int,
    seen: np.ndarray,
    named: np.ndarray,
    boxes: np.ndarray,
    shapes: Sequence[Mapping[str, Any]] | None = None,
) -> JudgedImages:
    """Return images with what is found in them, in the order of their image_id, whatever the order in which they were seen.

    Args:
        truths: the objects of every image of a set.
        classes: how many classes there are.
        seen: (m,) int64, indices of the images that were looked at.
        named: (n, 2) int64, index of the image and class of each detection, those of an image in one piece.
        boxes: (n, 5), left, top, right, bottom and score of each detection.
        shapes: outline of each detection as run lengths; None = boxes alone are judged.
    """
    order = sorted(seen.tolist(), key=lambda index: (truths[index].image_id, index))
    there = [truths[index] for index in order]
    numbers = {index: number for number, index in enumerate(order)}
    images = np.array([numbers[index] for index in named[:, 0].tolist()], np.int64)
    xyxy = boxes[:, :4].astype(np.float64)
    found = BoxRows(images, named[:, 1], xyxy, box_areas(xyxy), scores=boxes[:, 4].astype(np.float64), shapes=shapes)
    counts = [len(truth) for truth in there]
    objects = BoxRows(
        images=np.repeat(np.arange(len(there)), counts),
        labels=np.concatenate([np.zeros(0, np.int64), *(truth.labels for truth in there)]),
        xyxy=np.concatenate([np.zeros((0, 4)), *(truth.xyxy for truth in there)]).astype(np.float64),
        area=np.concatenate([np.zeros(0), *(truth.area for truth in there)]).astype(np.float64),
        crowd=np.concatenate([np.zeros(0, bool), *(truth.crowd for truth in there)]),
        shapes=None if shapes is None else [shape for truth in there if truth.masks is not None for shape in truth.masks.runs(*truth.size)],
    )
    sizes = np.array([truth.size for truth in there], np.int64).reshape(-1, 2)
    return JudgedImages(CocoScoring(sizes, classes, objects, found))


def image_ap(found: Mapping[str, Tensor], truth: Boxes, classes: int) -> float:
    """Return the AP of one image in percent: the mean over the classes of its objects; NaN without objects.

    A class that is only detected has no part in it, as in COCO's AP.

    Args:
        found: "boxes", "scores" and "labels" of the detections, as `BoxScores` takes them.
        truth: what there is.
        classes: how many classes there are.
    """
    labels = found["labels"].to(torch.int64).cpu().numpy()
    boxes = torch.cat([found["boxes"].float(), found["scores"].float()[:, None]], dim=1).cpu().numpy()
    named = np.stack([np.zeros_like(labels), labels], axis=1)
    return judged_images([truth], classes, np.zeros(1, np.int64), named, boxes).scoring.judged({}).ap()


def within(areas: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Return which areas lie in a range, its bounds included: bool."""
    return (bounds[0] <= areas) & (areas <= bounds[1])
