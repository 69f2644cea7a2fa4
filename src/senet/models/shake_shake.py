"""CIFAR networks with shake-shake regularisation (Gastaldi, 1705.07485), plain or with SE (Hu et al., 1709.01507v4, Tables 4 and 5)."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from senet.errors import UsageError
from senet.models.residual import ResidualUnit, UnitShape, conv
from senet.models.residual_net import ResidualNet
from senet.models.unit_blocks import UnitBlocks
from senet.ops.tail.layers import Layers
from senet.spec import BlockSpec, block_class, check_choice

RECALIBRATED = {"mixed": ("standard", "post", "identity"), "branches": ("standard",)}
"""What a unit recalibrates, and the placements that this allows."""


def uniform_shares(maps: Tensor) -> Tensor:
    """Draw a share in 0..1 for each image of (N, C, H, W) from torch's global generator: (N, 1, 1, 1)."""
    drawn = torch.rand(len(maps), 1, 1, 1, device=maps.device, dtype=torch.promote_types(maps.dtype, torch.float32))
    return drawn.to(maps.dtype)


def even_shares(maps: Tensor) -> Tensor:
    """Return the share 1/2 for each image of (N, C, H, W): (N, 1, 1, 1)."""
    return maps.new_full((len(maps), 1, 1, 1), 0.5)


SHARES: Mapping[str, Callable[[Tensor], Tensor]] = {"shake": uniform_shares, "even": even_shares}


class Shake(nn.Module):
    """Mixture of two branches in random shares (Gastaldi, 1705.07485, section 2.1; level "image").

    In training an image's output is alpha u1 + (1 - alpha) u2 with alpha ~ U(0, 1), and its gradient flows back in the shares beta and
    1 - beta: "shake" draws beta ~ U(0, 1) independently of alpha, "even" has beta = 1/2. In evaluation the output is the mean.

    Args:
        backward: "shake" or "even".
    """

    def __init__(self, backward: str = "shake") -> None:
        super().__init__()
        check_choice("backward", backward, tuple(SHARES))
        self.backward_shares = backward

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Mix two maps (N, C, H, W) of one shape."""
        if not self.training:
            return (first + second) / 2
        alpha, beta = uniform_shares(first), SHARES[self.backward_shares](first)
        # alpha first + (1 - alpha) second, of which autograd sees the part with beta only
        return torch.lerp(second, first, beta) + ((alpha - beta) * (first - second)).detach()

    def extra_repr(self) -> str:
        """Return the shares of the gradient."""
        return f"backward={self.backward_shares!r}"


class TwoPathShortcut(nn.Module):
    """Projection of a shortcut by two 1x1 convolutions to half the width each: one sees the map, the other the map shifted by one pixel.

    Both take every `stride`-th pixel, and a BN follows their concatenation. The two are the groups of one convolution.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = conv(2 * inputs, outputs, 1, groups=2)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        every = self.stride
        shifted = functional.pad(x, (1, 0, 1, 0))[..., :-1:every, :-1:every]
        return self.bn(self.conv(torch.cat((x[..., ::every, ::every], shifted), 1)))

    def reset_parameters(self) -> None:
        """Draw each of the two convolutions by its own fan-out, as the authors do."""
        for path in self.conv.weight.chunk(2):
            nn.init.kaiming_normal_(path, mode="fan_out", nonlinearity="relu")
        self.bn.reset_parameters()


