"""Copies of networks."""

import copy

from torch import Tensor, nn


def duplicate(model: nn.Module) -> nn.Module:
    """Return a copy of a network that shares nothing with it.

    torch refuses to copy a tensor that was computed with a gradient. `torch.nn.utils.prune` and the old `weight_norm` leave such weights
    behind each call, and compute them anew before the next one: the copy has their values.
    """
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(model, computed)  # pyright: ignore[reportArgumentType] - the memo of what is copied already
