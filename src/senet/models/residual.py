"""Residual units of the post-activation and the pre-activation form, plain and recalibrated."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from senet.models.unit_blocks import UnitBlocks
from senet.ops.hooks import has_hooks
from senet.ops.tail.call import activated_norm, preactivated_tail, residual_tail
from senet.ops.tail.fusible import gates_channels, is_traced

JOINED = ("standard", "pre", "inner")
"""Placements behind whose tail nothing acts on the sum."""


@dataclass(frozen=True)
class UnitShape:
    """Widths, strides and forms of one unit.

    Args:
        stage: stage in the paper's numbering.
        index: place in the stage, from 1.
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the unit.
        v1_5: a bottleneck strides in its 3x3 convolution, not in its first 1x1 (torchvision's form; the papers' is False).
        shared_activation: a pre-activation unit hands its first BN-ReLU to the shortcut too, even where the shortcut is the identity.
        groups: groups of a bottleneck's 3x3 convolution (ResNeXt).
        base_width: channels of each group where an ungrouped bottleneck has 64.
        halved: a bottleneck's first 1x1 is half as wide as its 3x3 (SENet-154).
        projection_3x3: a projection that strides is a 3x3 convolution (SENet-154).
    """

    stage: int
    index: int
    inputs: int
    outputs: int
    stride: int = 1
    v1_5: bool = False
    shared_activation: bool = False
    groups: int = 1
    base_width: int = 64
    halved: bool = False
    projection_3x3: bool = False

    def width(self, expansion: int) -> int:
        """Return the channels of the 3x3 convolutions of a unit that widens them by `expansion`."""
        return self.outputs // expansion * self.base_width // 64 * self.groups

    @property
    def bottleneck_strides(self) -> tuple[int, int]:
        """Strides of a bottleneck's first 1x1 and of its 3x3 convolution."""
        return (1, self.stride) if self.v1_5 else (self.stride, 1)

    @property
    def changes(self) -> bool:
        """Whether the shortcut needs a projection."""
        return self.stride != 1 or self.inputs != self.outputs


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps H and W at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


