"""What a recipe says of volumes: how they are laid out, cut and normalised, and which of them are held out."""

from dataclasses import dataclass
from typing import Literal

from senet.errors import UsageError

LONGEST_PATCH = 1024
"""Voxels of the longest side of a patch."""


@dataclass(frozen=True)
class VolumeRecipe:
    """NIfTI volumes as slices, or as patches of three dimensions; other images do not ask.

    Args:
        plane: axial, coronal or sagittal, in which the slices lie, and the rows and columns of patches.
        spacing: millimetres between voxels left to right, back to front and feet to head, to which volumes are resampled (images linearly,
            labels to the nearest voxel); null = as stored.
        intensity: how a volume's values are normalised: "zscore" (its mean 0, its standard deviation 1), "percentiles" (the lower one 0,
            the upper one 1, clipped), "window" (data.range: black 0, white 1, clipped) or "none".
        percentiles: the lower and the upper one, in percent.
        slices: how many neighbouring slices the network sees as channels, an odd number; the middle one is predicted.
        empty: share of the training slices without foreground that are kept.
        val: names of the volumes that are held out, without suffix; null = what the folder says, else data.val_share.
        patch: slices, rows and columns of the patches that a network of three dimensions is trained on; null = slices.
        patches: patches of each volume in an epoch.
        max_voxels: most voxels of a volume; a file with more is refused.
    """

    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    spacing: tuple[float, float, float] | None = None
    intensity: Literal["zscore", "percentiles", "window", "none"] = "zscore"
    percentiles: tuple[float, float] = (0.5, 99.5)
    slices: int = 1
    empty: float = 1.0
    val: tuple[str, ...] | None = None
    patch: tuple[int, int, int] | None = None
    patches: int = 16
    max_voxels: int = 2**28

    def __post_init__(self) -> None:
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise UsageError(f"data.volumes.percentiles must be two numbers, 0 <= low < high <= 100, got {low:g} and {high:g}")
        if self.spacing is not None and not all(0.01 <= length <= 100 for length in self.spacing):
            raise UsageError(f"data.volumes.spacing must be three lengths of 0.01 to 100 mm, got {list(self.spacing)}")
        if self.slices < 1 or self.slices % 2 == 0 or self.slices > 255:
            raise UsageError(f"data.volumes.slices must be an odd number up to 255, got {self.slices}")
        if self.patch is not None and not all(1 <= side <= LONGEST_PATCH for side in self.patch):
            raise UsageError(f"data.volumes.patch must be three sides of 1 to {LONGEST_PATCH} voxels, got {list(self.patch)}")
        if self.patch is not None and self.slices != 1:
            raise UsageError("data.volumes.slices is for networks of two dimensions; leave it out beside data.volumes.patch")
