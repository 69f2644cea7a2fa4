"""Random weights with which two correct programs agree to rounding: branches that add little, variances near 1."""

import math
import re

import torch
from torch import Tensor, nn

LAST_OF_BRANCH = 0.25
PROJECTION = 0.7

PERIOD = 1_000_003
"""Numbers that are drawn for a layer; larger ones repeat them. A prime: no two rows, columns or channels of a layer are alike."""


def draw(model: nn.Module, *, last: str, projection: str, seed: int = 0) -> nn.Module:
    """Fill a network of post-activation form; `last` and `projection` match the BNs that end a branch and a shortcut."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.rand(like.shape, generator=generator, dtype=like.dtype) * (high - low) + low

    def normal(like: Tensor, scale: float) -> Tensor:
        count = like.numel()
        drawn = torch.randn(min(count, PERIOD), generator=generator, dtype=like.dtype) * scale
        return drawn.repeat(math.ceil(count / len(drawn)))[:count].view(like.shape)

    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            centre = LAST_OF_BRANCH if re.search(last, name) else PROJECTION if re.search(projection, name) else 1.0
            module.weight.data = uniform(module.weight, 0.8 * centre, 1.2 * centre)
            module.bias.data = uniform(module.bias, -0.2, 0.2)
            module.running_mean = uniform(module.running_mean, -0.2, 0.2)
            module.running_var = uniform(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.data = normal(module.weight, (2 / fan_in) ** 0.5)
            if module.bias is not None:
                module.bias.data = uniform(module.bias, -0.5, 0.5)
    return model


def blank(model: nn.Module) -> nn.Module:
    """Fill a network of the meta device with zeros, for `draw` or a file to write over: to initialise it first takes longer than either."""
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    return model
