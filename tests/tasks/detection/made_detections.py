"""Made objects and detections, and slow or foreign ways to judge them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from senet.data.boxes import Boxes

CLASSES = ("cell", "platelet", "dust", "nothing")
Found = dict[str, Tensor]


def made_truth(random: np.random.Generator, count: int, number: int, classes: int = 3) -> Boxes:
    """Return objects of an image, on whole and half pixels, some crowd, some at the border; the image is 200 high and 300 wide."""
    size = random.choice([12.0, 40.0, 110.0], (count, 1)) + random.integers(0, 20, (count, 2)) / 2
    corner = np.round(random.random((count, 2)) * (np.array([320, 220]) - size) - 10)
    xyxy = np.concatenate([corner, corner + size], 1).clip(0, [300, 200, 300, 200]).astype(np.float32)
    area = ((xyxy[:, 2:] - xyxy[:, :2]).prod(1) * random.choice([1.0, 0.5], count)).astype(np.float32)
    return Boxes(xyxy, random.integers(classes, size=count), random.random(count) < 0.15, area, number, (200, 300))


def made_found(random: np.random.Generator, truth: Boxes, extra: int, classes: int = 4) -> Found:
    """Return detections of an image: most objects, some twice, some as another class, and further ones; scores have many ties."""
    repeat = np.concatenate([np.arange(len(truth)), np.arange(len(truth))[random.random(len(truth)) < 0.5]])
    near = truth.xyxy[repeat] + random.normal(0, 3, (len(repeat), 4))
    corner = random.uniform(0, 180, (extra, 2))
    boxes = np.concatenate([near, np.concatenate([corner, corner + random.uniform(5, 100, (extra, 2))], 1)])
    labels = np.concatenate([truth.labels[repeat], random.integers(classes, size=extra)])
    labels = np.where(random.random(len(labels)) < 0.1, random.integers(classes, size=len(labels)), labels)
    order = random.permutation(len(labels))
    scores = np.round(random.random(len(labels)), 1)
    boxes = boxes[order].astype(np.float32)
    return {"boxes": torch.from_numpy(boxes), "scores": torch.from_numpy(scores).float(), "labels": torch.from_numpy(labels[order])}


def made_images(seed: int, counts: Sequence[int] = (6, 0, 9, 1, 14, 3), extra: int = 8) -> tuple[list[Boxes], list[Found]]:
    """Return objects and detections of images whose numbers fall; one has no objects, one no detections."""
    random = np.random.default_rng(seed)
    truths = [made_truth(random, count, 50 - place) for place, count in enumerate(counts)]
    found = [made_found(random, truth, extra) for truth in truths]
    found[3] = {name: value[:0] for name, value in found[3].items()}
    return truths, found


def coco_dicts(truths: Sequence[Boxes], founds: Sequence[Found]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what a COCO file and a file of results would say."""
    annotations, results = [], []
    for truth, found in zip(truths, founds, strict=True):
        for box, label, crowd, area in zip(truth.xyxy.tolist(), truth.labels, truth.crowd, truth.area, strict=True):
            row = {"id": len(annotations) + 1, "image_id": truth.image_id, "category_id": int(label), "bbox": xywh(box)}
            annotations.append({**row, "area": float(area), "iscrowd": int(crowd)})
        for box, label, score in zip(*(found[name].tolist() for name in ("boxes", "labels", "scores")), strict=True):
            results.append({"image_id": truth.image_id, "category_id": label, "bbox": xywh(box), "score": score})
    images = [{"id": truth.image_id, "height": truth.size[0], "width": truth.size[1]} for truth in truths]
    categories = [{"id": label, "name": name} for label, name in enumerate(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def xywh(box: Sequence[float]) -> list[float]:
    left, top, right, bottom = box
    return [left, top, right - left, bottom - top]


def slow_ap(truths: Sequence[Boxes], founds: Sequence[Found], wanted: Any, classes: int = len(CLASSES)) -> float:
    """Return the AP in percent of the objects that `wanted(box, size)` names, by loops over objects and detections."""
    values = []
    for iou, label in ((0.5 + 0.05 * step, label) for step in range(10) for label in range(classes)):
        rights: list[tuple[float, bool]] = []
        objects = 0
        for truth, found in sorted(zip(truths, founds, strict=True), key=lambda pair: pair[0].image_id):
            own = [place for place in range(len(truth)) if truth.labels[place] == label]
            ignored = {place: truth.crowd[place] or not wanted(truth.xyxy[place], truth.size) for place in own}
            own.sort(key=lambda place: ignored[place])
            objects += sum(not ignored[place] for place in own)
            taken: set[int] = set()
            mine = [place for place in range(len(found["labels"])) if found["labels"][place] == label]
            for place in sorted(mine, key=lambda place: -found["scores"][place].item())[:100]:
                box, best, match = found["boxes"][place].double().numpy(), min(iou, 1 - 1e-10), None
                for candidate in own:
                    if (candidate in taken and not truth.crowd[candidate]) or (
                        match is not None and not ignored[match] and ignored[candidate]
                    ):
                        continue
                    overlap = slow_iou(box, truth.xyxy[candidate].astype(float), crowd=bool(truth.crowd[candidate]))
                    if overlap >= best:
                        best, match = overlap, candidate
                if match is not None:
                    taken.add(match)
                if not (ignored[match] if match is not None else not wanted(box, truth.size)):
                    rights.append((found["scores"][place].item(), match is not None))
        if objects:
            values.append(slow_precision(rights, objects))
    return 100 * float(np.mean(values))


def slow_precision(rights: list[tuple[float, bool]], objects: int) -> float:
    """Return the mean over 101 recalls of the highest precision at this recall or a higher one."""
    rights = sorted(rights, key=lambda pair: -pair[0])
    points, hits = [], 0
    for place, (_, right) in enumerate(rights, 1):
        hits += right
        points.append((hits / objects, hits / (place + np.spacing(1))))
    return float(np.mean([max((high for recall, high in points if recall >= step), default=0.0) for step in np.linspace(0, 1, 101)]))


def slow_iou(one: np.ndarray, other: np.ndarray, *, crowd: bool) -> float:
    """Return the overlap of two boxes over their union; with crowd, over the first."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    inner = float(sides.clip(0).prod())
    area, theirs = (float((box[2:] - box[:2]).prod()) for box in (one, other))
    return inner / (area if crowd else area + theirs - inner)
