"""Images in files with their boxes: what a set of them is, and by what one set is told from another."""

import hashlib
from dataclasses import dataclass

import numpy as np

from senet.data.boxes import Boxes, Outlines
from senet.data.coco.blobs import Entries
from senet.data.fingerprint import array_parts, file_sizes
from senet.data.folder import ImageFiles


@dataclass(frozen=True)
class BoxTable:
    """Boxes of N images, in few blocks of memory, which worker processes share.

    Args:
        starts: (N + 1,) int64, where the boxes of each image begin.
        xyxy: (m, 4) float32, in pixels of their image.
        labels: (m,) int64.
        crowd: (m,) bool.
        area: (m,) float32.
        ids: (N,) int64, numbers of the images.
        sizes: (N, 2) int64, width and height, upright.
        turns: (N,) int64, EXIF orientation by which outlines are turned; 1 = none.
        shapes: of each image the outlines of its boxes; None = there are none.
    """

    starts: np.ndarray
    xyxy: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    ids: np.ndarray
    sizes: np.ndarray
    turns: np.ndarray
    shapes: Entries | None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Boxes:
        """Return the boxes of image `index`."""
        place = range(len(self))[index]
        inside = slice(self.starts[place], self.starts[place + 1])
        masks = None if self.shapes is None else Outlines(tuple(self.shapes[place]), int(self.turns[place]))
        width, height = self.sizes[place].tolist()
        arrays = (part[inside].copy() for part in (self.xyxy, self.labels, self.crowd, self.area))
        return Boxes(*arrays, image_id=int(self.ids[place]), size=(height, width), masks=masks)

    def digest(self) -> str:
        """Return what tells these boxes from others."""
        digest = hashlib.sha256()
        for values in (self.starts, self.xyxy, self.labels, self.crowd, self.area, self.ids, self.sizes, self.turns):
            digest.update(b"".join(array_parts(values)))
        return digest.hexdigest() + ("" if self.shapes is None else self.shapes.digest())


class BoxedImages(ImageFiles):
    """Images in files whose targets are boxes.

    Args:
        images: the images.
        table: their boxes.
    """

    targets: BoxTable

    def __init__(self, images: ImageFiles, table: BoxTable) -> None:
        super().__init__(images.root, images.paths, table, images.reading)

    def fingerprint(self) -> str:
        """Return what tells these images and boxes from others: names, sizes of the images' files, and all that is said of the boxes."""
        digest = hashlib.sha256(self.targets.digest().encode())
        for values in (self.paths, file_sizes(self)):
            digest.update(repr((values.shape, values.tolist())).encode())
        return digest.hexdigest()
