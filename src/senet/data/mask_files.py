"""Images in files with their masks: what a set of them is, and by what one set is told from another."""

import hashlib
import os
from pathlib import Path

import numpy as np

from senet.data.fingerprint import file_sizes
from senet.data.folder import ImageFiles
from senet.data.mask_scan import MaskScan, RawMasks, file_states, header_size
from senet.data.masks import MaskReading, mask_of, read_raw_mask
from senet.data.source import UnreadableImageError
from senet.text import printable


class MaskFiles:
    """Masks in files, before their labels become classes.

    Args:
        root: the folder that the paths are below.
        paths: (N,) bytes, the files.
        reading: how they are read.
    """

    def __init__(self, root: Path, paths: np.ndarray, reading: MaskReading) -> None:
        self.root, self.paths, self.reading = root, paths, reading

    def __len__(self) -> int:
        return len(self.paths)

    def labels(self, index: int) -> np.ndarray:
        """Return the labels of mask `index`, (H, W) uint8, uint16 or int32, or raise UnreadableImageError."""
        return read_raw_mask(self.path(index), self.reading)

    def size(self, index: int) -> tuple[int, int]:
        """Return width and height of mask `index` by its header; zeros if it cannot be read."""
        return header_size(self.path(index), self.reading.max_pixels)

    def path(self, index: int) -> Path:
        """Return the file of mask `index`."""
        return self.root / os.fsdecode(self.paths[index])

    def describe(self, index: int) -> str:
        """Return the path below the root, as it can be printed."""
        return printable(os.fsdecode(self.paths[index]), None)

    def state(self) -> str:
        """Return what changes when a file does."""
        return file_states(self.root, self.paths)


class Masks:
    """Masks of class indices, each read when it is asked for.

    Args:
        raw: the masks before their labels become classes.
        reading: which label is which class.
        sizes: (N, 2) width and height of each mask's image, upright; zeros for an image that cannot be read.
    """

    def __init__(self, raw: RawMasks, reading: MaskReading, sizes: np.ndarray) -> None:
        self.raw, self.reading, self.sizes = raw, reading, sizes

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the mask of image `index`, (H, W) uint8.

        Raises:
            UnreadableImageError: if it cannot be read, has another size than its image, or holds labels that are no class.
        """
        mask = mask_of(self.raw.labels(index), self.reading, self.raw.describe(index))
        width, height = self.sizes[index].tolist()
        if width and mask.shape != (height, width):
            raise UnreadableImageError(
                f"{self.raw.describe(index)}: has {mask.shape[1]} x {mask.shape[0]} pixels, and its image {width} x {height}"
            )
        return mask


class MaskedImages(ImageFiles):
    """Images in files whose targets are masks.

    Args:
        images: the images.
        masks: their masks.
        reading: which label is which class.
        scan: what the masks hold.
    """

    def __init__(self, images: ImageFiles, masks: RawMasks, reading: MaskReading, scan: MaskScan) -> None:
        super().__init__(images.root, images.paths, Masks(masks, reading, scan.sizes), images.reading)
        self.scan = scan

    def fingerprint(self) -> str:
        """Return what tells these images and masks from others: names, sizes of the images' files, and what the masks hold."""
        digest = hashlib.sha256()
        for values in (self.paths, file_sizes(self), self.scan.checksums):
            digest.update(repr((values.shape, values.tolist())).encode())
        return digest.hexdigest()
