"""A single image with its mask and what networks predict of it: a score, and pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from senet.data.masks import IGNORE
from senet.data.preview import preview
from senet.tasks.segmentation.colours import ERRORS, mask_errors
from senet.tasks.segmentation.confusion import confusion, dice_of, known_mean
from senet.tasks.segmentation.evaluator import judged_classes, overlaps
from senet.tasks.segmentation.prediction import PredictedMask
from senet.tasks.task import ImagePictures


def image_dice(logs: Tensor, mask: Tensor, classes: Sequence[str]) -> float:
    """Return the Dice of one image in percent: the mean over the judged classes that are in its mask or predicted; NaN of none.

    Args:
        logs: (K, H, W) log-probabilities, (K, D, H, W) of a volume.
        mask: (H, W) or (D, H, W) uint8 classes; ignored pixels do not count.
        classes: names of the K classes.
    """
    pixels = confusion(mask.cpu().numpy(), logs.argmax(0).cpu().numpy(), len(classes))
    return known_mean(dice_of(*overlaps(pixels))[judged_classes(classes)])


def mask_pictures(image: Any, mask: np.ndarray, predictions: Sequence[PredictedMask], classes: Sequence[str], side: int) -> ImagePictures:
    """Return the image and its mask over it, and of each network its mask over the image and where that is wrong.

    Of a volume, the slice is shown that has the most pixels of objects.

    Args:
        image: what a set of images reads.
        mask: (H, W) or (D, H, W) uint8, the truth.
        predictions: one a network, of the mask's shape.
        classes: names of the classes.
        side: pixels of the longest side that the pictures have at most.
    """
    note, background = "", next((index for index in range(len(classes)) if index not in judged_classes(classes)), None)
    masks = [mask, *(prediction.mask for prediction in predictions)]
    if mask.ndim == 3:
        place = int(((mask != background) & (mask != IGNORE)).sum((1, 2)).argmax())
        image, masks, note = image[place], [each[place] for each in masks], f"slice {place + 1} of {len(mask)}"
    picture = preview(image, side)
    truth, *found = [_sized(each, picture) for each in masks]
    drawn = [PredictedMask(each, classes, predictions[0].palette) for each in (truth, *found)]
    colours = dict(zip(classes, drawn[0].colours, strict=False))
    there = np.unique(np.stack([truth, *found]))
    legend = {name: colour for index, (name, colour) in enumerate(colours.items()) if index in there and any(colour)}
    possible = list(ERRORS)[background is None and 2 : None if len(judged_classes(classes)) > 1 else 2]
    return ImagePictures(
        {"image": picture, "truth": drawn[0].draw(picture)},
        [{"prediction": one.draw(picture), "difference": mask_errors(picture, truth, one.mask, background)} for one in drawn[1:]],
        legend | {name: ERRORS[name] for name in possible},
        note,
    )


def _sized(mask: np.ndarray, picture: Image.Image) -> np.ndarray:
    """Return a mask of a picture's size, each pixel that of the place it shows."""
    return np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
