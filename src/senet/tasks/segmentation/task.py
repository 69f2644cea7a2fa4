"""Segmentation: the class of every pixel, judged by the overlap of each class with the truth."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from senet.data.batch import Batch
from senet.data.box_folder import BOXES
from senet.data.masks import IGNORE, Palette
from senet.data.recognised import LOOKS, has_classes, recognised
from senet.data.shards.source import check_task
from senet.data.source import SOURCES, DataSource, open_data
from senet.data.volumes.grid import VoxelGrid
from senet.data.volumes.nifti import VolumeHeader
from senet.errors import UsageError
from senet.models.create import model_from_recipe
from senet.recipe import DataRecipe, ModelRecipe, Recipe, SegmentationRecipe, VolumeRecipe
from senet.results.metric import Metric
from senet.tasks.image_task import network_outputs, noise_images
from senet.tasks.segmentation.class_weights import class_weights
from senet.tasks.segmentation.evaluator import MaskScores
from senet.tasks.segmentation.image_case import image_dice, mask_pictures
from senet.tasks.segmentation.losses import MaskLoss, loss_parts
from senet.tasks.segmentation.prediction import PredictedMask
from senet.tasks.segmentation.preparation import MaskPreparation
from senet.tasks.segmentation.volume_prediction import PredictedVolume, likeliest_classes
from senet.tasks.segmentation.volumes import VOLUME_DICE, ImageGroups
from senet.tasks.segmentation.windows import Windows, mirrored_mean
from senet.tasks.task import ImagePictures

VOLUMES = "volumes"
"""Source of images that are cut out of volumes."""


class Segmentation(MaskPreparation):
    """One class a pixel, by cross-entropy and soft Dice unless a recipe says otherwise.

    Args:
        plan: loss, augmentation, evaluation and metrics.
        volumes: how volumes are cut, where images are slices or patches of volumes.
        palette: colours to show predicted classes in; empty = PASCAL VOC's.
    """

    metrics = (
        Metric("dice", "Dice", "%"),
        Metric("iou", "IoU", "%"),
        Metric("global_dice", "global Dice", "%"),
        Metric("boundary_f", "boundary F", "%"),
    )

    def __init__(self, plan: SegmentationRecipe, volumes: VolumeRecipe | None = None, palette: Palette = ()) -> None:
        super().__init__(plan)
        self._palette = palette
        self._patch = None if volumes is None else volumes.patch
        if volumes is not None:
            self.metrics = (*self.metrics, VOLUME_DICE)
        given = plan.class_weights if isinstance(plan.class_weights, tuple) else None
        self._loss = MaskLoss(loss_parts(plan.loss), given, plan.edge_weight, plan.focal_gamma)

    def open(self, recipe: DataRecipe) -> DataSource:
        """Return the images and masks that a recipe names, see `senet.data.source.open_data`.

        Raises:
            UsageError: if they cannot be opened, or are of a source without masks.
        """
        if recipe.name in SOURCES and recipe.name not in (*LOOKS, "shards"):
            raise UsageError(
                f"data.name {recipe.name!r} gives each image a class, which a recipe of classification learns (see: senet recipes list); "
                f"segmentation needs masks: data.name is one of {', '.join(LOOKS)}"
            )
        try:
            source = open_data(recipe)
        except UsageError as error:
            if hint := _other_data(recipe):
                raise UsageError(f"{error}; {hint}") from error
            raise
        check_task(source, "segmentation")
        return source

    def build(self, recipe: ModelRecipe, source: DataSource, device: torch.device | str | None = None) -> nn.Module:
        """Return the recipe's network for the source's channels and classes; the loss weighs the classes as the source's masks ask.

        Raises:
            UsageError: for fewer than two classes, or another number of weights than of classes.
        """
        names = source.classes
        if len(names) < 2:
            raise UsageError(
                f"segmentation needs two classes or more, background being one, and {source.name} has {list(names)}; name what is around "
                "it, too (data.classes), and let a label map, if there is one, give either its number (data.label_map {0: 0, 255: 1})"
            )
        weights = class_weights(self.plan.class_weights, source)
        self._loss = MaskLoss(loss_parts(self.plan.loss), weights, self.plan.edge_weight, self.plan.focal_gamma)
        return model_from_recipe(recipe, num_classes=len(names), in_channels=source.input.channels, device=device)

    def loss(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """Return the mean loss of logits (N, K, H, W) and masks (N, H, W), and its parts.

        Raises:
            UsageError: if the network gives no map of the masks' size.
        """
        if outputs.shape[2:] != targets.shape[1:]:
            raise UsageError(
                f"segmentation needs a network that gives a map of its input's size, such as unet; this one gives {_shape(outputs)} "
                f"for masks of {_shape(targets)}"
            )
        return self._loss(outputs, targets)

    def counts(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """Count nothing beside the loss."""
        return {}

    def image_classes(self, batch: Batch) -> Tensor:
        """Return the pixels of each class in each image, (N, K) int64, K to the last class that is there; ignored pixels are none."""
        pixels = torch.stack([mask.flatten().to("cpu", torch.int64).bincount(minlength=IGNORE + 1)[:IGNORE] for mask in batch.targets])
        return pixels[:, : max(pixels.any(0).nonzero().flatten().tolist(), default=-1) + 1]

    def average(self, models: Sequence[nn.Module], images: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return the logarithm of the mean probabilities over networks, and windows and mirror images if the recipe says so: float32.

        Args:
            models: the networks.
            images: (N, C, H, W), which gives (N, K, H, W); or (C, H, W) each, of which those of one size are computed together, and
                which give (K, H, W) each.
        """
        if isinstance(images, Tensor):
            return self._average(models, images)
        logs: list[Any] = [None] * len(images)
        for shape in dict.fromkeys(image.shape for image in images):
            places = [place for place, image in enumerate(images) if image.shape == shape]
            for place, found in zip(places, self._average(models, torch.stack([images[place] for place in places])), strict=True):
                logs[place] = found
        return logs

    def evaluator(self, source: DataSource, device: torch.device) -> MaskScores:
        """Return a fresh evaluator of log-probabilities."""
        groups = ImageGroups.of(source.val)
        if groups is None and VOLUME_DICE in self.metrics:
            groups = ImageGroups.each(source.val)
        return MaskScores(source.classes, self.plan, device, groups)

    def predict(self, outputs: Tensor, classes: Sequence[str] | None, *, top_k: int = 5) -> PredictedMask:
        """Return the likeliest class of each pixel of one image, from its log-probabilities (1, K, H, W); unnamed classes are numbered."""
        count = outputs.shape[1]
        if classes and len(classes) != count:
            raise UsageError(f"the weights name {len(classes)} classes, but the network has {count} outputs: their names are wrong")
        mask = outputs[0].argmax(0).to(torch.uint8).cpu().numpy()
        return PredictedMask(mask, tuple(classes) if classes else tuple(map(str, range(count))), self._palette[:count])

    def image_scores(self, outputs: Iterable[Tensor], batch: Batch, classes: Sequence[str]) -> list[float]:
        """Return the Dice of each image by itself in percent, mean over its classes but background; NaN where none is there or predicted.

        Args:
            outputs: log-probabilities, (N, K, H, W) or (K, H, W) of each image.
            batch: the images and their masks.
            classes: names of the K classes.
        """
        return [image_dice(logs, mask, classes) for logs, mask in zip(outputs, batch.targets, strict=True)]

    def pictures(
        self, image: Any, batch: Batch, predictions: Sequence[PredictedMask], classes: Sequence[str], *, side: int
    ) -> ImagePictures:
        """Return the image, its mask, and of each network what it predicts and where that is wrong.

        Args:
            image: what the source reads.
            batch: the image and its mask.
            predictions: of each network.
            classes: names of the classes.
            side: pixels of the longest side that pictures have at most.
        """
        return mask_pictures(image, batch.targets[0].cpu().numpy(), predictions, classes, side)

    def predict_volume(
        self, outputs: Iterable[Tensor], classes: Sequence[str] | None, source: VolumeHeader, grid: VoxelGrid, shown: int
    ) -> PredictedVolume:
        """Return what is predicted of a volume, on the grid of its file; where the volume was resampled, probabilities are, linearly.

        Args:
            outputs: log-probabilities of each of its slices, in order, (1, K, H, W), or of the whole, (1, K, D, H, W).
            classes: names of the classes; None = they are numbered.
            source: header of the file.
            grid: on which the volume was seen.
            shown: number of the slice that pictures show.
        """
        masks: dict[int, PredictedMask] = {}

        def slices() -> Iterator[np.ndarray]:
            parts = (part for output in outputs for part in ([output] if output.ndim == 4 else output.unbind(2)))
            for place, logs in enumerate(parts):
                if place == shown:
                    masks[shown] = self.predict(logs, classes)
                yield (logs[0] if grid.shape == grid.oriented else logs[0].exp()).cpu().numpy()

        labels = likeliest_classes(slices(), grid.shape[0], grid.oriented)
        return PredictedVolume(grid.restore(labels), masks[shown], source, masks[shown].classes)

    def noise(self, source: DataSource, count: int) -> Batch:
        """Return noise of the size of a training crop or patch, and masks whose classes come in turn."""
        images = noise_images(source, count)
        shape = (count, *images.shape[2:])
        masks = (torch.arange(prod(shape)) % len(source.classes)).to(torch.uint8).reshape(shape)
        return Batch(images, masks, [])

    def _average(self, models: Sequence[nn.Module], images: Tensor) -> Tensor:
        def probabilities(part: Tensor) -> Tensor:
            shares = [network_outputs(model, part).float().softmax(1) for model in models]
            return shares[0] if len(shares) == 1 else torch.stack(shares).mean(0)

        axes = range(2, images.ndim) if self.plan.flips else ()
        windows = Windows(self._window(images) or max(images.shape[2:]), self.plan.overlap)
        return windows.predict(mirrored_mean(probabilities, axes), images).clamp_min(torch.finfo(torch.float32).tiny).log()

    def _window(self, images: Tensor) -> int | tuple[int, ...] | None:
        """Return the sides of the windows in which images are predicted; None = whole."""
        asked = self.plan.window
        for_images = isinstance(asked, tuple) and len(asked) == 2
        return self._patch if images.ndim == 5 and self._patch and (asked is None or for_images) else asked


def create(recipe: Recipe) -> Segmentation:
    """Return the task of a recipe."""
    volumes = recipe.data.volumes if recipe.data.name == VOLUMES else None
    return Segmentation(recipe.segmentation, volumes, recipe.data.palette or ())


def _other_data(recipe: DataRecipe) -> str:
    """Say what the root holds where that is not what the recipe names; nothing if it is, or nothing is recognised."""
    if recipe.name not in LOOKS:
        return ""
    if has_classes(recipe.root):
        return "it looks like class folders, which a recipe of classification takes: senet train imagenet_main --data.root DIR"
    found = recognised(recipe.root)
    if found in BOXES:
        return "it holds boxes, which a recipe of detection takes: senet train detection --data.root DIR"
    return f"it holds {found}: --data.name {found}" if found not in ("folder", recipe.name) else ""


def _shape(values: Tensor) -> str:
    return " x ".join(map(str, values.shape))
