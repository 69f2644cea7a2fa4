"""Mask that is predicted of an image: as a PNG with a palette, as a picture, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from senet.data.masks import Palette
from senet.data.palettes import voc_palette
from senet.tasks.segmentation.colours import coloured, outlined, tinted


@dataclass(frozen=True)
class PredictedMask:
    """Classes of an image's pixels.

    Args:
        mask: (H, W) uint8.
        classes: their names.
        palette: their colours; empty = PASCAL VOC's.
    """

    suffix = ".png"

    mask: np.ndarray
    classes: Sequence[str]
    palette: Palette = field(default=())

    @property
    def pixels(self) -> dict[str, int]:
        """How many pixels each class has."""
        return dict(zip(self.classes, np.bincount(self.mask.ravel(), minlength=len(self.classes)).tolist(), strict=True))

    @property
    def colours(self) -> Palette:
        """The colour of each class."""
        return self.palette if len(self.palette) >= len(self.classes) else voc_palette(len(self.classes))

    def __str__(self) -> str:
        """Return the share of each class that there is, in one line."""
        return "  ".join(f"{name} {100 * count / self.mask.size:.1f} %" for name, count in self.pixels.items() if count)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON: the pixels of each class, and their share of the image's in percent."""
        height, width = self.mask.shape
        shares = {name: 100 * count / self.mask.size for name, count in self.pixels.items()}
        return {"height": height, "width": width, "pixels": self.pixels, "percent": shares}

    def write(self, path: Path) -> None:
        """Write the mask as a PNG of indices, mode P, with the colours of the classes."""
        coloured(self.mask, self.colours).save(path, "PNG", optimize=True)

    def draw(self, image: Image.Image) -> Image.Image:
        """Return the image in RGB, of its own size, tinted in the colours of the classes and with outlines; black is left out."""
        return outlined(tinted(image, self.mask, self.colours), self.mask, self.colours)
