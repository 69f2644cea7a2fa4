"""A task of a user's own: how much ink an image has, the mean of its pixels in percent."""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional
from torchmetrics import MeanAbsoluteError, MeanSquaredError, SumMetric

from senet.tasks.image_task import ImageTask, captioned, noise_images
from senet.tasks.task import Batch, Metric

PARTS = {"little": (0, 30), "much": (30, 99), "all": (99, 101)}
"""Ranges of ink in percent, of which no digit has the last."""


@dataclass(frozen=True)
class Amount:
    ink: float

    def __str__(self):
        return f"{self.ink:.1f} % ink"

    def to_dict(self):
        return {"ink": self.ink}

    def draw(self, image):
        return captioned(image, [str(self)])


class Errors:
    def __init__(self, device):
        self.errors = {"mae": MeanAbsoluteError().to(device), "loss": MeanSquaredError().to(device)}
        self.parts = {name: MeanAbsoluteError().to(device) for name in PARTS}
        self.images = {name: SumMetric().to(device) for name in PARTS}

    def update(self, outputs, batch):
        for error in self.errors.values():
            error.update(outputs[:, 0], batch.targets)
        for name, (low, high) in PARTS.items():
            chosen = (batch.targets >= low) & (batch.targets < high)
            self.images[name].update(chosen.sum())
            if chosen.any():
                self.parts[name].update(outputs[chosen, 0], batch.targets[chosen])

    def compute(self):
        return {name: error.compute().item() for name, error in self.errors.items()}

    def tables(self):
        counts = {name: int(images.compute()) for name, images in self.images.items()}
        errors = {name: self.parts[name].compute().item() if count else None for name, count in counts.items()}
        return {"ink": {name: {"images": counts[name], "mae": errors[name]} for name in PARTS}}


class Ink(ImageTask):
    metrics = (Metric("mae", "mean absolute error", "%", higher_is_better=False),)

    def open(self, recipe):
        source = super().open(recipe)
        train, val = (replace(images, targets=images.pixels.mean((1, 2), dtype="f4") / 2.55) for images in (source.train, source.val))
        return replace(source, train=train, val=val, classes=())

    def num_outputs(self, source):
        return 1

    def loss(self, outputs, targets):
        return {"loss": functional.mse_loss(outputs[:, 0], targets)}

    def counts(self, outputs, targets):
        return {"mae": (outputs[:, 0] - targets).abs().sum()}

    def evaluator(self, source, device):
        return Errors(device)

    def predict(self, outputs, classes, *, top_k):
        return Amount(outputs.item())

    def noise(self, source, count):
        return Batch(noise_images(source, count), torch.linspace(0, 100, count), [])


def ink(recipe):
    return Ink()
