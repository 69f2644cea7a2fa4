"""Made objects and detections with outlines, and how pycocotools judges them."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from senet.data.boxes import Boxes, Outlines
from senet.data.coco.shapes import mask_shape
from tasks.detection.made_detections import Found, coco_dicts, made_images

SIZE = (200, 300)


def made_outlines(seed: int) -> tuple[list[Boxes], list[Found]]:
    """Return objects and detections of images 200 high and 300 wide; outlines are blobs in their boxes.

    Crowd has run lengths, objects polygons. Some detections have no pixel.
    """
    random = np.random.default_rng(seed)
    truths, founds = made_images(seed)
    outlined = [replace(truth, masks=Outlines(tuple(polygons(random, box) for box in truth.xyxy))) for truth in truths]
    outlined = [replace(truth, masks=crowd_as_runs(truth)) for truth in outlined]
    founds = [{**found, "masks": found_masks(random, found)} for found in founds]
    return outlined, founds


def polygons(random: np.random.Generator, box: np.ndarray) -> list[list[float]]:
    """Return one or two polygons in a box."""
    left, top, right, bottom = box.tolist()
    parts = []
    for _ in range(int(random.integers(1, 3))):
        angles = np.sort(random.random(9)) * 2 * np.pi
        reach = random.uniform(0.7, 1, 9)
        x = (left + right) / 2 + reach * np.cos(angles) * (right - left) / 2
        y = (top + bottom) / 2 + reach * np.sin(angles) * (bottom - top) / 2
        parts.append(np.round(np.stack([x, y], 1).ravel(), 2).tolist())
    return parts


def crowd_as_runs(truth: Boxes) -> Outlines:
    """Return outlines of which those of crowd are run lengths, as numbers."""
    assert truth.masks is not None
    shapes = []
    for shape, crowd in zip(truth.masks.shapes, truth.crowd, strict=True):
        pixels = Outlines((shape,)).pixels(*SIZE)[0].T.ravel()
        edges = np.flatnonzero(np.diff(pixels)) + 1
        counts = np.diff([*([0] if pixels[0] else []), 0, *edges, pixels.size]).tolist()
        shapes.append({"size": list(SIZE), "counts": counts} if crowd else shape)
    return Outlines(tuple(shapes))


def turned(truth: Boxes) -> Boxes:
    """Return the same objects as a file says them whose image is turned by 90 degrees (EXIF orientation 6)."""
    assert truth.masks is not None
    return replace(truth, masks=Outlines(tuple(mask_shape(np.rot90(mask)) for mask in truth.masks.pixels(*SIZE)), 6))


def found_masks(random: np.random.Generator, found: Found) -> Outlines:
    """Return a blob in the box of each detection, now and then none."""
    boxes = found["boxes"].numpy().clip(0, [300, 200, 300, 200])
    drawn = [Outlines((polygons(random, box),)).pixels(*SIZE)[0] for box in boxes]
    return Outlines(tuple(mask_shape(mask & (random.random() > 0.05)) for mask in drawn))


def judged_outlines(truths: Sequence[Boxes], founds: Sequence[Found]) -> COCOeval:
    """Return pycocotools' judgement of outlines that it draws itself from polygons and run lengths."""
    told, results = coco_dicts(truths, founds)
    said = [shape for truth in truths if truth.masks is not None for shape in truth.masks.shapes]
    for row, shape in zip(told["annotations"], said, strict=True):
        row["segmentation"] = shape
    shapes = [shape for found in founds for shape in found["masks"].shapes]
    results = [{**row, "segmentation": shape} for row, shape in zip(results, shapes, strict=True)]
    for row in results:
        del row["bbox"]  # else an object's size is that of its box
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = told
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge
