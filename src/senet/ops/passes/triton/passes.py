"""The passes of a residual tail on a CUDA device."""

import torch
from torch import Tensor

from senet.ops.passes.maps import layout, precision
from senet.ops.passes.terms import Centred, Coefficients, GradientSums, OutputGradient, Shortcut
from senet.ops.passes.triton import channel_tail, pair_tail
from senet.ops.passes.triton.grid import Grid, Tiling, grid_of
from senet.ops.passes.triton.inference_passes import TritonInferenceKernels
from senet.ops.passes.triton.launch import dense
from senet.ops.passes.triton.maps import launch_affine, moments_of_spans, sums_of_spans
from senet.ops.passes.triton.mask import empty_mask, in_one_format, row
from senet.ops.passes.triton.pair_passes import TritonPairKernels
from senet.ops.passes.triton.parts import merge_moments, merge_sums
from senet.ops.passes.triton.spatial_passes import TritonSpatialKernels
from senet.ops.tail.channel import ChannelTail
from senet.ops.tail.preactivated import PreactivatedOutput, PreactivatedSaved, PreactivatedTail
from senet.ops.tail.rows import Gradients, Output, Saved


class TritonKernels(TritonSpatialKernels, TritonPairKernels, TritonInferenceKernels):
    """The passes as Triton kernels: no atomics, no autotuning, nothing asked of the device, so CUDA graphs can hold them.

    The mask of a ReLU has one bit an element (`mask`); a map is taken in its place. Reads and writes of maps: moments 1;
    apply 2, with a shortcut 3; reduce 2, 1 more for a projected shortcut and for storing g; spread 2, with kb 1 more.

    Args:
        tiling: how maps are cut.
    """

    def __init__(self, tiling: Tiling | None = None) -> None:
        self.tiling = tiling or Tiling()

    def moments(self, x: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
        """See `ChannelKernels`."""
        x = x.contiguous(memory_format=layout(x))
        grid = grid_of(Grid, x, self.tiling, summed=True)
        (mean, m2), _ = moments_of_spans(grid, x, centred)
        mean, m2 = merge_moments(mean, m2, grid)
        return mean, torch.zeros_like(mean) if m2 is None else m2

    def apply(self, x: Tensor, scale: Tensor, shift: Tensor, shortcut: Shortcut | None, relu: bool) -> tuple[Tensor, Tensor | None]:
        """See `ChannelKernels`."""
        r, r_scale, r_shift = (None, None, None) if shortcut is None else (shortcut.map, shortcut.scale, shortcut.shift)
        _, x, r = in_one_format(None, x, r)
        mask, y = empty_mask(x) if relu else None, torch.empty_like(x)
        vectors = dense(scale, shift)
        launch_affine(self.tiling, (x, None, row(mask), *vectors, x.shape[1], r, *dense(r_scale, r_shift), y, mask), relu)
        return y, mask

    def mask_like(self, x: Tensor) -> Tensor | None:
        """See `ChannelKernels`."""
        return empty_mask(x)

    def rescale_(self, y: Tensor, gates: Tensor, shortcut: Tensor | None, relu: bool) -> None:
        """Overwrite y (N, C, H, W) by f(gates y + shortcut), with gates (N, C) and the shortcut a map or nothing; y is dense."""
        _, _, r = in_one_format(None, y, shortcut)
        gates = gates.to(precision(y)).contiguous()
        launch_affine(self.tiling, (y, None, 0, gates, None, y.shape[1], r, None, None, y, None), relu)

    def reduce(self, gradient: OutputGradient, branch: Centred, shortcut: Centred | None, store_gradient: bool) -> GradientSums:
        """See `ChannelKernels`."""
        sums, g = sums_of_spans(gradient, branch, shortcut, store_gradient, self.tiling)
        of_g, of_gx, *of_gr = merge_sums(sums)
        return GradientSums(of_g, of_gx, of_gr[0] if of_gr else None, g)

    def spread(self, gradient: OutputGradient, x: Tensor, coefficients: Coefficients) -> Tensor:
        """See `ChannelKernels`."""
        by_g, by_x, constant = coefficients.by_g, coefficients.by_x, coefficients.constant
        mask, dy, added = in_one_format(gradient.relu_mask, gradient.dy, None if by_x is None else x)
        dx = torch.empty_like(dy)
        vectors = dense(by_g, constant)
        launch_affine(self.tiling, (dy, mask, row(mask), *vectors, dy.shape[1], added, *dense(by_x), None, dx, None), False)
        return dx

    def channel_forward(self, tail: ChannelTail, x: Tensor, r: Tensor | None) -> Output | None:
        """See `TailKernels`."""
        return channel_tail.tail_forward(tail, x, r, self.tiling) if channel_tail.has_kernels(tail, x) else None

    def pair_forward(self, tail: PreactivatedTail, u: Tensor, r: Tensor) -> PreactivatedOutput | None:
        """See `TailKernels`."""
        return pair_tail.pair_forward(tail, u, r, self.tiling) if pair_tail.has_pair_kernels(tail, u, self.tiling) else None

    def pair_backward(self, tail: PreactivatedTail, dv: Tensor | None, da: Tensor, saved: PreactivatedSaved) -> Gradients | None:
        """See `TailKernels`."""
        return pair_tail.pair_backward(tail, dv, da, saved, self.tiling) if pair_tail.has_pair_kernels(tail, saved.v, self.tiling) else None

    def channel_backward(self, tail: ChannelTail, dy: Tensor, saved: Saved) -> Gradients | None:
        """See `TailKernels`."""
        return channel_tail.tail_backward(tail, dy, saved, self.tiling) if channel_tail.has_kernels(tail, dy) else None
