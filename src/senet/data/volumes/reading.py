"""Volumes as a network sees them, each prepared once and kept on disk, or in memory while there is room."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from senet.data.mapped import ArrayForm, mapped_array
from senet.data.masks import MaskReading, mask_of
from senet.data.source import UnreadableImageError
from senet.data.volumes.cases import Case
from senet.data.volumes.grid import VoxelGrid
from senet.data.volumes.intensity import normalise_volume
from senet.data.volumes.nifti import VolumeHeader, read_labels, read_values
from senet.recipe import DataRecipe, VolumeRecipe
from senet.text import printable

PREPARATION = 1
"""Counts up when a file's values become others than they did, so that arrays that were kept are prepared anew."""


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

    def image_form(self, case: Case) -> ArrayForm:
        """Return what the image of a case is kept under."""
        recipe, grid = self.recipe, self.grid(case)
        facts = (_states(case.channels), recipe.intensity, recipe.percentiles, self.window)
        return self._form(grid, facts, np.dtype(np.float32), (*grid.shape, len(case.channels)))

    def mask_form(self, case: Case) -> ArrayForm:
        """Return what the mask of a case is kept under."""
        assert case.labels is not None, "volumes without labels are for prediction alone"
        grid, masks = self.grid(case), self.masks
        named = None if masks.label_map is None else sorted(masks.label_map.items(), key=repr)
        facts = (_states([case.labels]), grid.stored, grid.affine.tolist(), named, masks.ignore, masks.classes)
        return self._form(grid, facts, np.dtype(np.uint8), grid.shape)

    def _form(self, grid: VoxelGrid, facts: tuple[Any, ...], dtype: np.dtype, shape: tuple[int, ...]) -> ArrayForm:
        facts = (PREPARATION, dtype.name, grid.plane, grid.spacing, *facts)
        return ArrayForm(hashlib.sha256(repr(facts).encode()).hexdigest()[:32], dtype, shape)


def _states(headers: Sequence[VolumeHeader]) -> list[tuple[str, int, int]]:
    """Return path, size and time of files: what changes when one of them does."""
    try:
        return [(str(header.path.resolve()), (found := header.path.stat()).st_size, found.st_mtime_ns) for header in headers]
    except OSError as error:
        raise UnreadableImageError(f"{printable(error.filename, None)}: {error.strerror}") from error


def _read(read: Callable[[VolumeHeader], np.ndarray], header: VolumeHeader) -> np.ndarray:
    try:
        return read(header)
    except ValueError as error:
        raise UnreadableImageError(f"{printable(header.path.name)}: {error}") from error


ROOM = 4 * 10**9
"""Bytes of volumes that each process keeps in memory where they cannot be kept on disk."""


class KeptVolumes:
    """Images and masks of cases, prepared once, see `senet.data.mapped.mapped_array`.

    What cannot be kept on disk is kept in memory, those that were asked for last; processes do not send each other what they keep there.

    Args:
        cases: the volumes.
        reading: how they are read.
        room: bytes that may be kept in memory; the volume that was asked for last stays in any case.
    """

    def __init__(self, cases: tuple[Case, ...], reading: VolumeReading, room: int = ROOM) -> None:
        self.cases, self.reading, self.room = cases, reading, room
        self._kept: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._forms: dict[tuple[str, int], ArrayForm] = {}

    def image(self, case: int) -> np.ndarray:
        """Return the image of a case, see `VolumeReading.image`."""
        return self._get("image", case, self.reading.image, self.reading.image_form)

    def mask(self, case: int) -> np.ndarray:
        """Return the mask of a case, see `VolumeReading.mask`."""
        return self._get("mask", case, self.reading.mask, self.reading.mask_form)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}

    def _get(self, what: str, case: int, read: Callable[[Case], np.ndarray], form_of: Callable[[Case], ArrayForm]) -> np.ndarray:
        key = what, case
        if key not in self._kept:
            form = self._forms[key] = self._forms.get(key) or form_of(self.cases[case])
            array = mapped_array(form, lambda: read(self.cases[case]))
            if isinstance(array, np.memmap):
                return np.asarray(array)  # nothing else holds its file open
            while self._kept and array.nbytes + sum(kept.nbytes for kept in self._kept.values()) > self.room:
                self._kept.popitem(last=False)
            self._kept[key] = array
        self._kept.move_to_end(key)
        return self._kept[key]
