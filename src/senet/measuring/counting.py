"""What a network costs, module by module, on any machine: parameters, multiplications, activation memory."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from senet.blocks.kinds import is_block
from senet.measuring.saved import SavedBytes
from senet.ops.backend import REFERENCE, backend

Reading = TypeVar("Reading")


@dataclass(frozen=True)
class Cost:
    """Hold what a part of a network costs.

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


def block_paths(model: nn.Module) -> list[str]:
    """Return the paths of a network's recalibration blocks; blocks inside blocks belong to the outer one."""
    paths: list[str] = []
    for path, module in model.named_modules():
        if is_block(module) and not any(outer == "" or path.startswith(f"{outer}.") for outer in paths):
            paths.append(path)
    return paths


def unit_paths(model: nn.Module) -> list[str]:
    """Return the paths of the parts that a reader knows a network by: the root's children, and in place of a sequence what it holds."""
    paths: list[str] = []
    if is_block(model):
        return paths

    def walk(parent: nn.Module, prefix: str) -> None:
        for name, child in parent.named_children():
            if isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict):
                walk(child, f"{prefix}{name}.")
            else:
                paths.append(prefix + name)

    walk(model, "")
    return paths


def owner(path: str, paths: Collection[str]) -> str:
    """Return the innermost of `paths` that holds the module at `path`; "" is the network itself."""
    while path and path not in paths:
        path = path.rpartition(".")[0]
    return path


def count(model: nn.Module, x: Tensor, paths: Collection[str]) -> dict[str, Cost]:
    """Count what each part of a network costs by itself, without the parts inside it.

    Args:
        model: the network; its buffers are not touched, its training flags are changed.
        x: a batch of images, (N, C, H, W), on the model's device; for the activations a batch of one is doubled, since BatchNorm cannot
            train on a single value a channel.
        paths: the parts; "" for everything outside them is added.

    Returns:
        Path -> cost. Activations are the distinct storages that autograd saves in a training-mode forward pass, without parameters and
        buffers; a storage that several parts save belongs to the first.
    """
    params, macs, adds, saved = Counter[str](), *operations(model.eval(), x, paths), _saved_bytes(model.train(), x, paths)
    seen: set[nn.Parameter] = set()
    for path, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            if parameter not in seen:
                params[owner(path, paths)] += parameter.numel()
                seen.add(parameter)
    return {path: Cost(params[path], macs[path], adds[path], saved[path]) for path in ("", *(p for p in paths if p))}


def trace(run: Callable[[], object], model: nn.Module, paths: Collection[str], read: Callable[[], Reading]) -> list[tuple[str, Reading]]:
    """Take a reading whenever a part of a network begins or ends.

    Args:
        run: passes images through the model.
        model: the network.
        paths: the parts to watch.
        read: what to read: a clock, or a counter.

    Returns:
        (path of the part that ran until the reading, reading); the first entry is the reading at the start. "" is the network itself.
    """
    running = [""]
    log: list[tuple[str, Reading]] = []

    def begin(path: str) -> None:
        log.append((running[-1], read()))
        running.append(path)

    def end() -> None:
        log.append((running.pop(), read()))

    with _hooks(model, paths, begin, end):
        log.append(("", read()))
        run()
        log.append(("", read()))
    return log


def spent(log: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Add up, for each part in a trace, how much the reading grew while the part itself ran."""
    totals: dict[str, float] = {}
    for (_, before), (path, after) in pairwise(log):
        totals[path] = totals.get(path, 0) + after - before
    return totals


def operations(model: nn.Module, x: Tensor, paths: Collection[str] = ()) -> tuple[Counter[str], Counter[str]]:
    """Return MACs and squeeze additions per image of each part of a network, where "" is all that is in none of them.

    Args:
        model: the network.
        x: a batch of images, (N, C, H, W), on the model's device, which may be "meta".
        paths: the parts.
    """
    macs, adds = Counter[str](), Counter[str]()

    def weigh(gated: Any, inputs: tuple[Tensor, ...]) -> None:
        path, elements = owner(names[gated], paths), inputs[0].numel() // len(x)
        macs[path] += elements * gated.scaled_maps
        adds[path] += elements * gated.squeezed_maps

    names = {model.get_submodule(path): path for path in block_paths(model)}
    handles = [gated.register_forward_pre_hook(weigh) for gated in names]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            log = trace(lambda: model(x), model, paths, counter.get_total_flops)
    finally:
        for handle in handles:
            handle.remove()
    for path, flops in spent(log).items():
        macs[path] += int(flops) // (2 * len(x))
    return macs, adds


@contextmanager
def _hooks(model: nn.Module, paths: Collection[str], begin: Callable[[str], None], end: Callable[[], None]) -> Iterator[None]:
    modules = {path: model.get_submodule(path) for path in paths if path}
    handles = [module.register_forward_pre_hook(lambda *_, path=path: begin(path)) for path, module in modules.items()]
    handles += [module.register_forward_hook(lambda *_: end()) for module in modules.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _saved_bytes(model: nn.Module, x: Tensor, paths: Collection[str]) -> Counter[str]:
    """Return the bytes per image that each part is the first to save for the backward pass."""
    x = torch.cat([x, x]) if len(x) == 1 else x
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices, outputs = [x.device] if x.is_cuda else [], []
    with (
        torch.enable_grad(),
        torch.random.fork_rng(devices),
        backend(REFERENCE),
        SavedBytes((*model.parameters(), *buffers.values())) as saved,
    ):
        log = trace(lambda: outputs.append(functional_call(model, buffers, (x,))), model, paths, lambda: saved.total)
    return Counter({path: int(amount) // len(x) for path, amount in spent(log).items()})
