"""What a CUDA graph cannot repeat of a step: questions to the device, copies to and from the host, and what Python remembers or draws."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

ASKING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""Torch's tags of operators whose outcome, or its size, the host must know."""
INDEXING = ("aten::index", "aten::index_put", "aten::index_put_")
"""Operators that ask for the number of places only where these are given as a mask."""
_REMEMBERED = (bool, int, float, str, type(None))


class HostDecisions(TorchDispatchMode):
    """Watch over operators inside a `with` block, forwards and backwards: `found` names in words those that a graph cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let an operator run, and note what is wrong with it."""
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        tensors = list(_tensors((args, kwargs or {})))
        if name in INDEXING:
            asks = any(tensor.dtype in (torch.bool, torch.uint8) for tensor in _tensors(args[1]))
        elif name == "aten::one_hot":
            asks = len(args) == 1 or args[1] < 0  # else only CPUs look whether the classes are fewer
        else:
            asks = bool(ASKING & set(func.tags))
        if asks:
            self.found.append(f"{name} makes the host wait for a value of the device")
        elif len({tensor.device.type for tensor in (*tensors, *_tensors(out)) if _is_moved(name, tensor)}) > 1:
            self.found.append(f"{name} copies between host and device")
        return out


def host_state(owners: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a step could change on the host: random numbers, plain attributes of owners and their modules, and where tensors are.

    Args:
        owners: name -> a module, or another object.
    """
    state: dict[str, Any] = {"the state of random numbers": _random_state()}
    for name, owner in owners.items():
        for path, part in owner.named_modules() if isinstance(owner, nn.Module) else [("", owner)]:
            for key, value in getattr(part, "__dict__", {}).items():
                if isinstance(value, (*_REMEMBERED, Tensor)):
                    state[f"{name}'s {path}.{key}".replace(" .", " ")] = _mark(value)
        if isinstance(owner, nn.Module):
            state |= {f"{name}'s {path}": _mark(tensor) for path, tensor in (*owner.named_parameters(), *owner.named_buffers())}
    return state


def changes_on_host(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two states."""
    return [f"{name} changed on the host" for name in before.keys() | after.keys() if before.get(name) != after.get(name)]


def _random_state() -> Any:
    numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - what others' code may draw from
    return torch.random.get_rng_state().numpy().tobytes(), random.getstate(), numpy["state"]["key"].tobytes(), numpy["state"]["pos"]


def _mark(value: Any) -> Any:
    return ("tensor at", value.data_ptr()) if isinstance(value, Tensor) else value


def _is_moved(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor's place matters to an operator: numbers on the host may take part in what the device computes."""
    return tensor.ndim > 0 or name in ("aten::copy_", "aten::_to_copy")


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
