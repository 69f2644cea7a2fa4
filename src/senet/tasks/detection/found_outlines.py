"""Outlines that a network finds: from probabilities of pixels to run lengths, a few at a time, as each mask is as large as its image."""

import torch
from torch import Tensor
from torch.nn import functional

from senet.data.boxes import Outlines
from senet.data.coco.shapes import mask_shape

MASK_THRESHOLD = 0.5
"""Probability from which on a pixel belongs to an object, as in Mask R-CNN."""

PIXELS_AT_ONCE = 2**24
"""Pixels of masks that are resized at once."""


def found_outlines(masks: Tensor, kept: Tensor, size: tuple[int, int]) -> Outlines:
    """Return outlines in the pixels of an image as it is read.

    Args:
        masks: (n, h, w) probability of each pixel of the image as the network sees it.
        kept: (k,) int64, places of the objects that count, in the order that is wanted.
        size: height and width of the image as it is read.
    """
    at_once = max(1, PIXELS_AT_ONCE // (size[0] * size[1]))
    shapes = []
    for places in kept.split(at_once) if len(kept) else ():
        probable = masks[places].float()
        if probable.shape[1:] != torch.Size(size):
            probable = functional.interpolate(probable[None], size, mode="bilinear")[0]
        shapes += map(mask_shape, (probable >= MASK_THRESHOLD).cpu().numpy())
    return Outlines(tuple(shapes))