class ResidualUnit(nn.Module):
    """Unit with its block and its shortcut; the forms below add their branch.

    The block is the sub-module `se`; a plain unit has none. `downsample` is the projection, or None.
    """

    expansion = 1
    """Channels of the output over channels of the 3x3 convolutions."""
    preactivated = False
    """Whether BN and ReLU come before the convolutions, so that nothing follows the sum."""
    last = ""
    """Name of the module whose weight scales the whole branch."""

    def __init__(self, shape: UnitShape, blocks: UnitBlocks) -> None:
        super().__init__()
        self.placement = blocks.placement
        channels = {"pre": shape.inputs, "inner": shape.width(self.expansion)}.get(self.placement, shape.outputs)
        maps = max(1, shape.outputs // self.expansion // 16)  # the authors of CMPE-SE count by the width of an ungrouped 3x3
        self.se: Any = blocks.build(shape.stage, shape.index, channels, residual=True, maps=maps)
        self.sees_shortcut = self.se is not None and self.se.sees_shortcut

    def recalibrate(self, placement: str, x: Tensor) -> Tensor:
        """Apply the block here if this is its placement."""
        return self.se(x) if self.se is not None and self.placement == placement else x

    def tail(self, branch: Tensor, shortcut: Tensor, **norms: nn.Module) -> Tensor:
        """Join branch and shortcut; see `residual_tail`."""
        pairwise = self.se is not None and self.sees_shortcut
        relu = not self.preactivated
        return residual_tail(branch, shortcut, recalibrate=self.se, pairwise=pairwise, placement=self.placement, relu=relu, **norms)

    def zero_branch(self) -> None:
        """Zero the weight that scales the branch, so that the unit starts as its shortcut."""
        nn.init.zeros_(self.get_submodule(self.last).get_parameter("weight"))


class BasicBlock(ResidualUnit):
    """Two 3x3 convolutions (He et al., 1512.03385): conv-BN-ReLU-conv-BN, add, ReLU."""

    last = "bn2"

    def __init__(self, shape: UnitShape, blocks: UnitBlocks) -> None:
        super().__init__(shape, blocks)
        self.conv1 = conv(shape.inputs, shape.outputs, 3, shape.stride)
        self.bn1 = nn.BatchNorm2d(shape.outputs)
        self.conv2 = conv(shape.outputs, shape.outputs, 3)
        self.bn2 = nn.BatchNorm2d(shape.outputs)
        self.downsample = projection(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        u = activated_norm(self.conv1(self.recalibrate("pre", x)), self.bn1)
        u = self.conv2(self.recalibrate("inner", u))
        if self.downsample is None:
            return self.tail(u, x, norm=self.bn2)
        return self.tail(u, self.downsample[0](x), norm=self.bn2, shortcut_norm=self.downsample[1])


class Bottleneck(ResidualUnit):
    """1x1, 3x3 and 1x1 convolutions (He et al., 1512.03385), each with BN; ReLU after the first two and after the sum.

    With groups it is the unit of ResNeXt (Xie et al., 1611.05431), which strides in the 3x3; with `halved` and `projection_3x3` that of
    SENet-154 (Hu et al., 1709.01507, appendix).
    """

    expansion = 4
    last = "bn3"

    def __init__(self, shape: UnitShape, blocks: UnitBlocks) -> None:
        super().__init__(shape, blocks)
        width = shape.width(self.expansion)
        narrow = width // 2 if shape.halved else width
        first, second = shape.bottleneck_strides
        self.conv1 = conv(shape.inputs, narrow, 1, first)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv2 = conv(narrow, width, 3, second, shape.groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, shape.outputs, 1)
        self.bn3 = nn.BatchNorm2d(shape.outputs)
        self.downsample = projection(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        u = activated_norm(self.conv1(self.recalibrate("pre", x)), self.bn1)
        u = activated_norm(self.conv2(u), self.bn2)
        u = self.conv3(self.recalibrate("inner", u))
        if self.downsample is None:
            return self.tail(u, x, norm=self.bn3)
        return self.tail(u, self.downsample[0](x), norm=self.bn3, shortcut_norm=self.downsample[1])


class PreactivatedUnit(ResidualUnit):
    """Unit of the pre-activation form (He et al., 1603.05027): BN-ReLU before each convolution.

    Where the shape changes, the first BN-ReLU is shared with the projection, a convolution without BN. Both paths then start from the
    activated map, so x' + F(SE(x)), placement "pre", holds with x that map.
    """

    preactivated = True

    def __init__(self, shape: UnitShape, blocks: UnitBlocks) -> None:
        super().__init__(shape, blocks)
        self.shared_activation = shape.changes or shape.shared_activation
        self.bn1 = nn.BatchNorm2d(shape.inputs)
        self.downsample = conv(shape.inputs, shape.outputs, 1, shape.stride) if shape.changes else None

    @abstractmethod
    def branch(self, activated: Tensor) -> Tensor:
        """Map the activated input through the convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.advance(Carry(x)).total

    @property
    def entry(self) -> nn.Module | None:
        """The normalisation that the input meets first; None if something stands before it, or hooks must see the input."""
        between = self.placement == "pre" and self.se is not None and not self.shared_activation
        return None if between or has_hooks(self) else self.bn1

    @property
    def may_normalise(self) -> bool:
        """Whether the unit may normalise its sum for what follows: no more than gates of channels come before it, and no hook sees it."""
        taken = self.final_block is None or gates_channels(self.final_block)
        return taken and (self.se is None or self.placement in JOINED) and not has_hooks(self)

    @property
    def final_block(self) -> Any:
        """The block that the branch ends in, if it does."""
        return self.se if self.placement == "standard" else None

    def advance(self, carry: "Carry", entry: nn.Module | None = None) -> "Carry":
        """Return what `forward` does, and if the entry of what follows is given, the sum normalised by it and rectified."""
        x, activated = carry.total, carry.activated
        if self.shared_activation:
            x = activated_norm(x, self.bn1) if activated is None else activated
            u = self.recalibrate("pre", x)
        else:
            u = activated_norm(self.recalibrate("pre", x), self.bn1) if activated is None else activated
        branch, shortcut = self.branch(u), x if self.downsample is None else self.downsample(x)
        if entry is None:
            return Carry(self.tail(branch, shortcut))
        return Carry(*preactivated_tail(branch, shortcut, recalibrate=self.final_block, norm=entry))


@dataclass(frozen=True)
class Carry:
    """Maps that a pre-activation unit hands to the next one.

    Args:
        total: the sum of branch and shortcut, (N, C, H, W).
        activated: the sum, normalised by the entry of what follows and rectified; None = that follows.
    """

    total: Tensor
    activated: Tensor | None = None


class PreactivatedStage(nn.Sequential):
    """Units of a stage; each computes the BN and ReLU of the next one as it adds, where that is one operator."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return through(list(self), x).total


def through(units: Sequence[nn.Module], x: Tensor, last: nn.Module | None = None) -> Carry:
    """Map x (N, inputs, H, W) through modules, one after the other.

    Args:
        units: each that is a `PreactivatedUnit` computes the BN and ReLU of the next one as it adds, where that is one operator.
        x: their input.
        last: a normalisation, with a ReLU behind it, that follows the last unit; it may come out with that in `Carry.activated`.
    """
    whole = not is_traced(x)
    carry = Carry(x)
    entries = [unit.entry if isinstance(unit, PreactivatedUnit) else None for unit in units[1:]]
    for unit, entry in zip(units, [*entries, last], strict=True):
        joined = isinstance(unit, PreactivatedUnit) and unit.may_normalise and whole
        following = entry if joined else None
        if isinstance(unit, PreactivatedUnit) and (following is not None or carry.activated is not None):
            carry = unit.advance(carry, following)
        else:
            carry = Carry(unit(carry.total))
    return carry


class PreactivatedBasicBlock(PreactivatedUnit):
    """Two 3x3 convolutions; the unit of pre-activation ResNets up to 110 layers and of Wide ResNets (1605.07146)."""

    last = "conv2"

    def __init__(self, shape: UnitShape, blocks: UnitBlocks) -> None:
        super().__init__(shape, blocks)
        self.conv1 = conv(shape.inputs, shape.outputs, 3, shape.stride)
        self.bn2 = nn.BatchNorm2d(shape.outputs)
        self.conv2 = conv(shape.outputs, shape.outputs, 3)

    def branch(self, activated: Tensor) -> Tensor:
        """Map the activated input through the convolutions."""
        u = self.recalibrate("inner", self.conv1(activated))
        return self.conv2(activated_norm(u, self.bn2))


class PreactivatedBottleneck(PreactivatedUnit):
    """1x1, 3x3 and 1x1 convolutions; the unit of the pre-activation ResNet-164."""

    expansion = 4
    last = "conv3"

    def __init__(self, shape: UnitShape, blocks: UnitBlocks) -> None:
        super().__init__(shape, blocks)
        width = shape.outputs // self.expansion
        first, second = shape.bottleneck_strides
        self.conv1 = conv(shape.inputs, width, 1, first)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, second)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, shape.outputs, 1)

    def branch(self, activated: Tensor) -> Tensor:
        """Map the activated input through the convolutions."""
        u = activated_norm(self.conv1(activated), self.bn2)
        u = self.recalibrate("inner", self.conv2(u))
        return self.conv3(activated_norm(u, self.bn3))


def projection(shape: UnitShape) -> nn.Sequential | None:
    """Return the convolution and BN of a shortcut whose shape changes, else None."""
    if not shape.changes:
        return None
    kernel = 3 if shape.projection_3x3 and shape.stride != 1 else 1
    return nn.Sequential(conv(shape.inputs, shape.outputs, kernel, shape.stride), nn.BatchNorm2d(shape.outputs))
