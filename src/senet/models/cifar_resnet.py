"""CIFAR ResNets of the post-activation form (He et al., 1512.03385, section 4.2): 6n + 2 layers, 16/32/64 channels.

Shortcuts that change shape are 1x1 convolutions with BN (option B), as in pytorchcv's trained networks; the paper's own are parameter-free.
"""

from torch import Tensor, nn

from senet.models.residual import BasicBlock, conv
from senet.models.residual_net import ResidualNet
from senet.models.unit_blocks import UnitBlocks
from senet.ops.tail.call import activated_norm

VARIANTS = {f"cifar_resnet{depth}": (depth - 2) // 6 for depth in (20, 32, 44, 56, 110)}
"""Name -> units in each stage."""


class CifarResNet(ResidualNet):
    """Stem 3x3, then stages 1-3 of basic blocks.

    Args:
        units: units in each stage.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which unit gets which block.
        zero_init_residual: see `ResidualNet`.
    """

    stage_names = {1: "layer1", 2: "layer2", 3: "layer3"}

    def __init__(self, units: int, num_classes: int, in_channels: int, blocks: UnitBlocks, *, zero_init_residual: bool = False) -> None:
        super().__init__(zero_init_residual=zero_init_residual)
        self.conv1 = conv(in_channels, 16, 3)
        self.bn1 = nn.BatchNorm2d(16)
        self.stack(BasicBlock, (units,) * 3, 16, (16, 32, 64), blocks, stride=1)
        self.fc = nn.Linear(64, num_classes)

    def stem(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to (N, 16, H, W)."""
        return activated_norm(self.conv1(x), self.bn1)
