"""What the Inceptions are made of: convolutions with BN and ReLU, and branches whose maps are concatenated and recalibrated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from senet.ops.tail.call import activated_norm

AVERAGE = partial(nn.AvgPool2d, 3, stride=1, padding=1)
"""Makes a 3x3 average-pool that keeps the resolution; zeros of the padding count, unless asked otherwise."""


@dataclass(frozen=True)
class Conv:
    """Shape of one convolution.

    Args:
        outputs: channels of its map.
        kernel: side of the kernel, or its height and width.
        stride: stride in both directions.
        valid: no padding; else H and W are kept at stride 1.
    """

    outputs: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    valid: bool = False

    @property
    def padding(self) -> tuple[int, int]:
        """Padding above and below, left and right."""
        height, width = (self.kernel, self.kernel) if isinstance(self.kernel, int) else self.kernel
        return (0, 0) if self.valid else (height // 2, width // 2)


BranchLayer = Conv | Callable[[], nn.Module]
"""A convolution with BN and ReLU, or what makes a layer that keeps the channels (a pool)."""

Branches = Mapping[str, Sequence[BranchLayer]]
"""Name -> layers of each branch, in the order of concatenation."""


class ConvUnit(nn.Module):
    """Convolution without bias, BN and ReLU: (N, inputs, H, W) -> (N, outputs, H', W').

    Args:
        inputs: channels of the input.
        shape: the convolution.
        eps: epsilon of the BN.
    """

    def __init__(self, inputs: int, shape: Conv, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, shape.outputs, shape.kernel, shape.stride, shape.padding, bias=False)
        self.bn = nn.BatchNorm2d(shape.outputs, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W')."""
        return activated_norm(self.conv(x), self.bn)


class InceptionModule(nn.Module):
    """Parallel branches whose concatenated maps are recalibrated (Hu et al., 1709.01507, Figure 2).

    The block is the sub-module `se`; a plain module has none.

    Args:
        inputs: channels of the input.
        branches: the branches.
        build: makes the block for that many channels, or None.
        eps: epsilon of the BNs.

    Attributes:
        outputs: channels of the concatenated map.
    """

    def __init__(self, inputs: int, branches: Branches, build: Callable[[int], nn.Module | None], *, eps: float = 1e-5) -> None:
        super().__init__()
        self.branches, self.outputs = parallel(inputs, branches, eps=eps)
        self.se = build(self.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W')."""
        u = concatenated(self.branches, x)
        return u if self.se is None else self.se(u)


def parallel(inputs: int, branches: Branches, *, eps: float) -> tuple[nn.ModuleDict, int]:
    """Build branches side by side, and return them with the channels of their maps together."""
    built, total = nn.ModuleDict(), 0
    for name, layers in branches.items():
        built[name], outputs = sequential(inputs, layers, eps=eps)
        total += outputs
    return built, total


def sequential(inputs: int, layers: Sequence[BranchLayer], *, eps: float) -> tuple[nn.Sequential, int]:
    """Build layers one after the other, and return them with the channels of the last map."""
    built = nn.Sequential()
    for layer in layers:
        built.append(ConvUnit(inputs, layer, eps=eps) if isinstance(layer, Conv) else layer())
        inputs = layer.outputs if isinstance(layer, Conv) else inputs
    return built, inputs


def concatenated(branches: nn.ModuleDict, x: Tensor) -> Tensor:
    """Run all branches on x and concatenate their maps along the channels."""
    return torch.cat([branch(x) for branch in branches.values()], 1)
