"""MobileNet v1 (Howard et al., 1704.04861), plain or with SE behind every pointwise convolution."""

from collections.abc import Sequence

from torch import Tensor, nn

from senet.models.classifier import Classifier
from senet.models.residual import conv
from senet.models.unit_blocks import UnitBlocks
from senet.ops.tail.call import activated_norm

VARIANTS = {"mobilenet": ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))}
"""Name -> (channels, units) of each of the stages 1-5."""

STEM_WIDTH = 32


class DepthwiseSeparable(nn.Module):
    """Depthwise 3x3 and pointwise convolution, each with BN and ReLU; the block, `se`, comes last.

    The paper on SE does not say where its block sits. Behind the pointwise convolutions it has the parameters and the operations that
    the paper prints (1709.01507v4, Table 3).

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the depthwise convolution.
        block: the block, or None.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, block: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = conv(inputs, inputs, 3, stride, groups=inputs)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = conv(inputs, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.se = block

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        x = activated_norm(self.conv1(x), self.bn1)
        x = activated_norm(self.conv2(x), self.bn2)
        return x if self.se is None else self.se(x)


class MobileNet(Classifier):
    """MobileNet of width 1: stem 3x3/2 with 32 channels, stages 1-5 of depthwise-separable convolutions; each but the first halves H and W.

    Args:
        layout: channels and units of each stage.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which unit gets which block.
        dropout: see `Classifier`.
    """

    stage_names = {stage: f"layer{stage}" for stage in range(1, 6)}
    conv_init = "fan_in"  # the fan-out that torch computes ignores groups

    def __init__(
        self,
        layout: Sequence[tuple[int, int]],
        num_classes: int,
        in_channels: int,
        blocks: UnitBlocks,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dropout=dropout)
        blocks.check(self.stage_names, ("standard",))
        self.conv1 = conv(in_channels, STEM_WIDTH, 3, 2)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.feature_info = []
        inputs = STEM_WIDTH
        for (stage, name), (channels, count) in zip(self.stage_names.items(), layout, strict=True):
            stride = 1 if stage == 1 else 2
            built = [blocks.build(stage, index, channels) for index in range(1, count + 1)]
            first = DepthwiseSeparable(inputs, channels, stride, built[0])
            self.add_module(name, nn.Sequential(first, *(DepthwiseSeparable(channels, channels, 1, block) for block in built[1:])))
            self.feature_info.append({"channels": channels, "stride": 2**stage})
            inputs = channels
        self.fc = nn.Linear(inputs, num_classes)

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, 32, H / 2, W / 2)."""
        return activated_norm(self.conv1(x), self.bn1)
