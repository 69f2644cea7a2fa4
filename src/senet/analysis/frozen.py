"""Gates replaced by constants for a while, and what that costs."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from senet.analysis.block_statistics import GateStatistics
from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.insertion.adopt import is_library_block, with_own_blocks
from senet.insertion.gains import gains
from senet.measuring.scores import Loss, Measure, Scores, points_lost
from senet.ops import reference
from senet.spec import check_choice

GateConstant = Tensor | float | None
"""What a gate is replaced by: (C,) one number a channel; one number, also as a tensor; or None, that the block changes nothing."""

_METHODS = ("forward", "gate", "tail_gates")
"""What a frozen block does in another way than its class says."""

FREEZE_MODES = {"channel": "each channel's mean gate", "mean": "one number, the mean gate", "none": "nothing: the block is left out"}
"""What a block's gates are replaced by."""


@contextmanager
def frozen_gates(model: nn.Module, constants: Mapping[str, GateConstant]) -> Iterator[None]:
    """Replace the gates of blocks by constants while a block of code runs: each returns its first input times its constant.

    A constant factor behind an inserted block stays behind it; with None it does not count, and the host is as it was before the insertion.
    The halves of scSE, `cse` and `sse`, are blocks of their own and are frozen each by itself, before they are joined; a constant for the
    path of scSE replaces both and their joining. The fused residual tail is not taken where a block is frozen. Blocks of other libraries
    that `adopt` knows are frozen as well.

    Args:
        model: the network; its modules, parameters and state dict stay as they are.
        constants: path of a block -> what replaces its gate.

    Raises:
        UsageError: if there is no block at a path, or a constant has another number of channels than the block.
    """
    blocks = {path: _block_at(model, path) for path in constants}
    behind = gains(model)
    own = {block: {name: vars(block)[name] for name in _METHODS if name in vars(block)} for block in blocks.values()}
    try:
        for path, block in blocks.items():
            constant = constants[path]
            vars(block).update(_frozen_methods(block, 1 / behind.get(block, 1.0) if constant is None else constant, path))
        yield
    finally:
        for block, methods in own.items():
            for name in _METHODS:
                vars(block).pop(name, None)
            vars(block).update(methods)


def _block_at(model: nn.Module, path: str) -> nn.Module:
    try:
        block = model.get_submodule(path)
    except AttributeError:
        block = None
    if block is None or not (is_block(block) or is_library_block(block)):
        known = [name for name, module in model.named_modules() if is_block(module) or is_library_block(module)]
        raise UsageError(f"{type(model).__name__} has no block at {path!r}; its blocks: {', '.join(known[:8]) or 'none'}")
    return block


def _frozen_methods(block: Any, constant: Tensor | float, path: str) -> dict[str, Callable[..., Any]]:
    if isinstance(constant, Tensor) and constant.numel() == 1:  # such as the recorded mean of gates of positions
        constant = constant.item()
    channels = _channels(block)
    if isinstance(constant, Tensor) and (constant.ndim != 1 or channels not in (None, len(constant))):
        wanted = f"{channels or 'C'} channels: a constant for each is ({channels or 'C'},)"
        raise UsageError(f"the block at {path!r} has {wanted}, got {tuple(constant.shape)}")

    def forward(x: Tensor, *_: Tensor) -> Tensor:
        if not isinstance(constant, Tensor):
            return x if constant == 1 else x * constant
        return reference.scale(x, constant.detach().to(x.device, x.dtype)[None])

    def gate(x: Tensor, *_: Tensor) -> Tensor:
        value = torch.as_tensor(constant).to(x.device, torch.promote_types(x.dtype, torch.float32))
        if getattr(block, "has_spatial_gates", False):
            return value.expand(len(x), 1, *x.shape[2:])
        return value.expand(len(x), x.shape[1])

    return {"forward": forward, "gate": gate, "tail_gates": lambda gain=1.0: None}


def _channels(block: nn.Module) -> int | None:
    """Return how many channels a block recalibrates; None if it does not say. Blocks of other libraries say it by their equal here."""
    own = with_own_blocks(nn.Sequential(block)).get_submodule("0") if is_library_block(block) else block
    return getattr(own, "channels", None)


@dataclass(frozen=True)
class BlockEffect:
    """Harm that freezing one block does.

    Args:
        path: path of the block; of scSE the whole, whose halves are frozen together.
        name: its name SE_<stage>_<unit>, or its path.
        losses: mode out of `FREEZE_MODES` -> what the metric loses.
    """

    path: str
    name: str
    losses: Mapping[str, Loss] = field(hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"path": self.path, "name": self.name, "losses": {mode: loss.to_dict() for mode, loss in self.losses.items()}}


def block_effects(
    model: nn.Module,
    measure: Measure,
    statistics: GateStatistics,
    *,
    modes: Sequence[str] = tuple(FREEZE_MODES),
    before: Scores | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[BlockEffect, ...]:
    """Measure what each block is worth: its gates are replaced by constants, one block at a time, and the network is measured again.

    Args:
        model: the network.
        measure: what scores it; it is called once a block and mode, on a network in the mode in which this one is.
        statistics: what `record_gates` returned for the network; the constants are its means, those of sSE over positions too.
        modes: what replaces gates, see `FREEZE_MODES`.
        before: scores of the network as it is; None = they are measured first.
        progress: called with how many measurements are done, and how many there are.

    Returns:
        One entry a block, in the order of execution.

    Raises:
        UsageError: for an unknown mode, or none, or statistics of another network.
    """
    check_modes(modes)
    network = with_own_blocks(model)
    before = measure(network) if before is None else before
    names = {block.block: block.name for block in reversed(statistics.blocks)}
    paths = list(dict.fromkeys(block.block for block in statistics.blocks))
    losses: dict[str, dict[str, Loss]] = {path: {} for path in paths}
    for done, (path, mode) in enumerate(product(paths, modes)):
        progress(done, len(paths) * len(modes))
        losses[path][mode] = loss_when_frozen(network, measure, frozen_constants(statistics, [path], mode), before)
    progress(len(paths) * len(modes), len(paths) * len(modes))
    return tuple(BlockEffect(path, names[path], losses[path]) for path in paths)


def check_modes(modes: Sequence[str]) -> None:
    """Raise UsageError unless these are modes out of `FREEZE_MODES`, at least one."""
    if not modes:
        raise UsageError(f"name a mode in which gates are frozen: {', '.join(FREEZE_MODES)}")
    for mode in modes:
        check_choice("mode", mode, tuple(FREEZE_MODES))


def loss_when_frozen(model: nn.Module, measure: Measure, frozen: Mapping[str, GateConstant], before: Scores) -> Loss:
    """Return what a network's metric loses when these gates are constant together."""
    with frozen_gates(model, frozen):
        return points_lost(before, measure(model))


def frozen_constants(statistics: GateStatistics, paths: Collection[str], mode: str) -> dict[str, GateConstant]:
    """Return what replaces the gates of blocks.

    Args:
        statistics: what `record_gates` returned.
        paths: paths of outermost blocks.
        mode: how, see `FREEZE_MODES`.
    """
    if mode == "none":
        return dict.fromkeys(paths)
    halves = [block for block in statistics.blocks if block.block in paths]
    return {block.path: block.mean if mode == "channel" and block.kind == "channel" else block.mean.mean().item() for block in halves}
