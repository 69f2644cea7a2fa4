"""Fully convolutional DenseNet in the form of the scSE paper's authors (AI-Med's QuickNAT blocks; Jegou et al., 1611.09326)."""

import torch
from torch import Tensor, nn

from senet.models.segmentation.encoder_decoder import Shape
from senet.models.segmentation.segmenter import CONV
from senet.models.segmentation.unet import NORM_LAYERS, odd
from senet.models.segmentation.unpooling_net import UnpoolingNet
from senet.models.unit_blocks import UnitBlocks
from senet.spec import check_positive

VARIANTS = {"fc_densenet": 2}
"""Name -> sides of an image."""


class DenseBlock(nn.Module):
    """Convolutions that each see the input and all maps before them, behind BN and one PReLU that all share; the block, `se`, comes last.

    The last convolution is 1x1 and joins the maps to `width` channels.

    Args:
        inputs: channels of the input.
        width: channels that every convolution gives.
        kernels: sides of the kernels.
        dims: sides of an image.
        block: the block, or None.
    """

    def __init__(self, inputs: int, width: int, kernels: tuple[int, ...], dims: int, block: nn.Module | None) -> None:
        super().__init__()
        self.activation = nn.PReLU()
        self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
        for index, kernel in enumerate(kernels):
            channels = inputs + index * width
            self.norms.append(NORM_LAYERS["batch"][dims](channels))
            self.convs.append(CONV[dims](channels, width, kernel, padding=kernel // 2))
        self.se = block

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, width, H, W)."""
        seen = [x]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            seen.append(conv(self.activation(norm(torch.cat([entry.to(seen[-1].dtype) for entry in seen], 1)))))
        return seen[-1] if self.se is None else self.se(seen[-1])


class FCDenseNet(UnpoolingNet):
    """Dense blocks of one width: two 5x5 convolutions, and a 1x1 that joins their maps.

    Args:
        dims: sides of an image.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which stage gets which block.
        width: channels of every map.
        kernel: side of the kernels, odd.
        convs: convolutions of a block before the 1x1.
        depth: encoder blocks, and decoder blocks.
        dropout: see `Shape`.

    Raises:
        UsageError: for an even kernel, or what else is none of these.
    """

    def __init__(
        self,
        dims: int,
        num_classes: int,
        in_channels: int,
        blocks: UnitBlocks,
        *,
        width: int = 64,
        kernel: int = 5,
        convs: int = 2,
        depth: int = 4,
        dropout: float = 0.0,
    ) -> None:
        kernels = (*[odd("kernel", kernel)] * check_positive("convs", convs), 1)

        def make(inputs: int, block: nn.Module | None) -> DenseBlock:
            return DenseBlock(inputs, width, kernels, dims, block)

        super().__init__(Shape(dims, width, depth, dropout), num_classes, in_channels, blocks, make)
