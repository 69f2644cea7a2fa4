"""CIFAR networks of the pre-activation form: ResNets (He et al., 1603.05027) and Wide ResNets (Zagoruyko and Komodakis, 1605.07146)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor, nn

from senet.models.residual import PreactivatedBasicBlock, PreactivatedBottleneck, PreactivatedStage, ResidualUnit, conv, through
from senet.models.residual_net import ResidualNet
from senet.models.unit_blocks import UnitBlocks
from senet.ops.hooks import has_hooks
from senet.ops.tail.call import activated_norm
from senet.ops.tail.fusible import is_traced
from senet.spec import check_choice

FIRST_SHORTCUTS = ("activated", "raw")


@dataclass(frozen=True)
class PreResNetLayout:
    """Unit that a network repeats, how often in each stage, the width of its 3x3 convolutions, and how these are initialised.

    `block_options` are the family's values for options that a block leaves None.
    """

    unit: type[ResidualUnit]
    count: int
    widths: tuple[int, int, int] = (16, 32, 64)
    conv_init: Literal["fan_in", "fan_out"] = "fan_out"
    block_options: Mapping[str, Any] = field(default_factory=dict)


def wide(depth: int, factor: int) -> PreResNetLayout:
    """Return the layout of WRN-depth-factor: (depth - 4) / 6 units a stage, `factor` times as wide, drawn by fan-in as the authors do.

    CMPE-SE's code folds the channels of a WRN to as many rows as it is wide, and those of a ResNet to the block's own 16 columns.
    """
    widths = (16 * factor, 32 * factor, 64 * factor)
    return PreResNetLayout(PreactivatedBasicBlock, (depth - 4) // 6, widths, "fan_in", {"fold": "rows", "fold_size": factor})


VARIANTS = {
    **{f"preresnet{depth}": PreResNetLayout(PreactivatedBasicBlock, (depth - 2) // 6) for depth in (20, 32, 44, 56, 110)},
    "preresnet164": PreResNetLayout(PreactivatedBottleneck, 18),
    "wrn16_8": wide(16, 8),
    "wrn22_10": wide(22, 10),
    "wrn28_10": wide(28, 10),
}


class PreResNet(ResidualNet):
    """Stem 3x3, stages 1-3 of pre-activation units, then BN-ReLU.

    Args:
        layout: the units.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which unit gets which block.
        v1_5: bottlenecks stride in the 3x3 convolution (pytorchcv, CMPE-SE's code) instead of the first 1x1 (the authors' code).
        first_shortcut: where the first unit's shortcut is the identity, it carries the "activated" map (He et al., appendix; networks of
            up to 110 layers) or the "raw" one (pytorchcv). Wide and bottleneck networks project there, and ignore it.
        input_bn: normalise the images by a BN without gamma and beta, as CMPE-SE's code does.
        stem_bn: a BN, without ReLU, after the stem's convolution, as in the Wide ResNets of CMPE-SE's code.
        zero_init_residual: see `ResidualNet`.
    """

    stage_names = {1: "layer1", 2: "layer2", 3: "layer3"}
    stage_type = PreactivatedStage

    def __init__(
        self,
        layout: PreResNetLayout,
        num_classes: int,
        in_channels: int,
        blocks: UnitBlocks,
        *,
        v1_5: bool = False,
        first_shortcut: str = "activated",
        input_bn: bool = False,
        stem_bn: bool = False,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__(zero_init_residual=zero_init_residual)
        check_choice("first_shortcut", first_shortcut, FIRST_SHORTCUTS)
        self.conv_init = layout.conv_init
        self.bn0 = nn.BatchNorm2d(in_channels, affine=False) if input_bn else None
        self.conv1 = conv(in_channels, 16, 3)
        self.bn1 = nn.BatchNorm2d(16) if stem_bn else None
        outputs = [width * layout.unit.expansion for width in layout.widths]
        shared = first_shortcut == "activated"
        blocks = replace(blocks, defaults=layout.block_options)
        self.stack(layout.unit, (layout.count,) * 3, 16, outputs, blocks, stride=1, v1_5=v1_5, shared_activation=shared)
        self.bn = nn.BatchNorm2d(outputs[-1])
        self.fc = nn.Linear(outputs[-1], num_classes)

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, 16, H, W)."""
        x = self.conv1(x if self.bn0 is None else self.bn0(x))
        return x if self.bn1 is None else self.bn1(x)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to the last map (N, C, h, w); stages hand on their sum as units do, to the last BN too."""
        x = self.stem(x)
        units: list[nn.Module] = []
        for stage in self.stages.values():
            units += [stage] if is_traced(x) or type(stage) is not PreactivatedStage or has_hooks(stage) else list(stage)
        carry = through(units, x, self.bn)
        return self.final(carry.total) if carry.activated is None else carry.activated

    def final(self, x: Tensor) -> Tensor:
        """Normalise and rectify the last sum."""
        return activated_norm(x, self.bn)
