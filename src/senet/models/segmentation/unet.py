"""U-Net (Ronneberger et al., 1505.04597) in the form of the scSE paper (1803.02579), plain or recalibrated behind every block."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, fx, nn

from senet.errors import UsageError
from senet.models.segmentation.encoder_decoder import EncoderDecoder, Shape
from senet.models.segmentation.enlarging import WAYS_UP, Interpolation, UpConvolution
from senet.models.segmentation.segmenter import CONV
from senet.models.unit_blocks import UnitBlocks
from senet.ops.tail.layers import Layers
from senet.ops.unpooling import max_pool
from senet.spec import check_choice, check_positive

fx.wrap("max_pool")  # one step to those who read the network's forward: it asks the map for its device

VARIANTS = {"unet": 2}
"""Name -> sides of an image."""

VOLUME_VARIANTS = {"unet3d": 3}
"""As `VARIANTS`, for volumes."""

NORM_LAYERS: dict[str, dict[int, Callable[[int], nn.Module]]] = {
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {
        2: lambda channels: nn.InstanceNorm2d(channels, affine=True),
        3: lambda channels: nn.InstanceNorm3d(channels, affine=True),
    },
}
"""Normalisation -> sides of an image -> its layer."""


@dataclass(frozen=True)
class Convolutions:
    """Convolutions of a block, each with its norm, if any, and a ReLU.

    Args:
        dims: sides of an image.
        kernel: side of the kernels, odd.
        count: how many there are.
        norm: "batch", "instance" or None.
        bias: whether they have biases.

    Raises:
        UsageError: for an even kernel, a count below 1, or another norm.
    """

    dims: int
    kernel: int
    count: int
    norm: str | None
    bias: bool = True

    def __post_init__(self) -> None:
        if self.norm is not None:
            check_choice("norm", self.norm, tuple(NORM_LAYERS))
        object.__setattr__(self, "kernel", odd("kernel", self.kernel))
        object.__setattr__(self, "count", check_positive("convs", self.count))

    def norms(self, width: int) -> list[nn.Module]:
        """Return the norm of a map of `width` channels, if there is one."""
        return [] if self.norm is None else [NORM_LAYERS[self.norm][self.dims](width)]

    def layers(self, inputs: int, width: int) -> list[nn.Module]:
        """Return the layers of a block that maps `inputs` channels to `width`."""
        layers: list[nn.Module] = []
        for channels in (inputs, *[width] * (self.count - 1)):
            conv = CONV[self.dims](channels, width, self.kernel, padding=self.kernel // 2, bias=self.bias)
            layers += [conv, *self.norms(width), nn.ReLU()]
        return layers


class ConvolutionBlock(nn.Module):
    """Convolutions, each with its norm, if any, and a ReLU; the block, `se`, comes last.

    Args:
        layers: the convolutions, norms and ReLUs.
        block: the block, or None.
    """

    def __init__(self, layers: list[nn.Module], block: nn.Module | None) -> None:
        super().__init__()
        self.layers = Layers(*layers)
        self.se = block

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, width, H, W)."""
        x = self.layers(x)
        return x if self.se is None else self.se(x)


class UNet(EncoderDecoder):
    """U-Net of one width: blocks of convolutions and ReLUs, max-pools, maps enlarged two-fold and joined with the encoder's.

    The defaults are those with which the paper's network has its 2.1 million parameters: `kernel` 5, 64 channels, two convolutions a block,
    no norm, enlarging without parameters.

    Args:
        dims: sides of an image.
        num_classes: width of the head.
        in_channels: channels of the images.
        blocks: which stage gets which block.
        width: channels of every map.
        kernel: side of the kernels, odd.
        convs: convolutions in a block.
        depth: encoder blocks, and decoder blocks.
        norm: "batch", "instance" or None: what stands behind every convolution, before its ReLU. Norms of a batch, or of an image, need
            more than one value a channel: in training, images larger than 2**depth.
        upsample: "nearest" or "bilinear", or "transposed", a learned convolution, which then has a norm and a ReLU like the others.
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
        norm: str | None = None,
        upsample: str = "nearest",
        dropout: float = 0.0,
    ) -> None:
        check_choice("upsample", upsample, WAYS_UP)
        convolutions = Convolutions(dims, kernel, convs, norm)

        def make_up() -> nn.Module:
            norms = convolutions.norms(width)
            return UpConvolution(width, dims, *norms) if upsample == "transposed" else Interpolation(upsample, dims)

        def make(inputs: int, block: nn.Module | None) -> ConvolutionBlock:
            return ConvolutionBlock(convolutions.layers(inputs, width), block)

        super().__init__(Shape(dims, width, depth, dropout), num_classes, in_channels, blocks, make, make_up)

    def pool(self, x: Tensor) -> tuple[Tensor, ...]:
        """Halve a map."""
        return (max_pool(x)[0],)


def odd(what: str, value: object) -> int:
    """Return an odd integer of at least 1 as Python's; raise UsageError for any other value."""
    number = check_positive(what, value)
    if number % 2 == 0:
        raise UsageError(f"{what} must be odd, so that a map keeps its size, got {number}; {number - 1} or {number + 1} is")
    return number
