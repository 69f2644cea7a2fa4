"""A network without some of its channels, the slow way: every layer of the whole network is shown zeros in their place."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import senet


def masked_output(model: nn.Module, kept: Mapping[str, Mapping[str, list[int]]], images: Tensor) -> Any:
    """Return what a network makes of images if its layers see only some of their inputs, by operations one by one.

    Args:
        model: the whole network.
        kept: path of a layer -> "inputs" -> the channels that it sees; of others it sees all.
        images: a batch, (N, C, H, W).
    """

    def hidden(channels: list[int]) -> Any:
        def hide(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x = inputs[0]
            dim = x.ndim - 1 if isinstance(layer, nn.Linear) else 1
            mask = torch.zeros(x.shape[dim], dtype=x.dtype)
            mask[channels] = 1
            return (x * mask.view([-1 if axis == dim else 1 for axis in range(x.ndim)]), *inputs[1:])

        return hide

    handles = [
        model.get_submodule(path).register_forward_pre_hook(hidden(sides["inputs"])) for path, sides in kept.items() if "inputs" in sides
    ]
    try:
        with senet.backend("reference"), torch.no_grad():
            return model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()


def shake_(model: nn.Module) -> nn.Module:
    """Give the normalisations of a network numbers as training leaves them: none is zero, and no two channels are alike."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                for tensor, low, high in (
                    (module.weight, 0.5, 1.5),
                    (module.bias, -0.5, 0.5),
                    (module.running_mean, -0.3, 0.3),
                    (module.running_var, 0.5, 2.0),
                ):
                    if tensor is not None:
                        tensor.uniform_(low, high, generator=generator)
    return model
