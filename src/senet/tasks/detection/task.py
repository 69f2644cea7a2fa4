"""Detection: the class and the box of every object of an image, judged by average precision."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from senet.data.batch import Batch
from senet.data.boxes import Boxes, box_areas
from senet.data.shards.source import check_task
from senet.data.source import DataSource, open_data
from senet.errors import UsageError
from senet.models.create import model_from_recipe
from senet.recipe import DataRecipe, ModelRecipe, Recipe
from senet.tasks.detection.evaluator import BOX_METRICS, BoxScores, box_metrics
from senet.tasks.detection.found_outlines import found_outlines
from senet.tasks.detection.image_case import box_pictures
from senet.tasks.detection.judged_images import image_ap
from senet.tasks.detection.prediction import PredictedBoxes
from senet.tasks.detection.preparation import NO_OUTLINES, BoxPreparation
from senet.tasks.task import ImagePictures

LEARNT = ("boxes", "labels", "masks")
"""What of a target a network is called with."""

Found = tuple[Mapping[str, Tensor], list[dict[str, Any]]]
"""Losses by name, none where what is learnt is not known; and of each image tensors "boxes", "scores", "labels" and "size", and if the
network finds them, `Outlines` as "masks"."""


class Detection(BoxPreparation):
    """Boxes with a class each, by a network that computes its losses itself.

    Args:
        plan: sizes, augmentation, and which detections count.
    """

    metrics = BOX_METRICS

    def open(self, recipe: DataRecipe) -> DataSource:
        """Return the images and boxes that a recipe names, see `senet.data.source.open_data`.

        Raises:
            UsageError: if they cannot be opened, or are of a source without boxes.
        """
        source = open_data(recipe)
        check_task(source, "detection")
        if not len(source.train) or not isinstance(source.train.targets[0], Boxes):
            raise UsageError(
                f"data.name {recipe.name!r} gives no boxes, which detection learns; data.name boxes does, or "
                "a function of your own whose targets are senet.data.boxes.Boxes"
            )
        if self.plan.outlines and any(part.targets[0].masks is None for part in (source.train, source.val) if len(part)):
            raise UsageError(NO_OUTLINES)
        self.metrics = box_metrics(_truths(source), outlines=self.plan.outlines)
        return source

    def build(self, recipe: ModelRecipe, source: DataSource, device: torch.device | str | None = None) -> nn.Module:
        """Return the recipe's network for the source's channels and classes.

        Raises:
            UsageError: if it is no detector, or learns outlines that the recipe does not give it; if no validation image has an object.
        """
        if not any((~boxes.crowd).any() for boxes in _truths(source)):
            raise UsageError(f"no validation image of {source.name} has an object, crowds aside: AP, which chooses the weights, needs one")
        if recipe.name.startswith("torchvision/"):
            raise UsageError(
                f"model.name {recipe.name!r} counts classes from 1 and normalises images itself, which detection does not: take model.name "
                "faster_rcnn, and for torchvision's weights model.weights torchvision/fasterrcnn_resnet50_fpn"
            )
        network = model_from_recipe(recipe, num_classes=len(source.classes), in_channels=source.input.channels, device=device)
        if "targets" not in signature(network.forward).parameters:
            raise UsageError(f"model.name {recipe.name!r} finds no boxes; detection needs a detector, such as faster_rcnn or retinanet")
        finds_outlines = getattr(network, "masks", None)  # None = a network of a user's own, which says nothing of it
        if finds_outlines and not self.plan.outlines:
            raise UsageError("mask_rcnn learns the outlines of objects: set detection.outlines true, or take faster_rcnn")
        if finds_outlines is False and self.plan.outlines:
            raise UsageError(f"model.name {recipe.name!r} finds no outlines of objects: set detection.outlines false, or take mask_rcnn")
        return network

    def inputs(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        """Return images and targets: the network computes its losses itself."""
        return images, targets

    def loss(self, outputs: Mapping[str, Tensor], targets: Any) -> Mapping[str, Tensor]:
        """Return the sum of the network's losses, and each by its name."""
        if not isinstance(outputs, Mapping) or not outputs:
            raise UsageError(f"detection needs a network that returns its losses by name, got {type(outputs).__name__}")
        return {"loss": torch.stack(list(outputs.values())).sum(), **outputs}

    def counts(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """Count nothing beside the loss."""
        return {}

    def image_classes(self, batch: Batch) -> Tensor:
        """Return the objects of each class in each image, (N, K) int64, K to the last class that is there."""
        labels = [target["labels"].cpu() for target in batch.targets]
        most = max((int(found.max()) + 1 for found in labels if len(found)), default=0)
        return torch.stack([found.bincount(minlength=most) for found in labels])

    def average(self, models: Sequence[nn.Module], images: Sequence[Tensor], targets: Sequence[dict[str, Tensor]] | None = None) -> Found:
        """Return what a network finds, in the pixels of the images as they were read, and its losses where boxes are known.

        Args:
            models: one network.
            images: (C, h, w) each.
            targets: of each image, "size" and, where they are known, "boxes" and "labels"; None = images were not resized.

        Raises:
            UsageError: for several networks, whose boxes have no mean.
        """
        if len(models) != 1:
            raise UsageError(f"the boxes of {len(models)} networks are not averaged: give one file of weights")
        images = list(images)
        targets = targets or [{"size": torch.tensor(image.shape[1:])} for image in images]
        learnt = [{name: target[name] for name in LEARNT if name in target} for target in targets]
        losses: Mapping[str, Tensor] = {}
        needed = {"boxes", "masks"} if getattr(models[0], "masks", False) else {"boxes"}
        if all(needed <= target.keys() for target in learnt):
            losses, found = models[0](images, learnt)
        else:
            found = models[0](images)
        return losses, [self._counted(*one) for one in zip(found, images, targets, strict=True)]

    def evaluator(self, source: DataSource, device: torch.device) -> BoxScores:
        """Return a fresh evaluator of detections; the task takes the metrics that the source's images allow."""
        scores = BoxScores(source.classes, _truths(source), device, outlines=self.plan.outlines)
        self.metrics = scores.metrics
        return scores

    def predict(self, outputs: Found, classes: Sequence[str] | None, *, top_k: int = 5) -> PredictedBoxes:
        """Return the boxes that are found in one image; unnamed classes are numbered."""
        ((found,), labels) = outputs[1], outputs[1][0]["labels"].cpu().numpy()
        count = int(labels.max(initial=-1)) + 1
        if classes and len(classes) < count:
            raise UsageError(f"the weights name {len(classes)} classes, but the network finds class {count - 1}: their names are wrong")
        height, width = found["size"].tolist()
        return PredictedBoxes(
            xyxy=found["boxes"].float().cpu().numpy(),
            labels=labels,
            scores=found["scores"].float().cpu().numpy(),
            classes=tuple(classes) if classes else tuple(map(str, range(count))),
            size=(height, width),
            shown_score=self.plan.shown_score,
            outlines=found.get("masks"),
        )

    def image_scores(self, outputs: Found, batch: Batch, classes: Sequence[str]) -> list[float]:
        """Return the AP of each image in percent, see `image_ap`; NaN of one without objects."""
        return [image_ap(found, _truth(target), len(classes)) for found, target in zip(outputs[1], batch.targets, strict=True)]

    def pictures(
        self, image: Any, batch: Batch, predictions: Sequence[PredictedBoxes], classes: Sequence[str], *, side: int
    ) -> ImagePictures:
        """Return the image and its objects, and of each network its boxes and what it finds, gains and loses, see `box_pictures`."""
        return box_pictures(image, _truth(batch.targets[0]), predictions, classes, side)

    def noise(self, source: DataSource, count: int) -> Batch:
        """Return noise with the sides of a training image of 4 : 3, and a box of each of up to four classes in each."""
        side = max(self.plan.shorter_sides)
        height, width = min(side, self.plan.longest_side), min(round(side * 4 / 3), self.plan.longest_side)
        generator = torch.Generator().manual_seed(0)
        images = [torch.randn(source.input.channels, height, width, generator=generator) for _ in range(count)]
        quarters = [[left, top, left + 1 / 3, top + 1 / 3] for top in (0.1, 0.55) for left in (0.1, 0.55)]
        boxes = torch.tensor(quarters) * torch.tensor([width, height, width, height])
        target = {"boxes": boxes, "labels": torch.arange(len(boxes)) % len(source.classes)}
        if self.plan.outlines:
            corners = boxes.round().int().tolist()
            target["masks"] = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
            for mask, (left, top, right, bottom) in zip(target["masks"], corners, strict=True):
                mask[top:bottom, left:right] = 1
        return Batch(images, [target] * count, [])

    def _counted(self, found: Mapping[str, Tensor], image: Tensor, target: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the detections that count, in the pixels of the image as it was read."""
        order = found["scores"].argsort(descending=True, stable=True)
        kept = order[found["scores"][order] >= self.plan.score_threshold][: self.plan.max_detections]
        height, width = target["size"].tolist()
        whole = found["boxes"].new_tensor([width, height, width, height])
        seen = found["boxes"].new_tensor([image.shape[2], image.shape[1]] * 2)
        counted: dict[str, Any] = {name: found[name][kept] for name in ("boxes", "scores", "labels")}
        counted["boxes"] = (counted["boxes"] * (whole / seen)).clamp_min(0).minimum(whole)
        if "masks" in found and (self.plan.outlines or "boxes" not in target):  # else nobody asks for them
            counted["masks"] = found_outlines(found["masks"], kept, (height, width))
        return {**counted, "size": target["size"]}


def create(recipe: Recipe) -> Detection:
    """Return the task of a recipe."""
    return Detection(recipe.detection)


def _truths(source: DataSource) -> list[Boxes]:
    """Return the boxes of all validation images."""
    return [source.val.targets[index] for index in range(len(source.val))]


def _truth(target: Mapping[str, Any]) -> Boxes:
    """Return the boxes of an image as `ResizedImage` gives them; its number is of no use, and no file says areas."""
    xyxy, labels, crowd = (target["truth"][name].cpu().numpy() for name in ("boxes", "labels", "crowd"))
    height, width = target["size"].tolist()
    return Boxes(xyxy, labels, crowd, box_areas(xyxy), image_id=0, size=(height, width))
