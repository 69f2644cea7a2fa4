"""Layers one after the other; a normalisation and the ReLU behind it are one operator where they can be."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from senet.ops.hooks import has_hooks
from senet.ops.tail.call import activated_norm
from senet.ops.tail.fusible import is_traced
from senet.ops.tail.joint import LAYERS


class RecalibratedReLU(nn.Module):
    """ReLU and the block behind it, the sub-module `se`."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.se = block

    def forward(self, x: Tensor) -> Tensor:
        """Rectify and recalibrate (N, C, H, W)."""
        return self.se(torch.relu(x))


class Layers(nn.Sequential):
    """Sequential that runs `in_order`."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the layers on x."""
        return in_order(self, x)


def in_order(layers: Iterable[nn.Module], x: Any) -> Any:
    """Run layers one after the other on x, as `nn.Sequential` does; see `activated_norm` for BN with a ReLU behind it."""
    norm: nn.Module | None = None  # that has not run yet
    for layer in layers:
        if norm is not None and type(layer) is nn.ReLU:
            x, norm = activated_norm(x, norm, layer), None
        elif norm is not None and type(layer) is RecalibratedReLU and not (has_hooks(layer) or is_traced(x)):
            x, norm = layer.se(activated_norm(x, norm)), None
        else:
            x = x if norm is None else norm(x)
            norm = layer if type(layer) in LAYERS else None
            x = layer(x) if norm is None else x
    return x if norm is None else norm(x)
