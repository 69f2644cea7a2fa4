"""Data source of a user's own: noise, whose reading stops for ever once a file called "stuck" lies in the root."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from senet.data.source import DataSource
from senet.spec import InputSpec


@dataclass(frozen=True)
class Noise:
    root: Path
    targets: np.ndarray
    in_memory = False

    def __len__(self):
        return len(self.targets)

    def read(self, index):
        if (self.root / "stuck").exists():
            (self.root / "reading").touch()
            while True:
                time.sleep(60)
        return Image.fromarray(np.full((4, 4), 25 * self.targets[index], np.uint8))

    def describe(self, index):
        return f"image {index}"


def open_source(recipe):
    train, val = (Noise(Path(recipe.root), np.arange(count) % 4) for count in (32, 8))
    return DataSource("noise", train, val, ("a", "b", "c", "d"), InputSpec(size=4, resize=4, channels=1, mean=(0.5,), std=(0.5,)))
