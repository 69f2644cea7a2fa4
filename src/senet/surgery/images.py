"""Images that a network may take, guessed from what it declares and from its first convolution."""

import torch
from torch import Tensor, nn

from senet.surgery.roles import CONVS

SIDES = (512, 224, 299, 64)
"""Sides of the images tried first; large ones ahead, where the strides show exactly."""

SMALL_SIDES = (64, 128, 224, 299, 512)
"""Sides tried first where real numbers are computed."""

OTHER_SIDES = (
    *(256, 384, 32, 28, 96, 128, 192, 160, 320, 448, 518, 336, 16, 48, 80, 84, 100, 112, 144, 150, 200, 227, 229, 240, 260, 280, 288),
    *(300, 331, 352, 360, 380, 400, 416, 456, 480, 528, 572, 576, 600, 608, 640, 768, 800, 1024, 1280, 8),
)
"""Sides tried where a network refuses those: one with a fixed size takes one only."""

SIGNAL_LENGTHS = (8000, 16000, 1000, 1024, 2048, 4096, 8192, 22050, 32000, 44100, 48000)
"""Lengths of signals tried beside them."""

CUBE_SIDES = (64, 32, 16, 96, 128, 24, 48, 80, 112, 8)
"""Sides of volumes tried."""


def images(model: nn.Module, *, small: bool, others: bool = False) -> list[tuple[Tensor]]:
    """Return batches of two images without numbers, most likely ones first; none if nothing tells what the network takes.

    Args:
        model: the network.
        small: small images first, for runs that follow with real numbers.
        others: the sizes that are tried when all usual ones are refused.
    """
    declared = getattr(model, "input_size", None) or (getattr(model, "pretrained_cfg", None) or {}).get("input_size")
    conv = next((module for module in model.modules() if isinstance(module, CONVS)), None)
    if conv is None:
        return []
    dimensions = len(conv.kernel_size)
    channels = declared[0] if declared else conv.in_channels
    if dimensions == 3:
        sides = CUBE_SIDES[2:] if others else CUBE_SIDES[:2]
    elif others:
        sides = OTHER_SIDES + (SIGNAL_LENGTHS if dimensions == 1 else ())
    else:
        sides = SMALL_SIDES if small else SIDES
    shapes = [(2, channels) + (side,) * dimensions for side in sides]
    if declared and dimensions < 3 and not others:
        shapes.insert(0 if small else len(shapes), (2, *declared))
    return [(torch.empty(shape, dtype=conv.weight.dtype, device="meta"),) for shape in shapes]
