"""Images and their masks in files: what a set of them is, and by what one set is told from another."""

import hashlib
import os
from pathlib import Path

import numpy as np

from senet.data.fingerprint import file_sizes
from senet.data.folder import ImageFiles
from senet.data.image_file import ImageReading
from senet.data.mask_scan import MaskScan
from senet.data.masks import MaskReading, read_mask
from senet.data.source import UnreadableImageError
from senet.text import printable


class MaskFiles:
    """Masks in files, each read when it is asked for.

    Args:
        root: the folder that the paths are below.
        paths: (N,) bytes, the files.
        reading: how they are read.
        sizes: (N, 2) width and height of each mask's image, upright; zeros for an image that cannot be read.
    """

    def __init__(self, root: Path, paths: np.ndarray, reading: MaskReading, sizes: np.ndarray) -> None:
        self.root, self.paths, self.reading, self.sizes = root, paths, reading, sizes

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the mask of image `index`, (H, W) uint8.

        Raises:
            UnreadableImageError: if it cannot be read, has another size than its image, or holds labels that are no class.
        """
        name = os.fsdecode(self.paths[index])
        mask = read_mask(self.root / name, self.reading)
        width, height = self.sizes[index].tolist()
        if width and mask.shape != (height, width):
            raise UnreadableImageError(
                f"{printable(name, None)}: has {mask.shape[1]} x {mask.shape[0]} pixels, and its image {width} x {height}"
            )
        return mask


class MaskedImageFiles(ImageFiles):
    """Images in files whose targets are masks in files.

    Args:
        root: the folder that the paths are below.
        paths: (N,) bytes, the images.
        masks: (N,) bytes, their masks.
        reading: how images are read.
        mask_reading: how masks are read.
        scan: what the masks hold.
    """

    def __init__(
        self, root: Path, paths: np.ndarray, masks: np.ndarray, reading: ImageReading, mask_reading: MaskReading, scan: MaskScan
    ) -> None:
        super().__init__(root, paths, MaskFiles(root, masks, mask_reading, scan.sizes), reading)
        self.scan = scan

    def fingerprint(self) -> str:
        """Return what tells these images and masks from others: names, sizes of the images' files, and what the masks hold."""
        digest = hashlib.sha256()
        for values in (self.paths, self.targets.paths, file_sizes(self), self.scan.checksums):
            digest.update(repr((values.shape, values.tolist())).encode())
        return digest.hexdigest()
