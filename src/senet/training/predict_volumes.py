"""What trained networks predict of NIfTI volumes, slice by slice or as a whole, on the grid of their files."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from senet.data.preview import grey_picture
from senet.data.source import UnreadableImageError
from senet.data.volumes.cases import CHANNEL, read_case
from senet.data.volumes.nifti import is_volume, stem_of
from senet.data.volumes.reading import VolumeReading
from senet.data.volumes.slices import neighbouring_slices
from senet.errors import UsageError
from senet.recipe import build_recipe
from senet.spec import InputSpec
from senet.tasks.task import Prediction, Task
from senet.text import printable

Outputs = Callable[[np.ndarray], Any]
"""(H, W, C) or (D, H, W, C) float32 -> what the task's `average` gives for it."""


@dataclass(frozen=True)
class VolumePredictor:
    """Prediction of volumes in the manner in which networks were trained on volumes.

    Args:
        task: what they predict; it has a method `predict_volume`, see `senet.tasks.segmentation.task.Segmentation`.
        reading: how volumes are read.
        channels: files of a volume.
    """

    task: Task
    reading: VolumeReading
    channels: int

    @classmethod
    def of(cls, task: Task, recipe: Mapping[str, Any] | None, spec: InputSpec) -> "VolumePredictor | None":
        """Return the predictor of networks by the recipe that trained them; None if that was not on volumes, or the task has no form."""
        data = (recipe or {}).get("data", {})
        if data.get("name") != "volumes" or not hasattr(task, "predict_volume"):
            return None
        read = build_recipe({"data": {name: data[name] for name in ("range", "volumes") if name in data}}, where="the weights' recipe").data
        return cls(task, VolumeReading.of(read), spec.channels // read.volumes.slices)

    def listed(self, folder: Path) -> list[Path]:
        """Return the volumes in a folder; of those with several channels, the file of the first.

        Raises:
            UsageError: if there are none.
        """
        paths = [path for path in sorted(folder.iterdir()) if is_volume(path) and not path.name.startswith(".")]
        if self.channels > 1:
            paths = [path for path in paths if stem_of(path).endswith("_0000")]
        if not paths:
            ending = "_0000" if self.channels > 1 else ""
            raise UsageError(f"{folder}: there are no volumes in this folder, NAME{ending}.nii.gz")
        return paths

    def predict(self, path: str | Path, outputs_of: Outputs, classes: Sequence[str] | None) -> tuple[Prediction, Image.Image]:
        """Return what is predicted of a volume, and the slice in its middle as an image in RGB.

        Args:
            path: of the volume; of several channels, of the first one, NAME_0000.nii.gz, beside which the others lie.
            outputs_of: what the networks say of a slice or of a whole volume.
            classes: names of the classes; None where there are none.

        Raises:
            UnreadableImageError: if a file is missing or damaged.
        """
        try:
            case = read_case(stem_of(path), self._files(Path(path)), None, self.reading.recipe.max_voxels)
        except (ValueError, OSError) as error:
            raise UnreadableImageError(f"{printable(Path(path).parent, None)}: {error}") from error
        image, plan = self.reading.image(case), self.reading.recipe
        if plan.patch is None:
            outputs = (outputs_of(neighbouring_slices(image, place, plan.slices)) for place in range(len(image)))
        else:
            outputs = map(outputs_of, [image])
        middle, predict = len(image) // 2, getattr(self.task, "predict_volume")  # noqa: B009 - not all have it
        return predict(outputs, classes, case.channels[0], self.reading.grid(case), middle), grey_picture(image[middle, :, :, 0])

    def _files(self, path: Path) -> Sequence[Path]:
        if self.channels == 1:
            return [path]
        numbered = CHANNEL.fullmatch(stem_of(path))
        if numbered is None:
            raise ValueError(f"{printable(path.name)} is one of {self.channels} channels, and those are named NAME_0000, NAME_0001, ...")
        suffix = path.name[len(stem_of(path)) :]
        return [path.with_name(f"{numbered[1]}_{channel:04}{suffix}") for channel in range(self.channels)]


def volume_name(path: str | Path) -> Path:
    """Return what names the files of a volume's prediction, with one suffix and without the number of a channel."""
    return Path(f"{re.sub(r'_0000$', '', stem_of(path))}.nii")
