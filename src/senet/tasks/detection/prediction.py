"""Boxes and outlines that are predicted of an image: as a picture, as numbers, as COCO's results."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from senet.data.boxes import Outlines
from senet.data.masks import Colour
from senet.data.palettes import voc_palette
from senet.tasks.segmentation.colours import TINT

LABEL_DARK = 140
"""Brightness of a colour below which a label on it is white."""

EDGE = (20, 20, 20)
"""Colour around lines that must be seen on any ground."""


@dataclass(frozen=True)
class PredictedBoxes:
    """Objects of an image, those with the highest scores first.

    Args:
        xyxy: (k, 4) float32, left, top, right and bottom in pixels of the image.
        labels: (k,) int64.
        scores: (k,) float32, from 0 to 1.
        classes: names of the classes.
        size: height and width of the image.
        shown_score: least score of an object that is drawn or told in a sentence.
        outlines: of the objects, as run lengths in the pixels of the image; None = nothing says them.
    """

    xyxy: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    classes: Sequence[str]
    size: tuple[int, int]
    shown_score: float = 0.5
    outlines: Outlines | None = None

    @property
    def shown(self) -> np.ndarray:
        """Places of the objects that are shown."""
        return np.flatnonzero(self.scores >= self.shown_score)

    def __str__(self) -> str:
        """Return how many objects of each class are shown, in one line."""
        counts = Counter(self.classes[label] for label in self.labels[self.shown].tolist())
        return "  ".join(f"{count} {name}" for name, count in counts.most_common()) or f"nothing of a score of {self.shown_score:g} or more"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON: of all objects the boxes, the names of their classes, the scores, and COCO's outlines."""
        height, width = self.size
        return {
            "height": height,
            "width": width,
            "boxes": [[round(float(value), 2) for value in box] for box in self.xyxy],
            "labels": [self.classes[label] for label in self.labels.tolist()],
            "scores": [round(float(score), 5) for score in self.scores],
            **({} if self.outlines is None else {"segmentations": list(self.outlines.shapes)}),
        }

    def coco_results(self, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return the objects as COCO's results: "bbox" is left, top, width and height, "segmentation" run lengths if outlines are known.

        Args:
            image_id: number of the image.
            category_ids: number of each class.
        """
        sides = np.concatenate([self.xyxy[:, :2], self.xyxy[:, 2:] - self.xyxy[:, :2]], axis=1)
        outlines = [{}] * len(sides) if self.outlines is None else [{"segmentation": shape} for shape in self.outlines.shapes]
        rows = zip(sides.tolist(), self.labels.tolist(), self.scores.tolist(), outlines, strict=True)
        return [
            {
                "image_id": image_id,
                "category_id": category_ids[label],
                "bbox": [round(side, 2) for side in box],
                "score": round(score, 5),
                **outline,
            }
            for box, label, score, outline in rows
        ]

    def draw(self, image: Image.Image) -> Image.Image:
        """Return the image in RGB with the box, class and score in percent of each object that is shown, and its outline if it is known."""
        colours = class_colours(len(self.classes))
        drawn, order = image.convert("RGB").copy(), self.shown.tolist()[::-1]  # the surest on top
        if self.outlines is not None:
            pixels = np.array(drawn)
            for place in order:
                mask = self.outlines.chosen([place]).pixels(*self.size)[0]
                draw_outline(pixels, mask, colours[int(self.labels[place])])
            drawn = Image.fromarray(pixels)
        for place in order:
            label = int(self.labels[place])
            draw_box(drawn, self.xyxy[place].tolist(), colours[label], f"{self.classes[label]} {100 * self.scores[place]:.0f}")
        return drawn


def class_colours(count: int) -> tuple[Colour, ...]:
    """Return a colour for each class, PASCAL VOC's from its second on, brightened: none is black."""
    return tuple((red // 2 + 96, green // 2 + 96, blue // 2 + 96) for red, green, blue in voc_palette(count + 1)[1:])


def draw_outline(pixels: np.ndarray, mask: np.ndarray, colour: Colour) -> None:
    """Tint the pixels of an object, and give those at its edge its colour; in place.

    Args:
        pixels: (H, W, 3) uint8.
        mask: (H, W) bool, the object.
        colour: of the object.
    """
    around = np.pad(mask, 1)
    inner = mask & around[2:, 1:-1] & around[:-2, 1:-1] & around[1:-1, 2:] & around[1:-1, :-2]
    pixels[inner] = np.rint(pixels[inner] * (1 - TINT) + np.multiply(colour, TINT)).astype(np.uint8)
    pixels[mask & ~inner] = colour


def draw_box(image: Image.Image, box: Sequence[float], colour: Colour, text: str = "", *, edged: bool = False) -> None:
    """Draw a rectangle, and a text on a ground of its colour above it, inside the image; in place.

    Args:
        image: in RGB.
        box: left, top, right and bottom in its pixels.
        colour: of the lines.
        text: nothing = none.
        edged: whether lines have at least two pixels and a dark edge, by which they are seen in a small image, on grounds of their colour.
    """
    pen, width = ImageDraw.Draw(image), max(2 if edged else 1, round(max(image.size) / 320))
    left, top, right, bottom = box
    right, bottom = max(left, right - 1), max(top, bottom - 1)
    if edged:
        pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=EDGE)
    pen.rectangle((left, top, right, bottom), outline=colour, width=width)
    if not text:
        return
    font = ImageFont.load_default(max(9, round(max(image.size) / 48)))
    x0, y0, x1, y1 = font.getbbox(text)
    wide, high = x1 - x0 + 4, y1 - y0 + 4
    x = min(max(0, left), max(0, image.width - wide))
    y = top - high if top >= high else min(top, max(0, image.height - high))
    pen.rectangle((x, y, x + wide - 1, y + high - 1), fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    pen.text((x + 2 - x0, y + 2 - y0), text, fill="white" if bright < LABEL_DARK else "black", font=font)
