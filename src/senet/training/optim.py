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
        UsageError: for Nesterov momentum without momentum.
    """
    if recipe.nesterov and recipe.momentum == 0:
        raise UsageError("optim.nesterov needs optim.momentum above 0; set optim.nesterov to false for plain SGD")
    return torch.optim.SGD(parameter_groups(model, recipe), lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
