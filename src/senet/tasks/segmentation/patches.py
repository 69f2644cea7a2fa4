"""Patches of volumes for networks of three dimensions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from senet.data.masks import IGNORE
from senet.errors import UsageError
from senet.recipe import DataRecipe, SegmentationRecipe
from senet.spec import InputSpec
from senet.tasks.segmentation.crops import foreground_place
from senet.tasks.segmentation.intensity import change_intensity
from senet.tasks.segmentation.sampling import network_values

FLAT_ONLY = {
    "data": (("crop", "none"), ("rotation", 0.0), ("jitter", 0.0), ("cutout", 0)),
    "segmentation": (("zoom", (1.0, 1.0)), ("elastic", 0.0), ("blur", 0.0)),
}
"""Section of a recipe -> fields that patches do not take, with the value that asks for nothing."""


@dataclass(frozen=True)
class PatchTransform:
    """Patch of a training volume together with its mask: a random place, mirrored left to right if asked, and its values changed.

    Args:
        data: patch and flip.
        plan: share of patches over the foreground, and changes of the values.
        spec: channels.
    """

    data: DataRecipe
    plan: SegmentationRecipe
    spec: InputSpec

    def __post_init__(self) -> None:
        for section, recipe in (("data", self.data), ("segmentation", self.plan)):
            for name, nothing in FLAT_ONLY[section]:
                if getattr(recipe, name) != nothing:
                    raise UsageError(
                        f"{section}.{name} does not apply to patches of volumes (data.volumes.patch); leave it at its default, {nothing}"
                    )

    def __call__(self, image: Any, mask: np.ndarray, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return (C, d, h, w) float32 and (d, h, w) uint8 of (D, H, W, C) and (D, H, W); outside, values are 0 and the mask `IGNORE`."""
        patch = self.data.volumes.patch
        assert patch is not None
        starts = draw_corner(mask, patch, self.plan.foreground, random)
        mirrored = bool(self.data.flip and random.random() < 0.5)
        values = network_values(np.asarray(cut_patch(image, starts, patch, 0.0)), self.spec)
        classes = np.asarray(cut_patch(mask, starts, patch, IGNORE))
        values = change_intensity(values.flatten(1, 2), self.plan, random).unflatten(1, patch[:2])
        if mirrored:
            values, classes = values.flip(3), classes[:, :, ::-1]
        return values.contiguous(), torch.from_numpy(np.array(classes, order="C"))  # a copy: one column mirrored has a negative step


def draw_corner(mask: np.ndarray, patch: tuple[int, ...], foreground: float, random: np.random.Generator) -> tuple[int, ...]:
    """Draw where a patch begins: anywhere inside, or for a share of the patches around a voxel of the foreground, each as likely.

    Along an axis on which the volume is shorter than the patch, the volume lies in the patch's middle.

    Args:
        mask: (D, H, W) classes; the foreground is what is neither class 0 nor ignored.
        patch: sides of a patch.
        foreground: share of the patches that hold a voxel of the foreground for certain.
        random: source of randomness.
    """
    ranges = [(0, length - side) if length >= side else ((length - side) // 2,) * 2 for length, side in zip(mask.shape, patch, strict=True)]
    voxel = foreground_place(mask, random) if foreground and random.random() < foreground else None
    if voxel is not None:
        near = zip(ranges, voxel, patch, strict=True)
        ranges = [(min(max(low, place - side + 1), high), max(min(high, place), low)) for (low, high), place, side in near]
    return tuple(int(random.integers(low, high + 1)) for low, high in ranges)


def cut_patch(values: np.ndarray, starts: tuple[int, ...], patch: tuple[int, ...], outside: Any) -> np.ndarray:
    """Cut a patch out of the first axes of an array; what lies outside it has the value `outside`."""
    inside = [
        slice(max(start, 0), max(start, 0, min(start + side, length)))
        for start, side, length in zip(starts, patch, values.shape, strict=False)
    ]
    part = values[tuple(inside)]
    if part.shape[: len(patch)] == patch:
        return part
    whole = np.full((*patch, *values.shape[len(patch) :]), outside, values.dtype)
    whole[tuple(slice(max(-start, 0), max(-start, 0) + length) for start, length in zip(starts, part.shape, strict=False))] = part
    return whole
