"""Ways up: the map of a decoder made as large as the skip that it is joined with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet.ops.tail.call import activated_norm

WAYS_UP = ("nearest", "bilinear", "transposed")
"""How a U-Net enlarges its maps: two ways without parameters (in three dimensions "bilinear" is trilinear), one learned."""

TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Interpolation(nn.Module):
    """Interpolation to twice the size.

    Args:
        upsample: "nearest" or "bilinear".
        dims: sides of an image.
    """

    def __init__(self, upsample: str, dims: int) -> None:
        super().__init__()
        self.mode = "trilinear" if (upsample, dims) == ("bilinear", 3) else upsample

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Enlarge (N, C, h, w) and keep the first `size` positions of it."""
        if self.mode == "nearest":  # which takes the same positions for these sides, and leaves nothing to crop
            return F.interpolate(x, list(size), mode=self.mode)
        return crop(F.interpolate(x, scale_factor=2.0, mode=self.mode), size)

    def extra_repr(self) -> str:
        """Return the mode."""
        return repr(self.mode)


class UpConvolution(nn.Module):
    """Transposed convolution of stride 2 with a kernel of 2, and what makes it a layer: norm and ReLU, where there is a norm.

    Args:
        channels: of input and output.
        dims: sides of an image.
        norm: the normalisation, or None.
    """

    def __init__(self, channels: int, dims: int, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = TRANSPOSED[dims](channels, channels, 2, stride=2)
        self.norm = norm

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Enlarge (N, C, h, w) and keep the first `size` positions of it."""
        x = crop(self.conv(x), size)
        return x if self.norm is None else activated_norm(x, self.norm)


def crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return the first `size` positions of a map (N, C, ...): of an odd side, the one after the last is dropped."""
    if torch.compiler.is_exporting():  # a view's strides would hold programs for any size to those where it is cut, or is not
        sides = zip(reversed(x.shape[2:]), reversed(size), strict=True)
        return F.pad(x, [part for side, kept in sides for part in (0, kept - side)])
    for axis, side in enumerate(size, start=2):
        x = x.narrow(axis, 0, side)
    return x
