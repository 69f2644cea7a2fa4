"""Boxes and scores in float32 where the network computes in half precision, in which pixels beyond 256 (bfloat16) or 2048 are rounded."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

HALF_PRECISION = (torch.bfloat16, torch.float16)


def compute_boxes_exactly(anchors: nn.Module, *heads: nn.Module) -> None:
    """Let anchors, and what heads say of classes and offsets, be float32 where they would have half precision.

    Args:
        anchors: makes the anchors, in the type of the maps that it is given after the images.
        heads: return tensors, or lists and mappings of them.
    """
    anchors.register_forward_pre_hook(_exact_inputs)
    for head in heads:
        head.register_forward_hook(_exact_output)


def autocast_of(images: Tensor) -> AbstractContextManager[Any]:
    """Return autocast in the type of images of half precision, by which exact boxes meet weights of that type."""
    return torch.autocast(images.device.type, images.dtype) if images.dtype in HALF_PRECISION else nullcontext()


def exact(value: Any) -> Any:
    """Return tensors, and lists and mappings of them, in float32 where they have half precision."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in HALF_PRECISION else value
    if isinstance(value, Mapping):
        return {name: exact(one) for name, one in value.items()}
    return type(value)(exact(one) for one in value)


def _exact_inputs(module: nn.Module, inputs: tuple[Any, list[Tensor]]) -> tuple[Any, list[Tensor]]:
    images, maps = inputs
    return images, [one.new_zeros(1, dtype=torch.float32).expand(one.shape) if one.dtype in HALF_PRECISION else one for one in maps]


def _exact_output(module: nn.Module, inputs: Any, output: Any) -> Any:
    return exact(output)
