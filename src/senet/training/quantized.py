"""Trained networks as files in 8 bits: ranges from some validation images, and what the file costs on the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.table import Table
from torch import Tensor

from senet.data.batch import Batch
from senet.deploy.onnx_network import OnnxNetwork
from senet.deploy.quantization_report import QuantizationReport
from senet.deploy.quantize import quantize
from senet.measuring.scores import Loss, Scores, points_lost
from senet.spec import check_positive
from senet.training.measured import ValidationSet
from senet.training.members import load_members

CALIBRATION_IMAGES = 200
"""How many images ranges are found on where nobody says."""


@dataclass(frozen=True)
class MeasuredQuantization:
    """A file in 8 bits, and its metric beside that of the network that it comes from.

    Args:
        report: what was quantised.
        before: scores of the network, on images that ranges were not found on.
        after: scores of the file, on the same images.
        images: how many these are.
    """

    report: QuantizationReport
    before: Scores
    after: Scores
    images: int

    @property
    def loss(self) -> Loss:
        """What 8 bits cost, with a 95 % interval over images where the metric is a mean of theirs."""
        return points_lost(self.before, self.after)

    def table(self) -> RenderableType:
        """Return tables for the terminal."""
        metric = f"{self.before.metric} {self.before.unit}".rstrip()
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row(metric, f"{self.before.value:.2f} in float32, {self.after.value:.2f} in 8 bits, on {self.images} other images")
        table.add_row("loses", self.loss.text())
        return Group(self.report.table(), table)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        facts = {"metric": self.before.metric, "unit": self.before.unit, "images": self.images}
        scores = {"float32": self.before.value, "int8": self.after.value, "loss": self.loss.to_dict()}
        return self.report.to_dict() | {"measured": facts | scores}


def quantize_trained(
    weights: str | Path,
    path: str | Path,
    changes: Mapping[str, Any] | None = None,
    *,
    calibration_images: int = CALIBRATION_IMAGES,
    limit: int | None = None,
    **options: Any,
) -> MeasuredQuantization:
    """Write trained weights to a file in 8 bits and measure it, on the CPU.

    Args:
        weights: a source of weights, or a run folder.
        path: the .onnx file to write or replace.
        changes: dotted fields of a recipe instead of what the weights say of their images, see `EvaluationRequest`.
        calibration_images: how many of the validation images ranges are found on, at most half of them.
        limit: how many validation images to take, drawn by chance and always the same; None = all.
        options: of `senet.deploy.quantize.quantize`.

    Raises:
        UsageError: as `quantize` does, and as `senet.evaluate` does for weights whose images are not there.
        RuntimeError: as `quantize` does.
    """
    (member,) = load_members(weights, torch.device("cpu"))
    images = ValidationSet.of(member, changes, device="cpu", limit=limit)
    count = min(check_positive("calibration_images", calibration_images), len(images) // 2)
    calibration, others = images.split(count)
    report = quantize(member.model, (tensor for batch in calibration.batches() for tensor in _tensors(batch)), path, **options)
    return MeasuredQuantization(report, others.measure(member.model), others.measure(OnnxNetwork(path)), len(others))


def _tensors(batch: Batch) -> list[Tensor]:
    """Return the images of a batch, those of several sizes one by one."""
    return [batch.images] if isinstance(batch.images, Tensor) else [image[None] for image in batch.images]
