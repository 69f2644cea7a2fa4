"""Coloured rectangles on noise with their boxes: a source of a user's own, a small detector, and a recipe that trains it in seconds."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from senet.data.boxes import Boxes, Outlines, box_areas
from senet.data.source import DataSource, input_spec
from senet.recipe import DataRecipe, Recipe, build_recipe

CLASSES = ("red", "blue")
COLOURS = np.array([[220, 40, 30], [30, 60, 230]])
TRAIN = ((48, 64), (64, 48)) * 8
VAL = ((48, 64), (40, 72), (64, 48), (56, 56), (33, 47))
"""Heights and widths."""

SMALL_DETECTOR: dict[str, Any] = {
    "backbone": "cifar_resnet20",
    "fpn_channels": 8,
    "head_width": 16,
    "anchor_scale": 4.0,
    "regions": 16,
    "proposals_train": 20,
    "proposals_test": 20,
}
"""Options of a faster_rcnn that takes seconds."""


@dataclass(frozen=True)
class Rectangles:
    images: list[np.ndarray]
    targets: list[Boxes]
    in_memory: bool = True

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def describe(self, index: int) -> str:
        return f"rectangles {index}"


def rectangles(sizes: tuple[tuple[int, int], ...], seed: int) -> Rectangles:
    """Return images with up to three rectangles each; the third image has none, the fourth a crowd."""
    random = np.random.default_rng(seed)
    images, targets = [], []
    for number, (height, width) in enumerate(sizes):
        image = random.integers(90, 140, size=(height, width, 3)).astype(np.uint8)
        count = 0 if number == 2 else int(random.integers(1, 4))
        sides = random.integers(10, 24, size=(count, 2))
        corners = np.stack([random.integers(width - sides[:, 0]), random.integers(height - sides[:, 1])], 1) if count else sides
        boxes, labels = np.concatenate([corners, corners + sides], 1), random.integers(2, size=count)
        for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
            image[top:bottom, left:right] = COLOURS[label]
        crowd = np.arange(count) < (number == 3)
        xyxy = boxes.astype(np.float32)
        images.append(image)
        targets.append(Boxes(xyxy, labels, crowd, box_areas(xyxy), number + 1, (height, width)))
    return Rectangles(images, targets)


def source(recipe: DataRecipe) -> DataSource:
    spec = input_spec(recipe, size=64, mean=(0.45,) * 3, std=(0.25,) * 3)
    return DataSource("rectangles", rectangles(TRAIN, 0), rectangles(VAL, 1), CLASSES, spec)


def outlined_source(recipe: DataRecipe) -> DataSource:
    return replace(source(recipe), train=outlined(rectangles(TRAIN, 0)), val=outlined(rectangles(VAL, 1)))


def outlined(images: Rectangles) -> Rectangles:
    """Return images whose objects have outlines, their rectangles."""
    return replace(images, targets=[replace(boxes, masks=Outlines(tuple(map(rectangle, boxes.xyxy.tolist())))) for boxes in images.targets])


def rectangle(box: list[float]) -> list[list[float]]:
    """Return a box as COCO's `segmentation`."""
    left, top, right, bottom = box
    return [[left, top, right, top, right, bottom, left, bottom]]


class CellDetector(nn.Module):
    """Detector of one box a cell of 4 x 4 pixels: a cell learns the box around its centre, as FCOS does."""

    def __init__(self, num_classes: int = 2, in_channels: int = 3) -> None:
        super().__init__()
        self.classes = num_classes
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 32, 5, 1, 2), nn.ReLU(), nn.Conv2d(32, num_classes + 4, 3, 1, 1),
        )  # fmt: skip

    def forward(self, images: Any, targets: list[dict[str, Tensor]] | None = None) -> Any:
        learnt, found = [], []
        for place, image in enumerate(images):
            values = self.body(image[None])[0].flatten(1).T  # of each cell: a score of each class, and four distances
            rows, columns = torch.meshgrid(
                *(torch.arange(-(-side // 4), device=values.device) * 4 + 2 for side in image.shape[1:]), indexing="ij"
            )
            centres = torch.stack([columns, rows], -1).reshape(-1, 2).float()
            logits, sides = values[:, : self.classes], values[:, self.classes :].clamp(max=5).exp()
            boxes = torch.cat([centres - sides[:, :2], centres + sides[:, 2:]], 1)
            if targets is not None:
                learnt.append(self.losses(logits, boxes, centres, targets[place]))
            if not self.training:
                scores, labels = logits.sigmoid().max(1)
                top = scores.argsort(descending=True)[:5]
                found.append({"boxes": boxes[top], "scores": scores[top], "labels": labels[top]})
        losses = {name: torch.stack([one[name] for one in learnt]).mean() for name in ("loss_class", "loss_box")} if learnt else {}
        return losses if self.training else (losses, found) if learnt else found

    def losses(self, logits: Tensor, boxes: Tensor, centres: Tensor, target: dict[str, Tensor]) -> dict[str, Tensor]:
        wanted, distance = torch.zeros_like(logits), boxes.sum() * 0
        for box, label in zip(target["boxes"], target["labels"], strict=True):
            inside = ((centres > box[:2]) & (centres < box[2:])).all(1)
            wanted[inside, label] = 1
            distance = distance + (boxes[inside] - box).abs().sum() / max(1, int(inside.sum()))
        return {"loss_class": functional.binary_cross_entropy_with_logits(logits, wanted), "loss_box": distance / 40}


def detector(num_classes: int = 2, in_channels: int = 3) -> nn.Module:
    return CellDetector(num_classes, in_channels)


def tiny_boxes(**changes: Any) -> Recipe:
    """Return a recipe of 3 epochs of 4 steps with every augmentation; dotted names are written with two underscores."""
    tree = {
        "name": "rectangles",
        "task": "detection",
        "model": {"name": f"{Path(__file__)}:detector", "block": None},
        "data": {"name": f"{Path(__file__)}:source", "flip": True, "jitter": 5, "batch_size": 4, "workers": 0},
        "detection": {"shorter_sides": [40, 48, 56], "longest_side": 72, "crop_share": 0.7, "photometric": 0.1},
        "optim": {"lr": 0.02},
        "training": {"epochs": 3},
    }
    return build_recipe(tree, {name.replace("__", "."): value for name, value in changes.items()})


def tiny_masks(**changes: Any) -> Recipe:
    """Return a recipe like `tiny_boxes` of a small mask_rcnn, which learns the outlines of the rectangles too."""
    options = {
        "backbone": "preresnet20", "fpn_channels": 8, "mask_width": 8, "head_width": 16, "regions": 32, "proposals_train": 60,
        "proposals_test": 20, "detections_per_image": 8, "anchor_scale": 4.0, "score_threshold": 0.0,
    }  # fmt: skip
    network = {"model__name": "mask_rcnn", "model__block": "se", "model__options": options}
    learnt = {"data__name": f"{Path(__file__)}:outlined_source", "detection__outlines": True, "detection__score_threshold": 0.0}
    return tiny_boxes(**(network | learnt | changes))
