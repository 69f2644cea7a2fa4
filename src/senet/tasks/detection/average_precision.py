"""Average precision and recall of boxes and of outlines as COCO defines them, by faster-coco-eval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Literal

import numpy as np

from senet.errors import Needing

IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Overlaps from which on a detection is right; AP and AR are means over them."""

RECALLS = tuple(step / 100 for step in range(101))
"""Recalls at which precision is read off."""

ANY_AREA = "all"
"""Name of the objects of any area."""

DETECTIONS = 100
"""How many detections of an image and a class count, those with the highest scores."""

Ranges = Mapping[str, tuple[float, float]]
"""Name of some objects -> the lowest and the highest area that they have; objects outside are neither asked for nor counted if found."""


@dataclass(frozen=True)
class BoxRows:
    """Boxes of several images, one a row.

    Args:
        images: (n,) int64, number of the image; equal scores are ranked by it.
        labels: (n,) int64, classes from 0.
        xyxy: (n, 4) float64, left, top, right and bottom in pixels.
        area: (n,) float64, by which ranges tell objects apart.
        crowd: (n,) bool, regions of many objects; None = none is.
        scores: (n,) float64 of detections; None of objects.
        shapes: outline of each, run lengths as `senet.data.boxes.Outlines.runs` gives them; None = boxes alone are judged.
    """

    images: np.ndarray
    labels: np.ndarray
    xyxy: np.ndarray
    area: np.ndarray
    crowd: np.ndarray | None = None
    scores: np.ndarray | None = None
    shapes: Sequence[Mapping[str, Any]] | None = None

    def annotations(self) -> list[dict[str, Any]]:
        """Return the rows as COCO's annotations, whose ids begin at 1: to the evaluator, 0 means that nothing matches."""
        crowd = np.zeros(len(self.labels), bool) if self.crowd is None else self.crowd
        scores = np.ones(len(self.labels)) if self.scores is None else self.scores
        xywh = np.concatenate([self.xyxy[:, :2], self.xyxy[:, 2:] - self.xyxy[:, :2]], axis=1)
        columns = (self.images, self.labels, xywh, self.area, crowd.astype(int), scores)
        names = ("image_id", "category_id", "bbox", "area", "iscrowd", "score")
        rows = zip(*(column.tolist() for column in columns), strict=True)
        shapes = [{}] * len(self.labels) if self.shapes is None else [{"segmentation": shape} for shape in self.shapes]
        pairs = zip(rows, shapes, strict=True)
        return [{"id": number, **dict(zip(names, row, strict=True)), **shape} for number, (row, shape) in enumerate(pairs, 1)]


@dataclass(frozen=True)
class Precision:
    """Findings of an evaluation, by class and range of areas; -1 where there is no object.

    Args:
        precision: (10, 101, K, A), by overlap and recall: the highest precision at this recall or a higher one.
        recall: (10, K, A), the highest recall by overlap.
        ranges: names of the A ranges.
    """

    precision: np.ndarray
    recall: np.ndarray
    ranges: tuple[str, ...]

    def ap(self, *, of: str = ANY_AREA, iou: float | None = None, label: int | None = None) -> float:
        """Return the average precision in percent; NaN where there is no object.

        Args:
            of: range of areas.
            iou: overlap from which on a detection is right; None = mean over all ten.
            label: a class; None = mean over those that have objects.
        """
        return _mean(self._chosen(self.precision, of, iou, label))

    def recall_of(self, *, of: str = ANY_AREA, label: int | None = None) -> float:
        """Return the recall of up to 100 detections of an image and a class in percent, as a mean over overlaps and classes, see `ap`."""
        return _mean(self._chosen(self.recall, of, None, label))

    def curve(self, iou: float, label: int | None = None) -> np.ndarray:
        """Return the precision in percent at the 101 recalls, see `ap`; NaN where there is no object."""
        values = self.precision[IOUS.index(iou), :, :, 0]
        values = values[:, values[0] > -1] if label is None else values[:, [label]]
        return np.where(values > -1, 100 * values, np.nan).mean(1) if values.shape[1] else np.full(len(RECALLS), np.nan)

    def _chosen(self, values: np.ndarray, of: str, iou: float | None, label: int | None) -> np.ndarray:
        values = values[..., self.ranges.index(of)]
        values = values if iou is None else values[[IOUS.index(iou)]]
        return values if label is None else values[..., label]


@dataclass(frozen=True)
class CocoScoring:
    """Objects and detections of some images, which are judged class by class.

    Args:
        sizes: (images, 2) int64, height and width of each image; rows name images from 0.
        classes: how many classes there are.
        objects: what there is.
        detections: what is found.
        overlap: of what: COCO's name of boxes or of outlines.
    """

    sizes: np.ndarray
    classes: int
    objects: BoxRows
    detections: BoxRows
    overlap: Literal["bbox", "segm"] = "bbox"

    def judged(self, ranges: Ranges) -> Precision:
        """Return precision and recall of all objects and of those in ranges of areas.

        Raises:
            UsageError: if faster-coco-eval is not installed.
        """
        everything = {ANY_AREA: (0.0, 1e10), **ranges}
        if not len(self.sizes) or not self.classes:
            shape = (len(IOUS), len(RECALLS), self.classes, len(everything))
            return Precision(np.full(shape, -1.0), np.full((shape[0], *shape[2:]), -1.0), tuple(everything))
        library = coco_library()
        judge = library.COCOeval_faster(*self._sets(library), iouType=self.overlap, print_function=_silent)
        judge.params.maxDets = [DETECTIONS]
        judge.params.areaRng, judge.params.areaRngLbl = [list(bounds) for bounds in everything.values()], list(everything)
        judge.evaluate()
        judge.accumulate()
        found = judge.eval
        return Precision(np.asarray(found["precision"])[..., 0], np.asarray(found["recall"])[..., 0], tuple(everything))

    def _sets(self, library: ModuleType) -> tuple[Any, Any]:
        """Return objects and detections as the library has them."""
        images = [{"id": number, "height": height, "width": width} for number, (height, width) in enumerate(self.sizes.tolist())]
        about = {"images": images, "categories": self._categories}
        return tuple(library.COCO(about | {"annotations": rows.annotations()}) for rows in (self.objects, self.detections))

    @cached_property
    def _categories(self) -> list[dict[str, Any]]:
        return [{"id": label, "name": str(label)} for label in range(self.classes)]


def outline_areas(shapes: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the pixels of outlines that are run lengths: (n,) float64."""
    coco_library()
    from faster_coco_eval.core import mask

    return np.array(mask.area([dict(shape) for shape in shapes]) if shapes else [], np.float64)


def coco_library() -> ModuleType:
    """Return the module faster_coco_eval.

    Raises:
        UsageError: if it is not installed.
    """
    with Needing("metrics of detection need faster-coco-eval", "detect"):
        import faster_coco_eval
    return faster_coco_eval


def _silent(*_: object) -> None:
    """Say nothing, instead of logging each step."""


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(100 * known.mean()) if known.size else float("nan")
