"""Networks whose calls torch.compile makes fast, on CUDA as one graph of launches."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

COMPILE_MODES = {"cuda": "reduce-overhead"}
"""Type of device -> the mode of torch.compile for networks that run there, beside the default one."""


class CompiledCall:
    """Calls of a network as torch.compile runs them: for each type of device, and each shape of input, compiled when it is first met.

    A CUDA graph writes its outputs to the same memory at every call; what a caller gets is a copy.

    Args:
        network: the network, which goes on to be called by its own name.
    """

    def __init__(self, network: nn.Module) -> None:
        self._call = network._call_impl
        self._compiled: dict[str, Callable[..., Any]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the network."""
        if torch.compiler.is_compiling():  # inside of another compiled function
            return self._call(*args, **kwargs)
        device = next((leaf.device.type for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)), "cpu")
        if device not in self._compiled:
            self._compiled[device] = torch.compile(self._call, dynamic=False, mode=COMPILE_MODES.get(device))
        if device not in COMPILE_MODES:
            return self._compiled[device](*args, **kwargs)
        torch.compiler.cudagraph_mark_step_begin()
        return pytree.tree_map_only(Tensor, torch.clone, self._compiled[device](*args, **kwargs))


def compile_calls(network: nn.Module) -> nn.Module:
    """Have torch.compile run a network's calls, as `nn.Module.compile` does, and return it; its copies and files are not compiled."""
    network._compiled_call_impl = CompiledCall(network)
    return network
