"""Modules that compile, average, replicate or place a network, and the network inside them.

A wrapper gives the tensors of its network other names ("_orig_mod.fc.weight"), has none of its attributes, or has tensors of its own. What
reads, writes or changes a network works on the one inside.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from senet.errors import UsageError

NETWORK_INSIDE = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "lightning_fabric.wrappers._FabricModule": "_original_module",
    "lightning.fabric.wrappers._FabricModule": "_original_module",
    "timm.utils.model_ema.ModelEma": "ema",
    "timm.utils.model_ema.ModelEmaV2": "module",
    "timm.utils.model_ema.ModelEmaV3": "module",
    "deepspeed.runtime.engine.DeepSpeedEngine": "module",
    "apex.parallel.distributed.DistributedDataParallel": "module",
}
"""Class of a wrapper, by where it is defined (none is imported) -> its attribute that is the network inside."""

SHARDED = ("FullyShardedDataParallel", "FSDPModule", "DTensor")
"""Classes of torch.distributed for modules and tensors of which every process holds a part only; where they are defined has changed."""


def wrapper_attribute(module: nn.Module) -> str | None:
    """Return the attribute of a wrapper that is the network inside; None for all other modules."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__)
    return next((NETWORK_INSIDE[name] for name in names if name in NETWORK_INSIDE), None)


def is_transparent(module: nn.Module) -> bool:
    """Return whether a wrapper registers nothing of the network inside, which may change there: Fabric's."""
    return wrapper_attribute(module) == "_original_module"


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside its wrappers, however many there are; a network without one is returned itself.

    Raises:
        UsageError: if it is no network, or if the network, or a part of it, is sharded over processes.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"a network (torch.nn.Module) is wanted, got {type(model).__name__}")
    while (attribute := wrapper_attribute(model)) is not None:
        model = getattr(model, attribute)
    for path, part in (*model.named_modules(), *model.named_parameters()):
        if any(kind.__qualname__ in SHARDED and kind.__module__.startswith("torch.distributed") for kind in type(part).__mro__):
            raise UsageError(
                f"{path or type(model).__name__} is sharded over processes, and this one holds a part only: gather the tensors by "
                "torch.distributed.checkpoint.state_dict.get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)) and "
                "load them into the network as it was before that"
            )
    return model


def plain_state(model: nn.Module) -> dict[str, Any]:
    """Return the state dict of the network inside its wrappers, under the names that it has without any, around it or around a part.

    Raises:
        UsageError: if the network is sharded.
    """
    network = unwrap(model)
    state, names = network.state_dict(), _plain_names(network)
    return {names.get(name, name): value for name, value in state.items()}


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load tensors into the network inside its wrappers, all of them, by the names that `plain_state` gives them."""
    network = unwrap(model)
    wrapped = {plain: name for name, plain in _plain_names(network).items()}
    network.load_state_dict({wrapped.get(name, name): tensor for name, tensor in tensors.items()})


def _plain_names(network: nn.Module) -> dict[str, str]:
    """Return, for every tensor below a wrapper inside a network, its name there -> its name without the wrapper."""
    found = ((path, wrapper_attribute(module)) for path, module in network.named_modules(remove_duplicate=False))
    inside = {f"{path}.{attribute}.": f"{path}." for path, attribute in found if attribute is not None}
    plain: dict[str, str] = {}
    for name in network.state_dict() if inside else ():
        short = name
        for start in reversed(inside):  # the innermost first, so that the outer ones still have their names
            if short.startswith(start):
                short = inside[start] + short.removeprefix(start)
        if short != name:
            plain[name] = short
    return plain
