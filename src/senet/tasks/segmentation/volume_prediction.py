"""Labels that are predicted of a volume: on the grid of its file, as a NIfTI file of its own kind."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from senet.data.volumes.grid import neighbours, resample_linear
from senet.data.volumes.nifti import VolumeHeader
from senet.data.volumes.written import labels_file
from senet.tasks.segmentation.prediction import PredictedMask


def likeliest_classes(slices: Iterable[np.ndarray], count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the likeliest class of each voxel of a grid to which probabilities are brought linearly: uint8 of `shape`.

    Classes are chosen there, where a class of the nearest voxel would have steps as high as the voxels that were predicted. Memory is that
    of the probabilities of two slices.

    Args:
        slices: (K, rows, columns) float32 of each slice that was predicted, in order; those that none needs are not asked for.
        count: how many slices they are.
        shape: slices, rows and columns of the grid.
    """
    below, above, share = neighbours(count, shape[0])
    numbered, held = enumerate(slices), dict[int, np.ndarray]()
    labels = np.empty(shape, np.uint8)
    for place, (low, high, weight) in enumerate(zip(below.tolist(), above.tolist(), share.astype(np.float32), strict=True)):
        while high not in held:
            number, scores = next(numbered)
            held[number] = resample_linear(np.moveaxis(scores, 0, -1), shape[1:])
            held = {number: scores for number, scores in held.items() if number >= low}
        labels[place] = (held[low] if weight == 0 else held[low] + weight * (held[high] - held[low])).argmax(-1)
    return labels


@dataclass(frozen=True)
class PredictedVolume:
    """Classes of a volume's voxels.

    Args:
        labels: uint8, of the shape that the volume has in its file.
        shown: the mask of the slice that a picture shows.
        source: header of the file.
        classes: their names.
    """

    suffix = ".nii.gz"

    labels: np.ndarray
    shown: PredictedMask
    source: VolumeHeader
    classes: Sequence[str]

    @property
    def voxels(self) -> dict[str, int]:
        """How many voxels each class has."""
        return dict(zip(self.classes, np.bincount(self.labels.ravel(), minlength=len(self.classes)).tolist(), strict=True))

    @property
    def millilitres(self) -> dict[str, float]:
        """Volume of each class."""
        voxel = abs(float(np.linalg.det(self.source.affine[:3, :3]))) / 1000
        return {name: count * voxel for name, count in self.voxels.items()}

    def __str__(self) -> str:
        """Return the volume of each class that there is, in one line."""
        return "  ".join(f"{name} {volume:.4g} ml" for name, volume in self.millilitres.items() if volume)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON: voxels and millilitres of each class."""
        return {"shape": list(self.labels.shape), "voxels": self.voxels, "millilitres": self.millilitres}

    def write(self, path: Path) -> None:
        """Write the classes as a compressed NIfTI file with the affine and the header of the source."""
        path.write_bytes(labels_file(self.labels, self.source, compressed=True))

    def draw(self, image: Image.Image) -> Image.Image:
        """Return the slice that is shown, in RGB, with what is predicted of it."""
        return self.shown.draw(image)
