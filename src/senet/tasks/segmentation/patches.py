"""Patches of volumes for networks of three dimensions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from senet.data.masks import IGNORE
from senet.data.volumes.grid import spacing_in
from senet.errors import UsageError
from senet.recipe import DataRecipe, SegmentationRecipe
from senet.spec import InputSpec
from senet.tasks.segmentation.crops import elastic_shift, foreground_place
from senet.tasks.segmentation.intensity import change_intensity
from senet.tasks.segmentation.sampling import COARSEST, network_values, sampled_image, sampled_mask

FLAT_ONLY = (("crop", "none"), ("jitter", 0.0), ("cutout", 0))
"""Fields of a recipe's data that patches do not take, with the value that asks for nothing."""


@dataclass(frozen=True)
class PatchTransform:
    """Patch of a training volume together with its mask: a random place, turned, enlarged, deformed and mirrored, and its values changed.

    Args:
        data: patch, rotation and flip.
        plan: share of patches over the foreground, zoom, elastic deformation, and changes of the values.
        spec: channels.
    """

    data: DataRecipe
    plan: SegmentationRecipe
    spec: InputSpec

    def __post_init__(self) -> None:
        for name, nothing in FLAT_ONLY:
            if getattr(self.data, name) != nothing:
                raise UsageError(
                    f"data.{name} does not apply to patches of volumes (data.volumes.patch); leave it at its default, {nothing}"
                )
        if self.plan.zoom[0] * COARSEST < 1:
            raise UsageError(
                f"segmentation.zoom of patches must be at least {1 / COARSEST:.2g}, got {self.plan.zoom[0]:g}: smaller ones would skip "
                "voxels; a coarser data.volumes.spacing shows more in a patch"
            )

    def __call__(self, image: Any, mask: np.ndarray, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return (C, d, h, w) float32 and (d, h, w) uint8 of (D, H, W, C) and (D, H, W); outside, values are 0 and the mask `IGNORE`."""
        data, plan, patch = self.data, self.plan, self.data.volumes.patch
        assert patch is not None
        if data.rotation or plan.elastic or plan.zoom != (1.0, 1.0):
            mirrored = bool(data.flip and random.random() < 0.5)
            place = draw_place(mask, data, plan, random)
            points = place.points(patch)
            if plan.elastic:
                points += place.step * elastic_shift(patch, plan.elastic, plan.elastic_grid, random)
            values, classes = sampled_image(image, points, place.step, self.spec), sampled_mask(mask, points)
        else:  # very voxels, nothing is interpolated
            starts = draw_corner(mask, patch, plan.foreground, random)
            mirrored = bool(data.flip and random.random() < 0.5)
            values = network_values(np.asarray(cut_patch(image, starts, patch, 0.0)), self.spec)
            classes = np.asarray(cut_patch(mask, starts, patch, IGNORE))
        values = change_intensity(values, plan, random)
        if mirrored:
            values, classes = values.flip(3), classes[:, :, ::-1]
        return values.contiguous(), torch.from_numpy(np.array(classes, order="C"))  # a copy: one column mirrored has a negative step


@dataclass(frozen=True)
class PatchPlace:
    """Part of a volume that a patch shows.

    Args:
        centre: (3,) float64 of the patch, in voxels of the volume, where voxel 0 reaches from 0 to 1.
        turn: (3, 3) float64, from a step in the patch to that in the volume, both in voxels, before it is enlarged.
        step: how many voxels of the volume the patch's voxels are apart.
    """

    centre: np.ndarray
    turn: np.ndarray
    step: float

    def points(self, patch: Sequence[int]) -> np.ndarray:
        """Return (3, *patch) float64, the place in the volume that each voxel's centre shows."""
        offsets = np.meshgrid(*((np.arange(side) + 0.5 - side / 2) * self.step for side in patch), indexing="ij", sparse=True)
        rows = zip(self.turn, self.centre, strict=True)
        return np.stack([row[0] * offsets[0] + row[1] * offsets[1] + row[2] * offsets[2] + centre for row, centre in rows])


def draw_place(mask: np.ndarray, data: DataRecipe, plan: SegmentationRecipe, random: np.random.Generator) -> PatchPlace:
    """Draw the part of a volume that a patch shows: anywhere inside, or over a voxel of the foreground, each as likely.

    It is turned about each of its axes by up to `data.rotation`, in millimetres if `data.volumes.spacing` says what a voxel measures;
    else voxels count as cubes.

    Args:
        mask: (D, H, W) classes.
        data: rotation, and the patch and spacing of its volumes.
        plan: foreground and zoom.
        random: source of randomness.
    """
    volumes = data.volumes
    assert volumes.patch is not None
    step = math.exp(-random.uniform(math.log(plan.zoom[0]), math.log(plan.zoom[1]))) if plan.zoom != (1.0, 1.0) else 1.0
    turn = rotation(random.uniform(-data.rotation, data.rotation, 3)) if data.rotation else np.eye(3)
    if volumes.spacing is not None:
        voxel = np.array(spacing_in(volumes.plane, volumes.spacing))
        turn = turn * voxel / voxel[:, None]
    sides, lengths = np.array(volumes.patch) * step, np.array(mask.shape)
    low = np.minimum(sides, lengths) / 2
    high = lengths - low
    spot = foreground_place(mask, random) if plan.foreground and random.random() < plan.foreground else None
    if spot is None:
        return PatchPlace(random.uniform(low, high), turn, step)
    away = turn @ (random.uniform(-0.5, 0.5, 3) * sides)
    centre = np.array(spot) + 0.5 - away
    inner = centre.clip(low, high)  # as little of what lies outside as possible, if the patch still holds the voxel
    holds = (np.abs(np.linalg.solve(turn, np.array(spot) + 0.5 - inner)) <= sides / 2 + 1e-9).all()
    return PatchPlace(inner if holds else centre, turn, step)


def rotation(angles: np.ndarray) -> np.ndarray:
    """Return the rotation about the third axis, then the second, then the first, by angles in degrees: (3, 3)."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        about = np.eye(3)
        about[one, one] = about[other, other] = math.cos(angle)
        about[other, one] = math.sin(angle)
        about[one, other] = -about[other, one]
        turn = turn @ about
    return turn


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
