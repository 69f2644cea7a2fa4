"""Put modules in the place of others."""

from collections.abc import Mapping

from torch import nn


def replace_modules(root: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    """Put modules in the place of others below `root`, under every name that these have there.

    The modules that are put in are not searched: one of them may hold what it replaces. `root` itself is never replaced.

    Args:
        root: the network, or a part of it; it is changed.
        new: old module -> what stands for it.
    """
    for parent in list(root.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in new:
                parent._modules[name] = new[child]