class ShakeUnit(ResidualUnit):
    """Two branches ReLU-conv-BN-ReLU-conv-BN, mixed and added to the shortcut; no ReLU follows the sum.

    The first ReLU is one for both branches and the projection of the shortcut; a shortcut that does not change carries the raw map.

    Args:
        shape: what the unit maps from and to.
        blocks: which unit gets which block.
        recalibrate: "mixed" = one block on the mixture; "branches" = one block in each branch, before the mixture.
    """

    preactivated = True
    backward_shares = "shake"

    def __init__(self, shape: UnitShape, blocks: UnitBlocks, *, recalibrate: str = "mixed") -> None:
        given = dict.fromkeys(RECALIBRATED, UnitBlocks()) | {recalibrate: blocks}
        super().__init__(shape, given["mixed"])
        self.branch1, self.branch2 = (self.branch(shape, given["branches"]) for _ in range(2))
        self.mix = Shake(self.backward_shares)
        self.downsample = self.shortcut(shape) if shape.changes else None

    def convolutions(self, shape: UnitShape) -> list[nn.Conv2d]:
        """Return the convolutions of one branch."""
        return [conv(shape.inputs, shape.outputs, 3, shape.stride), conv(shape.outputs, shape.outputs, 3)]

    def shortcut(self, shape: UnitShape) -> nn.Module:
        """Return the projection of a shortcut that changes."""
        return TwoPathShortcut(shape.inputs, shape.outputs, shape.stride)

    def branch(self, shape: UnitShape, blocks: UnitBlocks) -> nn.Sequential:
        """Return one branch without its first ReLU: convolutions with BN, ReLU between them, and the branch's own block if any."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, convolution in enumerate(self.convolutions(shape), start=1):
            if number > 1:
                layers[f"relu{number - 1}"] = nn.ReLU()
            layers[f"conv{number}"], layers[f"bn{number}"] = convolution, nn.BatchNorm2d(convolution.out_channels)
        block = blocks.build(shape.stage, shape.index, shape.outputs)
        return Layers(layers if block is None else layers | {"se": block})

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        activated = torch.relu(x) if self.preactivated else x
        mixed = self.mix(self.branch1(activated), self.branch2(activated))
        return self.tail(mixed, x if self.downsample is None else self.downsample(activated))


class EvenUnit(ShakeUnit):
    """Two ResNeXt bottlenecks, mixed and added to the shortcut, then ReLU; a shortcut that changes is a 1x1 convolution with BN.

    The forward shares are drawn, those of the gradient are 1/2.
    """

    expansion = 4
    preactivated = False
    backward_shares = "even"

    def convolutions(self, shape: UnitShape) -> list[nn.Conv2d]:
        """Return the convolutions of one branch."""
        width = shape.width(self.expansion)
        middle = conv(width, width, 3, shape.stride, shape.groups)
        return [conv(shape.inputs, width, 1), middle, conv(width, shape.outputs, 1)]

    def shortcut(self, shape: UnitShape) -> nn.Module:
        """Return the projection of a shortcut that changes."""
        return nn.Sequential(conv(shape.inputs, shape.outputs, 1, shape.stride), nn.BatchNorm2d(shape.outputs))


@dataclass(frozen=True)
class ShakeLayout:
    """Unit that a network repeats, how often in each stage, the channels of its stem and stages, and further fields of the shape."""

    unit: type[ShakeUnit]
    count: int
    stem: int
    outputs: tuple[int, int, int]
    shape: Mapping[str, Any] = field(default_factory=dict)


VARIANTS = {f"shake_shake26_2x{width}d": ShakeLayout(ShakeUnit, 4, 16, (width, 2 * width, 4 * width)) for width in (32, 64, 96)}
EVEN_VARIANTS = {"shake_even29_2x4x64d": ShakeLayout(EvenUnit, 3, 64, (256, 512, 1024), {"groups": 4, "base_width": 64})}


class ShakeShake(ResidualNet):
    """Stem 3x3 with BN, then stages 1-3 of units with two branches.

    The 26-layer networks have one ReLU before the pooling and none behind the stem; the 29-layer network has them behind stem and sums.
    Where SE sits in a unit with two branches is stated nowhere; the default is one block a unit, on the mixture before the sum, which is
    the paper's formulation with the mixture as the residual branch.

    Args:
        layout: the units.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which unit gets which block.
        recalibrate: "mixed" = one block on the mixture of the branches; "branches" = one block in each branch, before the mixture.

    Raises:
        UsageError: for another choice, a placement that the choice does not allow, or CMPE-SE in the branches.
    """

    stage_names = {1: "layer1", 2: "layer2", 3: "layer3"}

    def __init__(self, layout: ShakeLayout, num_classes: int, in_channels: int, blocks: UnitBlocks, *, recalibrate: str = "mixed") -> None:
        super().__init__()
        check_choice("recalibrate", recalibrate, tuple(RECALIBRATED))
        blocks.check(self.stage_names, RECALIBRATED[recalibrate])
        block = blocks.block
        if recalibrate == "branches" and isinstance(block, BlockSpec) and block_class(block.kind).sees_shortcut:
            raise UsageError(f"{block.kind!r} weighs the mixture of the branches against the shortcut: use recalibrate='mixed'")
        self.preactivated = layout.unit.preactivated
        self.conv1 = conv(in_channels, layout.stem, 3)
        self.bn1 = nn.BatchNorm2d(layout.stem)
        unit = partial(layout.unit, recalibrate=recalibrate)
        self.stack(unit, (layout.count,) * 3, layout.stem, layout.outputs, blocks, stride=1, **layout.shape)
        self.fc = nn.Linear(layout.outputs[-1], num_classes)

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, 16 or 64, H, W)."""
        x = self.bn1(self.conv1(x))
        return x if self.preactivated else torch.relu(x)

    def final(self, x: Tensor) -> Tensor:
        """Rectify the last sum of a network whose units do not."""
        return torch.relu(x) if self.preactivated else x
