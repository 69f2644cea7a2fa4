"""SD-Net (Roy et al., MICCAI 2017): one wide convolution a block, unpooling by the indices of the maxima."""

from collections.abc import Callable

from torch import Tensor, nn

from senet.models.segmentation.encoder_decoder import Shape
from senet.models.segmentation.segmenter import CONV
from senet.models.segmentation.unet import NORM_LAYERS, odd
from senet.models.segmentation.unpooling_net import UnpoolingNet
from senet.models.unit_blocks import UnitBlocks
from senet.ops.tail.call import recalibrated_norm
from senet.spec import check_choice

VARIANTS = {"sd_net": 2}
"""Name -> sides of an image."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"prelu": nn.PReLU, "relu": nn.ReLU}


class ActivatedConvolution(nn.Module):
    """Convolution, non-linearity and BN, in this order, and the block, `se`, behind them.

    Args:
        inputs: channels of the input.
        width: channels of the output.
        kernel: side of the kernel.
        dims: sides of an image.
        activation: the non-linearity.
        block: the block, or None.
    """

    def __init__(self, inputs: int, width: int, kernel: int, dims: int, activation: nn.Module, block: nn.Module | None) -> None:
        super().__init__()
        self.conv = CONV[dims](inputs, width, kernel, padding=kernel // 2)
        self.activation = activation
        self.norm = NORM_LAYERS["batch"][dims](width)
        self.se = block

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, width, H, W)."""
        x = self.activation(self.conv(x))
        return self.norm(x) if self.se is None else recalibrated_norm(x, self.norm, self.se)


class SDNet(UnpoolingNet):
    """SD-Net of one width. Blocks, pooling and unpooling are those of the authors' code.

    The sources differ in two facts, which are options. Kernels are 7x7 in the scSE paper's neighbour by Baur et al., as here, and 5x5 by
    default in the authors' code; the non-linearity is a PReLU with one slope a block in the authors' code, as here, and a ReLU in Baur et
    al., who pool three times (`depth` 3).

    Args:
        dims: sides of an image.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which stage gets which block.
        width: channels of every map.
        kernel: side of the kernels, odd.
        depth: encoder blocks, and decoder blocks.
        activation: "prelu" or "relu".
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
        kernel: int = 7,
        depth: int = 4,
        activation: str = "prelu",
        dropout: float = 0.0,
    ) -> None:
        check_choice("activation", activation, tuple(ACTIVATIONS))
        kernel = odd("kernel", kernel)

        def make(inputs: int, block: nn.Module | None) -> ActivatedConvolution:
            return ActivatedConvolution(inputs, width, kernel, dims, ACTIVATIONS[activation](), block)

        super().__init__(Shape(dims, width, depth, dropout), num_classes, in_channels, blocks, make)
