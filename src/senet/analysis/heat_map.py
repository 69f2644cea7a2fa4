"""Gates of positions as colours over their image."""

import numpy as np
from PIL import Image

HEAT = ((38, 34, 98), (46, 108, 164), (53, 183, 121), (253, 231, 37))
"""Colours of gates from 0 to 1, dark to light, so that they read in print too."""

OPACITY = 0.75
"""Share of the colours in what a heat map shows; the rest is the image."""


def heat_map(image: Image.Image, gate: np.ndarray) -> Image.Image:
    """Return gates (h, w) of 0 to 1 in colours, as large as an image and with it showing through; each position keeps its edges."""
    colours = Image.fromarray(heat_colours(gate)).resize(image.size, Image.Resampling.NEAREST)
    return Image.blend(image.convert("L").convert("RGB"), colours, OPACITY)


def heat_colours(gate: np.ndarray) -> np.ndarray:
    """Return the colour of each gate, (..., 3) uint8; what lies outside 0 to 1 has the colour of that end."""
    stops = np.array(HEAT, np.float32)
    places = np.clip(gate, 0, 1) * (len(stops) - 1)
    below = np.minimum(places.astype(np.int64), len(stops) - 2)
    colours = stops[below] + (stops[below + 1] - stops[below]) * (places - below)[..., None]
    return np.rint(colours).astype(np.uint8)
