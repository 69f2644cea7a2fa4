"""Stochastic gradient descent as the papers use it: momentum, Nesterov, and which parameters decay."""

from typing import Any

import torch
from torch import nn

from senet.errors import UsageError
from senet.recipe import OptimRecipe


def parameter_groups(model: nn.Module, recipe: OptimRecipe) -> list[dict[str, Any]]:
    """Split the parameters by weight decay: biases and BatchNorm's gamma and beta (all that are vectors) may be spared."""
    parameters = list(model.parameters())
    spared = [] if recipe.decay_norm_and_bias else [p for p in parameters if p.ndim < 2]
    decayed = [p for p in parameters if recipe.decay_norm_and_bias or p.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_sgd(model: nn.Module, recipe: OptimRecipe) -> torch.optim.SGD:
    """Return SGD over a network's parameters; its learning rate is set at every step, see `Schedule`.

    Raises:
        UsageError: for a number outside its range.
    """
    if recipe.lr <= 0:
        raise UsageError(f"optim.lr must be above 0, got {recipe.lr}")
    if not 0 <= recipe.momentum < 1:
        raise UsageError(f"optim.momentum must be in [0, 1), got {recipe.momentum}")
    if recipe.nesterov and recipe.momentum == 0:
        raise UsageError("optim.nesterov needs optim.momentum above 0; set optim.nesterov to false for plain SGD")
    if recipe.weight_decay < 0:
        raise UsageError(f"optim.weight_decay must be 0 or more, got {recipe.weight_decay}")
    if recipe.clip_norm is not None and recipe.clip_norm <= 0:
        raise UsageError(f"optim.clip_norm must be above 0, got {recipe.clip_norm}; null turns clipping off")
    return torch.optim.SGD(parameter_groups(model, recipe), lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
