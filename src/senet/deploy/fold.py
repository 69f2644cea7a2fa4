"""Fold a BN into the convolution before it, and an excitation's first layer into both. Products are formed in float64."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def fold_norm(conv: nn.Conv2d, norm: nn.Module | None) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of the convolution that equals `conv` and then `norm` with its running statistics, in the type of `conv`.

    Args:
        conv: the convolution.
        norm: a BN that has running statistics; None = none.
    """
    weight = conv.weight.detach()
    if norm is None:
        return weight.clone(), None if conv.bias is None else conv.bias.detach().clone()
    assert isinstance(norm, _BatchNorm)
    bias, mean, var, gamma, beta = (_double(tensor) for tensor in (conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias))
    assert mean is not None
    assert var is not None
    scale = (var + norm.eps).rsqrt()
    scale = scale if gamma is None else scale * gamma
    shift = (-mean if bias is None else bias - mean) * scale
    shift = shift if beta is None else shift + beta
    return (weight.double() * scale[:, None, None, None]).to(weight.dtype), shift.to(weight.dtype)


def as_matrix(weight: Tensor, groups: int) -> Tensor:
    """Return a convolution's weight (O, I / groups, kh, kw) as a matrix (O, I kh kw): means of its taps -> means of its output."""
    return torch.block_diag(*weight.flatten(1).chunk(groups))


def fold_squeeze(weight: Tensor, bias: Tensor | None, groups: int, fc: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of the linear layer that equals a convolution of means, then `fc`: W1' = W1 W, b1' = W1 b + b1.

    Args:
        weight: the convolution's, (O, I / groups, kh, kw).
        bias: the convolution's, (O,).
        groups: groups of the convolution.
        fc: the excitation's first layer, from O channels.

    Returns:
        Weight (hidden, I kh kw) and bias, at least float32: a gate is computed so.
    """
    dtype = torch.promote_types(fc.weight.dtype, torch.float32)
    w1, shift = fc.weight.detach().double(), _double(fc.bias)
    if bias is not None:
        through = w1 @ bias.double()
        shift = through if shift is None else shift + through
    return (w1 @ as_matrix(weight.double(), groups)).to(dtype), None if shift is None else shift.to(dtype)


def saves_weights(weight: Tensor, groups: int, fc: nn.Linear) -> bool:
    """Return whether one layer from the means to the hidden units has fewer weights than the convolution and `fc` one after the other."""
    together = fc.out_features * weight[0].numel() * groups
    return together < weight.numel() + fc.weight.numel()


def input_is_smaller(conv: nn.Conv2d) -> bool:
    """Return whether the means of what a convolution's taps see cost less than those of its output.

    A 1x1 kernel needs one mean a channel. A 3x3 needs nine, of one map and its borders: that pays where the input is much narrower.
    """
    return conv.in_channels <= (conv.out_channels if conv.kernel_size == (1, 1) else conv.out_channels // 4)


def _double(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().double()
