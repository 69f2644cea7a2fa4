"""The passes in C++ as `senet.ops.passes.protocol.Kernels`; `tail.cpp` holds them, the library must be loaded before."""

from typing import cast

from torch import Tensor

from senet.ops.passes.cpp.operators import OPERATORS
from senet.ops.passes.cpp.pair_kernels import CppPairKernels
from senet.ops.passes.cpp.spatial_kernels import CppSpatialKernels
from senet.ops.passes.terms import Centred, Coefficients, GradientSums, OutputGradient, Shortcut


class CppKernels(CppPairKernels, CppSpatialKernels):
    """The passes for CPUs: vectorised, one read of every map, sums that do not depend on the number of threads."""

    def moments(self, x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
        """See `ChannelKernels`."""
        return OPERATORS.moments(x, centred)

    def apply(self, x: Tensor, scale: Tensor, shift: Tensor, shortcut: Shortcut | None, relu: bool) -> tuple[Tensor, Tensor | None]:
        """See `ChannelKernels`."""
        r = (None, None, None) if shortcut is None else (shortcut.map, shortcut.scale, shortcut.shift)
        y = cast(Tensor, OPERATORS.apply(x, scale, shift, *r, relu))
        return y, y if relu else None

    def mask_like(self, x: Tensor) -> Tensor | None:
        """See `ChannelKernels`."""

    def rescale_(self, y: Tensor, gates: Tensor, shortcut: Tensor | None, relu: bool) -> None:
        """Overwrite y (N, C, H, W) by f(gates y + shortcut), with gates (N, C) and the shortcut a map or nothing; y is dense."""
        OPERATORS.rescale_(y, gates, shortcut, relu)

    def excite(self, x: Tensor, w1: Tensor, b1: Tensor | None, w2: Tensor, b2: Tensor | None) -> Tensor:
        """Return W2 relu(W1 z + b1) + b2, (N, C), with z the means of x (N, I, H, W); in float32, for float64 maps in that."""
        return cast(Tensor, OPERATORS.excite(x, w1, b1, w2, b2))

    def reduce(self, gradient: OutputGradient, branch: Centred, shortcut: Centred | None, store_gradient: bool) -> GradientSums:
        """See `ChannelKernels`."""
        r = (None, None) if shortcut is None else (shortcut.map, shortcut.mean)
        return GradientSums(*OPERATORS.reduce(gradient.dy, gradient.relu_mask, branch.map, branch.mean, *r, store_gradient))

    def spread(self, gradient: OutputGradient, x: Tensor, coefficients: Coefficients) -> Tensor:
        """See `ChannelKernels`."""
        by_g, by_x, constant = coefficients.by_g, coefficients.by_x, coefficients.constant
        return cast(Tensor, OPERATORS.spread(gradient.dy, gradient.relu_mask, x, by_g, by_x, constant))
