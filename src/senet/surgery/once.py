"""Modules that something else can stand for."""

from collections import Counter
from collections.abc import Iterable

from torch import nn

from senet.ops.hooks import has_own_hooks
from senet.surgery.graph import ModuleGraph


class CalledOnce:
    """Modules of a network that one node of one container calls, and that have no hooks: what takes their place has one call to answer.

    Args:
        graphs: the containers of the network.
    """

    def __init__(self, graphs: Iterable[ModuleGraph]) -> None:
        self._calls = sum((graph.calls for graph in graphs), Counter[nn.Module]())

    def __contains__(self, module: nn.Module) -> bool:
        return self._calls[module] == 1 and not has_own_hooks(module)
