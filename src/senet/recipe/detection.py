"""What a recipe says of detection alone: the sizes of images, augmentation that moves boxes, and which detections count."""

from dataclasses import dataclass

from senet.errors import UsageError

MOST_PIXELS = 2**14
"""Pixels of the longest side that an image may be resized to."""


@dataclass(frozen=True)
class DetectionRecipe:
    """Sizes of images, augmentation that moves boxes, and which detections count; no other task reads it.

    Args:
        shorter_sides: pixels to which the shorter side of a training image is resized, one of them drawn for each image.
        longest_side: pixels that the longer side has at most; where it would have more, the shorter side is shorter.
        eval_shorter_side: pixels of the shorter side in evaluation and prediction; null = the largest of shorter_sides.
        crop_share: smallest share of each side that a random crop of a training image keeps; 1 = no crop.
        photometric: largest relative change of the brightness, the contrast and the saturation of a training image.
        outlines: give the network the outlines of objects as pixels, which mask_rcnn learns, and judge those that it finds.
        score_threshold: least score of a detection that counts.
        max_detections: most detections of an image that count, those with the highest scores.
        shown_score: least score of a detection that pictures and sentences show.
    """

    shorter_sides: tuple[int, ...] = (800,)
    longest_side: int = 1333
    eval_shorter_side: int | None = None
    crop_share: float = 1.0
    photometric: float = 0.0
    outlines: bool = False
    score_threshold: float = 0.05
    max_detections: int = 100
    shown_score: float = 0.5

    def __post_init__(self) -> None:
        if not self.shorter_sides or not all(1 <= side <= MOST_PIXELS for side in self.shorter_sides):
            raise UsageError(
                f"detection.shorter_sides must be one or several numbers of pixels from 1 to {MOST_PIXELS}, got {list(self.shorter_sides)}"
            )

    @property
    def shorter_side(self) -> int:
        """Pixels of the shorter side in evaluation."""
        return self.eval_shorter_side or max(self.shorter_sides)
