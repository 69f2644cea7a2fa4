"""Batch normalisation by the images of all processes, on devices for which torch has none: with the statistics of the fused tail."""

from typing import Any

import torch
from torch import Tensor, nn

from senet.ops.passes.maps import precision
from senet.ops.tail.batchnorm import BatchNorm, Normalization, as_data, normalization, statistics_gradient, update_running


class JointBatchNorm(nn.modules.batchnorm._BatchNorm):  # the base of torch's own, which has no public name
    """Batch normalisation as `nn.SyncBatchNorm` does it on a GPU, on any device; in evaluation, or in one process, as `nn.BatchNorm2d`.

    Images may have any number of dimensions: (N, C), (N, C, L), (N, C, H, W), (N, C, D, H, W).
    """

    process_group = None

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        if input.ndim < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.ndim}")

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - a name
        """Normalise x."""
        self._check_input_dim(x)
        norm = as_data(self, x)
        if norm is None or norm.group is None:
            return super().forward(x)
        maps = x[..., None] if x.ndim == 2 else x
        y, mean, var = _JointFunction.apply(maps, norm.gamma, norm.beta, norm)
        update_running(self, mean, var)
        return y.view_as(x)


class _JointFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor | None, beta: Tensor | None, norm: BatchNorm) -> tuple[Tensor, Tensor, Tensor]:
        values, positions = x.to(precision(x)), tuple(range(2, x.ndim))
        means = values.mean(positions)
        squares = (values - _over(means, x)).square().sum(positions)
        normal, statistics = normalization(norm, means, squares, x[0, 0].numel())
        assert statistics is not None, "the batch's statistics are used"
        y = (values - _by_channel(normal.mean, x)) * _by_channel(normal.scale, x)
        if beta is not None:
            y += _by_channel(beta, x)
        ctx.save_for_backward(x, normal.mean, normal.inverse_std, normal.scale)
        ctx.norm = norm
        ctx.mark_non_differentiable(statistics.mean, statistics.var)
        return y.to(x.dtype), statistics.mean, statistics.var

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, mean, inverse_std, scale = ctx.saved_tensors
        values, dy, positions = x.to(mean.dtype), gradients[0].to(mean.dtype), (0, *range(2, x.ndim))
        dbeta = dy.sum(positions)
        dgamma = (dy * (values - _by_channel(mean, x))).sum(positions) * inverse_std
        by_x, constant = statistics_gradient(ctx.norm, Normalization(mean, inverse_std, scale), dbeta, dgamma, x.numel() // x.shape[1])
        assert by_x is not None, "the batch's statistics are used"
        dx = dy * _by_channel(scale, x) + values * _by_channel(by_x, x) + _by_channel(constant, x)
        _, gamma_asked, beta_asked, _ = ctx.needs_input_grad
        return dx.to(x.dtype), dgamma if gamma_asked else None, dbeta if beta_asked else None, None


def _by_channel(v: Tensor, x: Tensor) -> Tensor:
    """Shape (C,) so that it goes with x."""
    return v.view(1, -1, *(1,) * (x.ndim - 2))


def _over(means: Tensor, x: Tensor) -> Tensor:
    """Shape (N, C) so that it goes with x."""
    return means.view(*means.shape, *(1,) * (x.ndim - 2))


LAYERS = (nn.BatchNorm2d, nn.SyncBatchNorm, JointBatchNorm)
"""The normalisations that a tail takes; just these types, since a subclass may do more."""
