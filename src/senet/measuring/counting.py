"""What a network costs, module by module, on any machine: parameters, multiplications, activation memory."""

import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from senet.measuring.attribution import growth_by_part, record_readings
from senet.measuring.parts import block_paths, owner
from senet.measuring.saved import SavedBytes
from senet.ops.backend import REFERENCE, backend
from senet.surgery.channel_scale import ChannelScale
from senet.text import printable

log = logging.getLogger("senet")


@dataclass(frozen=True)
class Cost:
    """Cost of a part of a network.

    Args:
        params: parameters, each counted once.
        macs: multiply-accumulates per image: convolutions, linear layers, and the multiplications of each gate with its map.
        squeeze_adds: additions (comparisons of a maximum) of the squeezes, per image; the papers leave them out of their counts.
        activation_bytes: memory that training keeps for the backward pass, per image, operation by operation; where residual tails are
            fused, units with SE keep what plain ones do.
    """

    params: int = 0
    macs: int = 0
    squeeze_adds: int = 0
    activation_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


def count(model: nn.Module, x: Tensor, paths: Collection[str]) -> dict[str, Cost]:
    """Count what each part of a network costs by itself, without the parts inside it.

    Args:
        model: the network; its buffers are not touched, its training flags are changed.
        x: a batch of images, (N, C, H, W), on the model's device; for the activations a batch of one is doubled, since BatchNorm cannot
            train on a single value a channel.
        paths: the parts; "" for everything outside them is added.

    Returns:
        Path -> cost. Activations are the distinct storages that autograd saves in a training-mode forward pass, without parameters and
        buffers; a storage that several parts save belongs to the first. A network that does not train on images alone, as torchvision's
        detectors do not, is counted in evaluation mode instead, and the log says so. Those of the zoo have a `nominal_pass(x)`, which
        does the same work for all images of a size.
    """
    params, macs, adds, saved = Counter[str](), *operations(model.eval(), x, paths), _activations(model, x, paths)
    seen: set[nn.Parameter] = set()
    for path, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            if parameter not in seen:
                params[owner(path, paths)] += parameter.numel()
                seen.add(parameter)
    return {path: Cost(params[path], macs[path], adds[path], saved[path]) for path in ("", *(p for p in paths if p))}


def operations(model: nn.Module, x: Tensor, paths: Collection[str] = ()) -> tuple[Counter[str], Counter[str]]:
    """Return MACs and squeeze additions per image of each part of a network, where "" is all that is in none of them.

    Args:
        model: the network.
        x: a batch of images, (N, C, H, W), on the model's device, which may be "meta".
        paths: the parts.
    """
    macs, adds = Counter[str](), Counter[str]()

    def count_gate(gated: Any, inputs: tuple[Tensor, ...]) -> None:
        path, elements = owner(names[gated], paths), inputs[0].numel() // len(x)
        macs[path] += elements * gated.scaled_maps
        adds[path] += elements * gated.squeezed_maps

    scales = [path for path, module in model.named_modules() if isinstance(module, ChannelScale)]
    names = {model.get_submodule(path): path for path in (*block_paths(model), *scales)}
    handles = [gated.register_forward_pre_hook(count_gate) for gated in names]
    try:
        with torch.no_grad(), _nominal(model), FlopCounterMode(display=False) as counter:
            readings = record_readings(lambda: model(x), model, paths, counter.get_total_flops)
    finally:
        for handle in handles:
            handle.remove()
    for path, flops in growth_by_part(readings).items():
        macs[path] += int(flops) // (2 * len(x))
    return macs, adds


@contextmanager
def _nominal(model: nn.Module) -> Iterator[None]:
    """Let a network whose work depends on what is in the images do its `nominal_pass` when it is called."""
    nominal = getattr(model, "nominal_pass", None)
    if nominal is None:
        yield
        return
    model.forward = nominal
    try:
        yield
    finally:
        del model.forward


def _activations(model: nn.Module, x: Tensor, paths: Collection[str]) -> Counter[str]:
    """Return the bytes per image that training keeps, or those of evaluation if the network needs more than images to train."""
    try:
        return _saved_bytes(model.train(), x, paths)
    except (AssertionError, TypeError, ValueError, AttributeError, LookupError) as error:
        reason = printable(f"{type(error).__name__}: {error}")
        log.warning("%s does not train on images alone (%s): its activations are those of evaluation", type(model).__name__, reason)
        return _saved_bytes(model.eval(), x, paths)


def _saved_bytes(model: nn.Module, x: Tensor, paths: Collection[str]) -> Counter[str]:
    """Return the bytes per image that each part is the first to save for the backward pass."""
    x = torch.cat([x, x]) if len(x) == 1 else x
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices, outputs = [x.device] if x.is_cuda else [], []
    with (
        torch.enable_grad(),
        torch.random.fork_rng(devices),
        _nominal(model),
        backend(REFERENCE),
        SavedBytes((*model.parameters(), *buffers.values())) as saved,
    ):
        readings = record_readings(lambda: outputs.append(functional_call(model, buffers, (x,))), model, paths, lambda: saved.total)
    return Counter({path: int(amount) // len(x) for path, amount in growth_by_part(readings).items()})
