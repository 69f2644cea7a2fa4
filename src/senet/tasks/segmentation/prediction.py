"""Mask that is predicted of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from senet.tasks.image_task import captioned


@dataclass(frozen=True)
class PredictedMask:
    """Classes of an image's pixels.

    Args:
        mask: (H, W) uint8.
        classes: their names.
    """

    mask: np.ndarray
    classes: Sequence[str]

    @property
    def pixels(self) -> dict[str, int]:
        """How many pixels each class has."""
        return dict(zip(self.classes, np.bincount(self.mask.ravel(), minlength=len(self.classes)).tolist(), strict=True))

    def __str__(self) -> str:
        """Return the share of each class that there is, in one line."""
        return "  ".join(f"{name} {100 * count / self.mask.size:.1f} %" for name, count in self.pixels.items() if count)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"pixels": self.pixels}

    def draw(self, image: Image.Image) -> Image.Image:
        """Return the image in RGB with the shares of the classes below it."""
        return captioned(image, [str(self)])
