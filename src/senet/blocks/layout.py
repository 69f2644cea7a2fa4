"""Blocks whose weights have four axes whichever maps they see, and so meet a memory format that torch has for five axes only."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn


class ImageWeights(nn.Module):
    """Block with weights of images, (out, in, h, w), in networks for images and for volumes alike.

    `to(memory_format=torch.channels_last_3d)` of a network for volumes lays these weights out as of volumes of width 1, channels last;
    torch itself refuses weights of four axes there. All else is `nn.Module`'s.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Convert every parameter and buffer; `nn.Module` calls this in `to`, `cuda`, `double` and the like."""

        def convert(tensor: Tensor) -> Tensor:
            try:
                return fn(tensor)
            except RuntimeError:
                if tensor.ndim != 4:
                    raise
                return fn(tensor[..., None])[..., 0]

        return super()._apply(convert, recurse)
