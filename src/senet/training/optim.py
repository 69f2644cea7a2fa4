"""Stochastic gradient descent as the papers use it: momentum, Nesterov, and which parameters decay."""

from typing import Any

import torch
from torch import Tensor, nn

from senet.errors import UsageError
from senet.recipe import OptimRecipe, Recipe


def parameter_groups(model: nn.Module, recipe: OptimRecipe) -> list[dict[str, Any]]:
    """Split the parameters by weight decay: biases and BatchNorm's gamma and beta (all that are vectors) may be spared."""
    parameters = list(model.parameters())
    spared = [] if recipe.decay_norm_and_bias else [p for p in parameters if p.ndim < 2]
    decayed = [p for p in parameters if recipe.decay_norm_and_bias or p.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class FusedSGD(torch.optim.SGD):
    """SGD in one launch for a CUDA device, which reads the learning rate from its own memory.

    A number would be fixed in a CUDA graph. Outside of one the same kernel reads the same rate, in float32, so that both give the same
    weights. `param_groups` hold the rate as a number, as every SGD's do, and so does the state.

    Args:
        groups: parameters and their options, as `torch.optim.SGD` takes them.
        options: its other arguments.
    """

    def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
        super().__init__(groups, fused=True, **options)
        self.rate = torch.zeros((), dtype=torch.float32, device=groups[0]["params"][0].device)

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        self._begin_momentum()
        numbers = [group["lr"] for group in self.param_groups]
        try:
            for group in self.param_groups:
                group["lr"] = self.rate
            return super().step(closure)
        finally:
            for group, number in zip(self.param_groups, numbers, strict=True):
                group["lr"] = number

    def _begin_momentum(self) -> None:
        """Let momentum begin at 0, from which the first step makes the gradient.

        Torch leaves it uninitialised if fp16 skips the first step. One that was saved in another layout is brought into the parameter's.
        """
        for group in self.param_groups:
            for parameter in group["params"] if group["momentum"] else ():
                if parameter.grad is None:
                    continue
                found: Tensor | None = self.state[parameter].get("momentum_buffer")
                if found is None or found.stride() != parameter.stride():
                    fresh = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                    self.state[parameter]["momentum_buffer"] = fresh if found is None else fresh.copy_(found)


def can_fuse(recipe: Recipe, device: torch.device) -> bool:
    """Return whether a recipe's steps can be those of `FusedSGD`: Fabric clips no gradients that the optimiser itself unscales."""
    return device.type == "cuda" and not (recipe.training.precision == "fp16" and recipe.optim.clip_norm is not None)


def build_sgd(model: nn.Module, recipe: OptimRecipe, *, fused: bool = False) -> torch.optim.SGD:
    """Return SGD over a network's parameters; its learning rate is set at every step, see `Schedule`.

    Args:
        model: the network, on its device.
        recipe: the optimiser's numbers.
        fused: whether it is `FusedSGD`.

    Raises:
        UsageError: for Nesterov momentum without momentum.
    """
    if recipe.nesterov and recipe.momentum == 0:
        raise UsageError("optim.nesterov needs optim.momentum above 0; set optim.nesterov to false for plain SGD")
    kind = FusedSGD if fused else torch.optim.SGD
    return kind(parameter_groups(model, recipe), lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group, and where the device reads it."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    if isinstance(optimizer, FusedSGD):
        optimizer.rate.fill_(rate)
