"""What a module or an operation does to a map: convolve, normalise, rectify, pass on, upsample, gate.

Modules of other libraries are judged by what they do, not by their names: an activation acts on every number alone, a dropout changes
nothing in evaluation mode.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules import batchnorm, instancenorm, pooling

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (batchnorm._NormBase, instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
POOLS = (pooling._AvgPoolNd, pooling._MaxPoolNd, pooling._LPPoolNd)
ADAPTIVE_POOLS = (pooling._AdaptiveAvgPoolNd, pooling._AdaptiveMaxPoolNd)

ADD = {"add", "iadd", "add_"}
MULTIPLY = {"mul", "imul", "mul_", "multiply"}
CONCATENATE = {"cat", "concat", "concatenate"}
POOL = {f"{kind}_pool{dimensions}d{given}" for kind in ("avg", "max", "lp") for dimensions in (1, 2, 3) for given in ("", "_with_indices")}
UPSAMPLE = {
    *("interpolate", "upsample", "upsample_bilinear", "upsample_nearest", "pixel_shuffle", "grid_sample", "repeat_interleave"),
    *(f"{kind}{dimensions}d" for kind in ("max_unpool", "conv_transpose") for dimensions in (1, 2, 3)),
}
JOIN = {"pad", "cat", "concat", "concatenate", "stack", "hstack", "vstack"}
ACTIVATE = {
    *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "celu", "gelu", "silu", "mish", "prelu", "softplus"),
    *("hardswish", "hardtanh", "sigmoid", "sigmoid_", "hardsigmoid", "tanh"),
}
BOUND = {"sigmoid", "sigmoid_", "hardsigmoid", "tanh", "hardtanh", "softmax"}
"""Operations, by the name of the function or method."""

ASK = {"size", "dim", "getattr"}
"""Operations that look at a map's shape only."""

PERMUTE = {"permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims"}
"""Operations that order the axes anew."""

DROP = {"dropout", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout"}
SELECT = {"getitem", "chunk", "split", "tensor_split", "narrow", "view", "reshape", "flatten", "contiguous"} | PERMUTE
"""Operations that move numbers without changing any."""

RESHAPES = SELECT | {"expand", "expand_as", "unsqueeze", "squeeze", "type_as", "to", "type", "float", "half"}


def is_wide(conv: nn.Module) -> bool:
    """Return whether a convolution sees more than one position."""
    return isinstance(conv, CONVS) and max(conv.kernel_size) > 1


def is_depthwise(conv: nn.Module) -> bool:
    """Return whether a convolution filters every channel alone."""
    return isinstance(conv, CONVS) and conv.groups == conv.in_channels > 1 and is_wide(conv)


def is_pointwise(conv: nn.Module) -> bool:
    """Return whether a convolution mixes the channels of each position."""
    return isinstance(conv, CONVS) and conv.groups == 1 and not is_wide(conv)


def is_norm(module: nn.Module) -> bool:
    """Return whether a module normalises; one of another library does if it holds nothing but several numbers a channel."""
    if isinstance(module, NORMS):
        return True
    state = [*module.parameters(), *module.buffers()]
    return len(state) > 1 and next(module.children(), None) is None and all(tensor.ndim <= 1 for tensor in state)


def is_scale(module: nn.Module) -> bool:
    """Return whether a module multiplies by one parameter, as a layer scale does."""
    weights = list(module.parameters())
    known = (*CONVS, *NORMS, nn.Linear, nn.PReLU)
    bare = next(module.children(), None) is None and next(module.buffers(), None) is None
    return len(weights) == 1 and bare and not isinstance(module, known)


def is_identity(module: nn.Module) -> bool:
    """Return whether a module returns its input in evaluation mode: an identity, a dropout, stochastic depth."""
    outcome = _try(module, sample := _sample())
    return outcome is not None and outcome.shape == sample.shape and bool((outcome == sample).all())


def is_activation(module: nn.Module) -> bool:
    """Return whether a module acts on every number alone, and does something."""
    if isinstance(module, nn.PReLU):
        return True
    whole = _try(module, sample := _sample())
    if whole is None or whole.shape != sample.shape or (whole == sample).all():
        return False
    part = _try(module, sample[:1, :2, :3, :1].clone())
    turned = _try(module, sample.flip(1, 2, 3))
    if part is None or turned is None:
        return False
    return torch.allclose(part, whole[:1, :2, :3, :1]) and torch.allclose(turned.flip(1, 2, 3), whole)


def is_bounded(module: nn.Module) -> bool:
    """Return whether an activation saturates on both sides, as the sigmoid of a gate does."""
    if not is_activation(module):
        return False
    far = _try(module, torch.full((1, 4, 5, 5), 1e4)), _try(module, torch.full((1, 4, 5, 5), -1e4))
    return all(end is not None and bool((end.abs() < 100).all()) for end in far)


def _sample() -> Tensor:
    return torch.linspace(-3, 3, 2 * 4 * 5 * 5).reshape(2, 4, 5, 5)


def _try(module: nn.Module, sample: Tensor) -> Tensor | None:
    """Run a module that has no state on a sample, in evaluation mode; None if it has state or cannot take it."""
    if next(module.parameters(), None) is not None or next(module.buffers(), None) is not None:
        return None
    training = [inner for inner in module.modules() if inner.training]
    try:
        with torch.no_grad():
            outcome = module.eval()(sample.clone())
    except Exception:  # it wants other arguments
        return None
    finally:
        for inner in training:
            inner.training = True
    return outcome if isinstance(outcome, Tensor) else None
