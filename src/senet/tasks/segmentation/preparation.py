"""From images with masks to batches: crops that show both alike in training, whole images in evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from senet.data.batch import Batch, Sample, collate, indices_of
from senet.data.masks import IGNORE
from senet.data.preparation import EvalPair, TrainPair
from senet.data.transforms import cutout
from senet.data.views import Views
from senet.errors import UsageError
from senet.recipe import DataRecipe, SegmentationRecipe
from senet.spec import InputSpec
from senet.tasks.segmentation.crops import draw_window, elastic_shift
from senet.tasks.segmentation.intensity import change_intensity
from senet.tasks.segmentation.patches import PatchTransform
from senet.tasks.segmentation.sampling import cut_image, cut_mask, network_values, sampled_image, sampled_mask


@dataclass(frozen=True)
class CropTransform:
    """Augmentation of a training image together with its mask.

    Args:
        data: crop, flip, rotation, jitter and cutout.
        plan: what else moves both, and what changes the values.
        spec: side of the crop, channels and normalisation.
    """

    data: DataRecipe
    plan: SegmentationRecipe
    spec: InputSpec

    def __call__(self, image: Any, mask: np.ndarray, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return (C, size, size) float32 and (size, size) uint8; the mask is `IGNORE` outside the image and where cutout blanks it."""
        data, plan, size = self.data, self.plan, self.spec.size
        window = draw_window(mask, data, plan, size, random)
        jitter = random.uniform(-data.jitter, data.jitter, self.spec.channels) if data.jitter else None
        if window.is_cut(size) and not plan.elastic:
            values, classes = cut_image(image, window, self.spec, jitter), cut_mask(mask, window)
        else:
            points = window.points(size)
            if plan.elastic:
                scale = np.array([window.height, window.width])[:, None, None] / size
                points = points + scale * elastic_shift((size, size), plan.elastic, plan.elastic_grid, random)
            values = sampled_image(image, points, window.step(size), self.spec, jitter)
            classes = sampled_mask(mask, points)
        values = change_intensity(values, plan, random)
        if data.cutout:
            values, classes = _with_hole(values, classes, data.cutout, random)
        return values.contiguous(), torch.from_numpy(classes)


@dataclass(frozen=True)
class WholeImage:
    """Transform of evaluation: an image of its own size, and its mask."""

    spec: InputSpec

    def __call__(self, image: Any, mask: np.ndarray | None) -> tuple[Tensor, Tensor | None]:
        """Return (C, H, W) float32 and (H, W) uint8, or None without a mask."""
        return network_values(image, self.spec), None if mask is None else torch.from_numpy(np.array(mask, order="C"))


class MaskPreparation:
    """Preparation for masks, which move with their images.

    Args:
        plan: how training images are changed beside what the recipe's `data` says.
    """

    def __init__(self, plan: SegmentationRecipe) -> None:
        self.plan = plan

    def train_transform(self, recipe: DataRecipe, spec: InputSpec) -> TrainPair:
        """Return (image, mask, random numbers) -> ((C, size, size) float32, (size, size) uint8); of patches, all of three dimensions."""
        return (CropTransform if recipe.volumes.patch is None else PatchTransform)(recipe, self.plan, spec)

    def eval_transform(self, spec: InputSpec, views: Views) -> EvalPair:
        """Return (image, mask) -> ((C, H, W) float32, (H, W) uint8 or None), the whole image.

        Raises:
            UsageError: for other views than the image itself.
        """
        if views != Views():
            raise UsageError("masks are predicted of whole images, not of crops or scales; segmentation.flips averages over mirror images")
        return WholeImage(spec)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Join images and masks: stacked where all have one size, else a list of each, (C, H, W) and (H, W)."""
        corrupt = [name for sample in samples for name in sample.corrupt]
        pairs = [(sample.image, sample.target) for sample in samples if sample.image is not None]
        if len({image.shape for image, _ in pairs}) <= 1:
            return collate(samples)
        return Batch([image for image, _ in pairs], [mask for _, mask in pairs], corrupt, indices_of(samples))


def _with_hole(values: Tensor, classes: np.ndarray, side: int, random: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """Blank a square of a crop; nothing is to be learnt there."""
    hole = np.ones((1, *classes.shape), np.float32)
    cutout(hole, side, random)
    return values * torch.from_numpy(hole), np.where(hole[0] > 0, classes, np.array(IGNORE, classes.dtype))
