"""Volumes as a network sees them, each prepared when it is asked for and kept while there is room."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from senet.data.masks import MaskReading, mask_of
from senet.data.source import UnreadableImageError
from senet.data.volumes.cases import Case
from senet.data.volumes.grid import VoxelGrid
from senet.data.volumes.intensity import normalise_volume
from senet.data.volumes.nifti import VolumeHeader, read_labels, read_values
from senet.recipe import DataRecipe, VolumeRecipe
from senet.text import printable


@dataclass(frozen=True)
class VolumeReading:
    """Manner in which volumes are read.

    Args:
        recipe: plane, spacing and intensity.
        window: the values that are 0 and 1, for intensity "window".
        masks: which class a label is.
    """

    recipe: VolumeRecipe
    window: tuple[float, float] | None = None
    masks: MaskReading = MaskReading()  # noqa: RUF009 - frozen

    @classmethod
    def of(cls, recipe: DataRecipe, masks: MaskReading = MaskReading()) -> "VolumeReading":  # noqa: B008 - frozen
        """Return what a recipe says."""
        return cls(recipe.volumes, recipe.range, masks)

    def grid(self, case: Case) -> VoxelGrid:
        """Return the grid on which a case is seen."""
        return VoxelGrid.of(case.channels[0], self.recipe.plane, self.recipe.spacing)

    def image(self, case: Case) -> np.ndarray:
        """Return the normalised image of a case: (slices, rows, columns, channels) float32.

        Raises:
            UnreadableImageError: if a file is damaged or holds values that are not finite.
        """
        grid = self.grid(case)
        channels = [grid.image(normalise_volume(_read(read_values, header), self.recipe, self.window)) for header in case.channels]
        return channels[0][..., None] if len(channels) == 1 else np.stack(channels, -1)

    def mask(self, case: Case) -> np.ndarray:
        """Return the classes of a case: (slices, rows, columns) uint8.

        Raises:
            UnreadableImageError: if its labels are damaged or no classes.
        """
        assert case.labels is not None, "volumes without labels are for prediction alone"
        labels = self.grid(case).labels(_read(read_labels, case.labels))
        return mask_of(labels, self.masks, printable(case.labels.path.name))


def _read(read: Callable[[VolumeHeader], np.ndarray], header: VolumeHeader) -> np.ndarray:
    try:
        return read(header)
    except ValueError as error:
        raise UnreadableImageError(f"{printable(header.path.name)}: {error}") from error


ROOM = 4 * 10**9
"""Bytes of volumes that each process keeps: 15 brains of 256 voxels each way with their masks take 1.3e9."""


class KeptVolumes:
    """Images and masks of cases, of which those that were asked for last are kept in memory.

    Processes do not send each other what they keep.

    Args:
        cases: the volumes.
        reading: how they are read.
        room: bytes that may be kept; the volume that was asked for last stays in any case.
    """

    def __init__(self, cases: tuple[Case, ...], reading: VolumeReading, room: int = ROOM) -> None:
        self.cases, self.reading, self.room = cases, reading, room
        self._kept: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    def image(self, case: int) -> np.ndarray:
        """Return the image of a case, see `VolumeReading.image`."""
        return self._get("image", case)

    def mask(self, case: int) -> np.ndarray:
        """Return the mask of a case, see `VolumeReading.mask`."""
        return self._get("mask", case)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}

    def _get(self, what: str, case: int) -> np.ndarray:
        key = what, case
        if key not in self._kept:
            array = getattr(self.reading, what)(self.cases[case])
            while self._kept and array.nbytes + sum(kept.nbytes for kept in self._kept.values()) > self.room:
                self._kept.popitem(last=False)
            self._kept[key] = array
        self._kept.move_to_end(key)
        return self._kept[key]
