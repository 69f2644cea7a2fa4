"""Encoder-decoders whose decoders put every value back where the encoder's maximum stood."""

from collections.abc import Sequence

from torch import Tensor, fx, nn

from senet.models.segmentation.encoder_decoder import EncoderDecoder, Shape, UnitMaker
from senet.models.unit_blocks import UnitBlocks
from senet.ops.unpooling import max_pool, max_unpool

fx.wrap("max_pool")  # one step to those who read the network's forward: it asks the map for its device


class Unpooling(nn.Module):
    """Max-unpooling, see `senet.ops.unpooling`."""

    def forward(self, x: Tensor, size: Sequence[int], indices: Tensor) -> Tensor:
        """Put the values of (N, C, h, w) at their indices in a map of sides `size`."""
        return max_unpool(x, indices, size)


class UnpoolingNet(EncoderDecoder):
    """Encoder-decoder that pools with indices and unpools by them.

    Args:
        shape: dimensions, width, depth and dropout.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which stage gets which block.
        make: makes the unit of a stage.
    """

    def __init__(self, shape: Shape, num_classes: int, in_channels: int, blocks: UnitBlocks, make: UnitMaker) -> None:
        super().__init__(shape, num_classes, in_channels, blocks, make, Unpooling)

    def pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Halve a map; return its maxima and where they stood."""
        maxima, indices = max_pool(x)
        return maxima, indices
