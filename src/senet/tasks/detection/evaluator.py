"""Evaluator of boxes: AP and AR over all images of all processes, by class, by size, and at the border of images."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric as Pooled

from senet.data.batch import Batch
from senet.data.boxes import Boxes
from senet.results.curves import CurveChart
from senet.results.metric import Metric
from senet.results.tables import Tables
from senet.tasks.detection.average_precision import ANY_AREA, RECALLS, Precision, coco_library
from senet.tasks.detection.judged_images import OBJECT_SIZES, JudgedImages, judged_images, within

BOX_METRICS = (Metric("ap", "AP", "%"), Metric("ap50", "AP50", "%"), Metric("ap75", "AP75", "%"), Metric("ar100", "AR100", "%"))
"""What detections of any data set are judged by."""

CURVE_IOUS = (0.5, 0.75)
"""Overlaps whose curves of precision over recall are told."""


def box_metrics(truths: Sequence[Boxes]) -> tuple[Metric, ...]:
    """Return what detections of some images are judged by: a size that none of their objects has gives no metric."""
    areas = np.concatenate([np.zeros(0), *(boxes.objects.area for boxes in truths)])
    return (
        *BOX_METRICS,
        *(Metric(f"ap_{size}", f"AP {size}", "%") for size, bounds in OBJECT_SIZES.items() if within(areas, bounds).any()),
    )


class Rows(Pooled):
    """Arrays whose rows are collected, over batches and processes.

    Args:
        empty: name -> an array without rows.
    """

    full_state_update = False

    def __init__(self, empty: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.names = tuple(empty)
        for name in empty:
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, **arrays: np.ndarray) -> None:
        """Add rows by name."""
        for name, array in arrays.items():
            getattr(self, name).append(torch.from_numpy(array).to(self.device))

    def compute(self) -> dict[str, np.ndarray]:
        """Return the rows of all processes by name."""
        states = {name: getattr(self, name) for name in self.names}
        return {name: (torch.cat(rows) if isinstance(rows, list) else rows).cpu().numpy() for name, rows in states.items()}


class BoxScores:
    """Evaluator of detections (COCO's AP), and of the mean loss.

    A batch names its images by their indices. What `average` gives for it is a pair: the losses, name -> scalar, empty where nothing is
    known of them; and for each image {"boxes" (k, 4) left, top, right, bottom in pixels of the image as it is read, "scores" (k,),
    "labels" (k,) from 0}.

    Args:
        classes: their names.
        truths: the objects of every image of the set.
        device: where the detections of processes meet.

    Attributes:
        metrics: what the images allow, see `box_metrics`.

    Raises:
        UsageError: if faster-coco-eval is not installed.
    """

    def __init__(self, classes: Sequence[str], truths: Sequence[Boxes], device: torch.device) -> None:
        coco_library()
        self._classes, self._truths = tuple(classes), truths
        self.metrics = box_metrics(truths)
        self._sizes = [metric.name.removeprefix("ap_") for metric in self.metrics if metric not in BOX_METRICS]
        self._empty = {
            "seen": np.zeros(0, np.int64),
            "losses": np.zeros((0, 2)),
            "named": np.zeros((0, 2), np.int64),
            "boxes": np.zeros((0, 5), np.float32),
        }
        self._new = {name: [array] for name, array in self._empty.items()}
        self._pooled = Rows(self._empty).to(device)
        self._judged: JudgedImages | None = None

    def update(self, outputs: tuple[Mapping[str, Tensor], Sequence[Mapping[str, Tensor]]], batch: Batch) -> None:
        """Add a batch and what is found in its images.

        Raises:
            ValueError: if the batch does not say which images it holds.
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

    def compute(self) -> dict[str, float]:
        """Return the loss, and each of `box_metrics` in percent, over the images of all processes, which meet here."""
        self._pooled.update(**{name: np.concatenate(arrays) for name, arrays in self._new.items()})
        self._new = {name: [array] for name, array in self._empty.items()}
        found = self._pooled.compute()
        self._judged = judged = judged_images(self._truths, len(self._classes), found["seen"], found["named"], found["boxes"])
        losses, counts = found["losses"].T
        return {
            "loss": float(losses @ counts / counts.sum()) if len(counts) else np.nan,
            **_figures(judged.by_size),
            **{f"ap_{size}": judged.by_size.ap(of=size) for size in self._sizes},
        }

    def tables(self) -> Tables:
        """Return tables of the images that `compute` last judged: "class", "size" by COCO's areas, and "position" in the image.

        A size or a position that no object has gives no row.
        """
        judged = self._result()
        return {
            "class": {
                name: {**_known(_figures(judged.by_size, label=label)), "objects": judged.count(label=label)}
                for label, name in enumerate(self._classes)
            },
            "size": {
                size: {**_known(_figures(judged.by_size, of=size)), "objects": count}
                for size, bounds in OBJECT_SIZES.items()
                if (count := judged.count(bounds))
            },
            "position": {
                kind: {**_known(_figures(judged.by_border, of=kind)), "objects": count}
                for kind, count in judged.border_counts().items()
                if count
            },
        }

    def curves(self) -> dict[str, CurveChart]:
        """Return curves of precision over recall of the images that `compute` last judged.

        Returns:
            "IoU 0.5" and "IoU 0.75" -> of all classes and of each that has objects the precision at recalls of 0 to 100 %.
        """
        judged = self._result()
        lines = {"all classes": None} | {name: label for label, name in enumerate(self._classes) if judged.count(label=label)}
        if len(lines) == 1:
            return {}
        at = tuple(100 * recall for recall in RECALLS)
        every = {iou: {name: tuple(judged.by_size.curve(iou, label).tolist()) for name, label in lines.items()} for iou in CURVE_IOUS}
        return {f"IoU {iou}": CurveChart("recall %", "precision %", at, curves) for iou, curves in every.items()}

    def _result(self) -> "JudgedImages":
        if self._judged is None:
            self.compute()
        assert self._judged is not None
        return self._judged


def _figures(judged: Precision, *, of: str = ANY_AREA, label: int | None = None) -> dict[str, float]:
    """Return AP, AP50, AP75 and AR100 by name."""
    chosen = {"of": of, "label": label}
    precisions = {name: judged.ap(iou=iou, **chosen) for name, iou in (("ap", None), ("ap50", 0.5), ("ap75", 0.75))}
    return {**precisions, "ar100": judged.recall_of(**chosen)}


def _known(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in figures.items()}
