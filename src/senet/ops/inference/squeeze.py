"""The squeeze of a convolution's output, computed on its input.

A convolution is linear, so the mean of its output over all positions is the convolution of means: each tap of the kernel sees the input
shifted, and the mean of what it sees is all that counts. The gate is then known before the convolution runs.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from senet.ops.backend import choose
from senet.ops.inference.memory import is_direct
from senet.ops.passes.maps import precision
from senet.ops.reference import GATE, squeeze_avg

Stride = tuple[int, int]


def means(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Average every channel over its positions in this type: (N, C, *S) -> (N, C).

    On the CPU torch casts a half-precision map as a whole before it sums; the C++ backend sums it in float32 as it reads it.
    """
    if x.dtype != dtype == torch.float32 and is_direct(x) and x.device.type == "cpu" and x.ndim == 4 and x.numel():
        kernels = choose(x).kernels
        if kernels is not None:
            return kernels.moments(x, centred=False)[0]
    return squeeze_avg(x, dtype)


def pointwise_taps(x: Tensor, stride: Stride, dtype: torch.dtype) -> Tensor:
    """Return the mean of what a 1x1 kernel sees, computed in this type: (N, C, H, W) -> (N, C, 1, 1)."""
    return means(x if stride == (1, 1) else x[..., :: stride[0], :: stride[1]], dtype)[..., None, None]


def same_3x3_taps(x: Tensor, stride: Stride, dtype: torch.dtype) -> Tensor:
    """Return the mean of what each tap of a 3x3 kernel sees at stride 1 with padding 1: (N, C, H, W) -> (N, C, 3, 3).

    The upper taps miss the last row and the left ones the last column, the lower and the right ones the first: what is left after the one
    is summed for the other, so that corners are right. Holds for any size, 1x1 included.
    """
    x = x.to(dtype)
    columns = x.sum(2)
    columns = torch.stack((columns - x[:, :, -1], columns, columns - x[:, :, 0]), 2)
    total = columns.sum(3)
    sums = torch.stack((total - columns[..., -1], total, total - columns[..., 0]), 3)
    return sums / (x.shape[2] * x.shape[3])


TAPS: dict[tuple[int, ...], Callable[[Tensor, Stride, torch.dtype], Tensor]] = {(1, 1): pointwise_taps, (3, 3): same_3x3_taps}
"""Size of a kernel -> means of what its taps see."""


def excite_lean(z: Tensor, fc1: tuple[Tensor, Tensor | None], fc2: tuple[Tensor, Tensor | None], gate: str) -> Tensor:
    """Turn squeezed channels into gates, in four operations on (N, C): see `senet.ops.reference.excite`."""
    return GATE[gate](F.linear(F.linear(z, *fc1).relu_(), *fc2))


def excite_map(x: Tensor, fc1: tuple[Tensor, Tensor | None], fc2: tuple[Tensor, Tensor | None], gate: str) -> Tensor:
    """Turn a map (N, C, *S) into gates by its means, in the type of the layers; the backend may have one operator for both layers."""
    dtype = fc1[0].dtype
    if precision(x) == dtype and is_direct(x) and x.ndim == 4 and x.numel():
        excite = getattr(choose(x).kernels, "excite", None)
        if excite is not None:
            return GATE[gate](excite(x, *fc1, *fc2))
    return excite_lean(means(x, dtype), fc1, fc2, gate)
