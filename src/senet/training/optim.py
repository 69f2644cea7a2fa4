"""The optimisers: stochastic gradient descent as the papers use it, and AdamW; on a CUDA device either takes one launch a group."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from senet.errors import UsageError
from senet.recipe import OptimRecipe, Recipe
from senet.training.rates import parameter_groups


class RatesOnDevice(torch.optim.Optimizer):
    """Part of a fused optimiser that reads the learning rate of each group from its device's memory.

    A number would be fixed in a CUDA graph. Outside of one the same kernels read the same rates, in float32, so that both give the same
    weights. `param_groups` hold the rates as numbers, as every optimiser's do, and so does the state.

    Args:
        groups: parameters and their options, as torch's optimisers take them, with the "factor" of each on the rate of all.
        options: the optimiser's other arguments.
    """

    averages: tuple[str, ...] = ()
    """What the state holds of a parameter in the parameter's shape."""

    def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
        super().__init__(groups, fused=True, **options)  # pyright: ignore[reportCallIssue] - the optimiser's own follows
        device = groups[0]["params"][0].device
        self._factors = torch.tensor([group.get("factor", 1.0) for group in groups], dtype=torch.float32, device=device)
        self._rates = torch.zeros_like(self._factors)
        self._base = torch.zeros((), dtype=torch.float32, device=device)

    def set_base(self, rate: float) -> None:
        """Set the rate that the factors multiply, in two launches for any number of groups."""
        self._base.fill_(rate)
        torch.mul(self._factors, self._base, out=self._rates)

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._prepare(parameter, group)
        numbers = [group["lr"] for group in self.param_groups]
        try:
            for group, rate in zip(self.param_groups, self._rates.unbind(), strict=True):
                group["lr"] = rate
            return super().step(closure)
        finally:
            for group, number in zip(self.param_groups, numbers, strict=True):
                group["lr"] = number

    def _prepare(self, parameter: Tensor, group: dict[str, Any]) -> None:
        """Bring averages that were saved in another layout into the parameter's, by which the kernels go."""
        state = self.state[parameter]
        for name in self.averages:
            found: Tensor | None = state.get(name)
            if found is not None and found.stride() != parameter.stride():
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format).copy_(found)


class FusedSGD(RatesOnDevice, torch.optim.SGD):
    """SGD in one launch a group, by rates in the device's memory."""

    averages = ("momentum_buffer",)

    def _prepare(self, parameter: Tensor, group: dict[str, Any]) -> None:
        """Let momentum begin at 0, from which the first step makes the gradient; torch leaves it uninitialised if fp16 skips that step."""
        if not group["momentum"]:
            return
        super()._prepare(parameter, group)
        if self.state[parameter].get("momentum_buffer") is None:
            self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)


class FusedAdamW(RatesOnDevice, torch.optim.AdamW):
    """AdamW in one launch a group, by rates and counts of steps in the device's memory."""

    averages = ("exp_avg", "exp_avg_sq")

    def __init__(self, groups: list[dict[str, Any]], **options: Any) -> None:
        on_gpu = groups[0]["params"][0].device.type == "cuda"
        super().__init__(groups, capturable=on_gpu, **options)  # torch's leave to be captured; the fused kernel itself heeds nothing of it
        self._warned_capturable_if_run_uncaptured = True  # steps are captured only after a few, so that torch's advice is none


def can_fuse(recipe: Recipe, device: torch.device) -> bool:
    """Return whether a recipe's steps can be those of a fused optimiser: Fabric clips no gradients that the optimiser itself unscales."""
    return device.type == "cuda" and not (recipe.training.precision == "fp16" and recipe.optim.clip_norm is not None)


def build_optimizer(model: nn.Module, recipe: OptimRecipe, *, fused: bool = False) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over a network's parameters; its learning rate is set at every step, see `Schedule`.

    Args:
        model: the network, on its device.
        recipe: the optimiser's numbers.
        fused: whether its rates are on the device, see `RatesOnDevice`.

    Raises:
        UsageError: for Nesterov momentum without momentum, or rates for a head that is not known.
    """
    return OPTIMIZERS[recipe.name](parameter_groups(model, recipe), recipe, fused)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate: in every group times its factor, and where the device reads it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
    if isinstance(optimizer, RatesOnDevice):
        optimizer.set_base(rate)


def _sgd(groups: list[dict[str, Any]], recipe: OptimRecipe, fused: bool) -> torch.optim.Optimizer:
    if recipe.nesterov and recipe.momentum == 0:
        raise UsageError("optim.nesterov needs optim.momentum above 0; set optim.nesterov to false for plain SGD")
    return (FusedSGD if fused else torch.optim.SGD)(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)


def _adamw(groups: list[dict[str, Any]], recipe: OptimRecipe, fused: bool) -> torch.optim.Optimizer:
    return (FusedAdamW if fused else torch.optim.AdamW)(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], OptimRecipe, bool], torch.optim.Optimizer]] = {"sgd": _sgd, "adamw": _adamw}
"""`optim.name` -> what makes it of groups of parameters."""
