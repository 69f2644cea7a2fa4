"""Evaluator of boxes and outlines: AP and AR over all images of all processes, by class, by size, and at the border of images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from senet.data.batch import Batch
from senet.data.boxes import Boxes, Outlines
from senet.errors import UsageError
from senet.results.curves import CurveChart
from senet.results.metric import Metric
from senet.results.tables import Tables
from senet.tasks.detection.average_precision import RECALLS, coco_library
from senet.tasks.detection.judged_images import OBJECT_SIZES, JudgedImages, judged_images, within
from senet.tasks.detection.judged_kinds import BOX_KIND, MASK_KIND, JudgedKind
from senet.tasks.detection.pooled_rows import Rows

BOX_METRICS = BOX_KIND.metrics
"""What detections of any data set are judged by."""

CURVE_IOUS = (0.5, 0.75)
"""Overlaps whose curves of precision over recall are told."""


def box_metrics(truths: Sequence[Boxes], *, outlines: bool = False) -> tuple[Metric, ...]:
    """Return what detections of some images are judged by: a size that none of their objects has gives no metric.

    Args:
        truths: the objects of every image.
        outlines: whether outlines are judged too.
    """
    areas = np.concatenate([np.zeros(0), *(boxes.objects.area for boxes in truths)])
    sizes = [size for size, bounds in OBJECT_SIZES.items() if within(areas, bounds).any()]
    return tuple(
        metric for kind in ([BOX_KIND, MASK_KIND] if outlines else [BOX_KIND]) for metric in (*kind.metrics, *kind.of_sizes(sizes))
    )


class BoxScores:
    """Evaluator of detections (COCO's AP of boxes, and of outlines), and of the mean loss.

    A batch names its images by their indices. What `average` gives for it is a pair: the losses, name -> scalar, empty where nothing is
    known of them; and for each image {"boxes" (k, 4) left, top, right, bottom in pixels of the image as it is read, "scores" (k,),
    "labels" (k,) from 0}, and where outlines are judged "masks", an `Outlines` of run lengths as its `runs` gives them.

    Args:
        classes: their names.
        truths: the objects of every image of the set.
        device: where the detections of processes meet.
        outlines: whether outlines are judged beside the boxes; the truths have them.

    Attributes:
        metrics: what the images allow, see `box_metrics`.

    Raises:
        UsageError: if faster-coco-eval is not installed.
    """

    def __init__(self, classes: Sequence[str], truths: Sequence[Boxes], device: torch.device, *, outlines: bool = False) -> None:
        coco_library()
        self._classes, self._truths, self._outlines = tuple(classes), truths, outlines
        self.metrics = box_metrics(truths, outlines=outlines)
        self._sizes = [metric.name.removeprefix("ap_") for metric in self.metrics if metric.name.startswith("ap_")]
        self._empty = {
            "seen": np.zeros(0, np.int64),
            "losses": np.zeros((0, 2)),
            "named": np.zeros((0, 2), np.int64),
            "boxes": np.zeros((0, 5), np.float32),
        }
        if outlines:  # the bytes of all run lengths, and how many each detection has
            self._empty |= {"runs": np.zeros(0, np.uint8), "lengths": np.zeros(0, np.int64)}
        self._new = {name: [array] for name, array in self._empty.items()}
        self._pooled = Rows(self._empty).to(device)
        self._judged: JudgedImages | None = None

    def update(self, outputs: tuple[Mapping[str, Tensor], Sequence[Mapping[str, Any]]], batch: Batch) -> None:
        """Add a batch and what is found in its images.

        Raises:
            ValueError: if the batch does not say which images it holds, or an outline is not of its image's size.
            UsageError: if outlines are judged, and none are given.
        """
        losses, detections = outputs
        if len(batch.indices) != len(detections):
            raise ValueError(f"a batch must name its images: {len(batch.indices)} indices of {len(detections)} images")
        loss = float(sum(value.double() for value in losses.values())) if losses else np.nan
        new = self._new
        new["seen"].append(np.asarray(batch.indices, np.int64))
        new["losses"].append(np.array([[loss, len(detections)]]))
        for index, found in zip(batch.indices, detections, strict=True):
            labels = found["labels"].to(torch.int64).cpu().numpy()
            new["named"].append(np.stack([np.full(len(labels), index), labels], axis=1))
            new["boxes"].append(torch.cat([found["boxes"].float(), found["scores"].float()[:, None]], dim=1).cpu().numpy())
            if self._outlines:
                texts = _run_texts(found.get("masks"), self._truths[index], len(labels))
                new["runs"].append(np.frombuffer("".join(texts).encode(), np.uint8).copy())
                new["lengths"].append(np.array([len(text) for text in texts], np.int64))

    def compute(self) -> dict[str, float]:
        """Return the loss, and each of `metrics` in percent, over the images of all processes, which meet here."""
        self._pooled.update(**{name: np.concatenate(arrays) for name, arrays in self._new.items()})
        self._new = {name: [array] for name, array in self._empty.items()}
        found = self._pooled.compute()
        shapes = self._shapes(found) if self._outlines else None
        self._judged = judged_images(self._truths, len(self._classes), found["seen"], found["named"], found["boxes"], shapes)
        losses, counts = found["losses"].T
        return {
            "loss": float(losses @ counts / counts.sum()) if len(counts) else np.nan,
            **{name: value for kind, judged in self._kinds for name, value in self._metrics(kind, judged).items()},
        }

    def tables(self) -> Tables:
        """Return tables of the images that `compute` last judged: "class", "size" by COCO's areas, and "position" in the image.

        A size or a position that no object has gives no row. Where outlines are judged, they have tables of their own: "class (masks)".
        """
        return {f"{name}{kind.of}": rows for kind, judged in self._kinds for name, rows in self._tables(kind, judged).items()}

    def curves(self) -> dict[str, CurveChart]:
        """Return curves of precision over recall of the images that `compute` last judged.

        Returns:
            "IoU 0.5" and "IoU 0.75", and where outlines are judged "IoU 0.5 (masks)" and "IoU 0.75 (masks)" -> of all classes and of each
            that has objects the precision at recalls of 0 to 100 %.
        """
        judged = self._result()
        lines = {"all classes": None} | {name: label for label, name in enumerate(self._classes) if judged.count(label=label)}
        if len(lines) == 1:
            return {}
        at = tuple(100 * recall for recall in RECALLS)
        every = {
            f"IoU {iou}{kind.of}": {name: tuple(images.by_size.curve(iou, label).tolist()) for name, label in lines.items()}
            for kind, images in self._kinds
            for iou in CURVE_IOUS
        }
        return {name: CurveChart("recall %", "precision %", at, curves) for name, curves in every.items()}

    def _shapes(self, found: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        """Return the pooled outlines as COCO has them."""
        text, ends = found["runs"].tobytes().decode(), np.cumsum([0, *found["lengths"]]).tolist()
        outlines = zip(found["named"][:, 0].tolist(), ends[:-1], ends[1:], strict=True)
        return [{"size": list(self._truths[index].size), "counts": text[start:end]} for index, start, end in outlines]

    @property
    def _kinds(self) -> list[tuple[JudgedKind, JudgedImages]]:
        """What is judged, and the images."""
        judged = self._result()
        return [(BOX_KIND, judged), (MASK_KIND, judged.by_outline)] if self._outlines else [(BOX_KIND, judged)]

    def _metrics(self, kind: JudgedKind, judged: JudgedImages) -> dict[str, float]:
        sizes = {f"{kind.prefix}ap_{size}": judged.by_size.ap(of=size) for size in self._sizes}
        return kind.figures(judged.by_size) | sizes

    def _tables(self, kind: JudgedKind, judged: JudgedImages) -> Tables:
        return {
            "class": {
                name: {**_known(kind.figures(judged.by_size, label=label)), "objects": judged.count(label=label)}
                for label, name in enumerate(self._classes)
            },
            "size": {
                size: {**_known(kind.figures(judged.by_size, of=size)), "objects": count}
                for size, bounds in OBJECT_SIZES.items()
                if (count := judged.count(bounds))
            },
            "position": {
                position: {**_known(kind.figures(judged.by_border, of=position)), "objects": count}
                for position, count in judged.border_counts().items()
                if count
            },
        }

    def _result(self) -> JudgedImages:
        if self._judged is None:
            self.compute()
        assert self._judged is not None
        return self._judged


def _run_texts(outlines: Outlines | None, truth: Boxes, count: int) -> list[str]:
    """Return the run lengths of an image's detections as texts.

    Raises:
        ValueError: if there are not as many, or they are not of the image's size.
        UsageError: if there are none at all.
    """
    if outlines is None:
        raise UsageError('detection.outlines is true, and the network finds no outlines ("masks"); set it to false, or take mask_rcnn')
    if len(outlines) != count or any(shape["size"] != list(truth.size) for shape in outlines.shapes):
        raise ValueError(f"image {truth.image_id} of size {truth.size} needs {count} outlines of this size")
    return [shape["counts"] for shape in outlines.shapes]


def _known(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in figures.items()}
