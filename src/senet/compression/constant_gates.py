"""Constant gates of blocks, by the blocks' paths: as they are given, and as means over images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from senet.blocks.channel_spatial import ChannelSpatialSE
from senet.blocks.precision import precise
from senet.errors import UsageError, nearest
from senet.measuring.parts import block_paths

BOTH_HALVES = ("cse", "sse")
"""Names of the two blocks in an scSE block."""


@dataclass(frozen=True)
class ConstantGate:
    """Constant gate of one block.

    Args:
        path: the block's path.
        factors: (C,) float64; what it multiplies maps without negative numbers by.
        dtype: type in which the block computes gates.
        negative: (C,) what it multiplies negative numbers by, if that differs: scSE takes the larger of two products.
    """

    path: str
    factors: Tensor
    dtype: torch.dtype = torch.float32
    negative: Tensor | None = None

    @property
    def channels(self) -> int:
        """How many channels the block recalibrates."""
        return len(self.factors)

    @property
    def depends_on_sign(self) -> bool:
        """Whether negative numbers are multiplied by something else."""
        return self.negative is not None and not torch.equal(self.negative, self.factors)


def constant_gates(model: nn.Module, gates: Mapping[str, Tensor | float]) -> list[ConstantGate]:
    """Return constant gates as they are given, checked, in the order in which the network holds their blocks.

    Args:
        model: the network, whose blocks are all of this package.
        gates: path of a block, or of both halves of an scSE block -> (C,) or one number.

    Raises:
        UsageError: if there is no block at a path, only one half of an scSE block is given, or a gate has not one finite number a channel.
    """
    blocks: dict[str, Any] = {path: model.get_submodule(path) for path in block_paths(model) if path}
    whole = {path: gates[path] for path in blocks if path in gates}
    halves = {path: [f"{path}.{half}" for half in BOTH_HALVES] for path, block in blocks.items() if isinstance(block, ChannelSpatialSE)}
    known = {*whole, *(half for pair in halves.values() for half in pair)}
    for path in gates:
        if path not in known:
            some = ", ".join(list(blocks)[:3]) or "none at all"
            raise UsageError(f"the network has no block {path!r}{nearest(path, blocks)}; its blocks are {some}{' ...' * (len(blocks) > 3)}")
    found = []
    for path, block in blocks.items():
        given = [half for half in halves.get(path, ()) if half in gates]
        if path in whole and not given:
            found.append(ConstantGate(path, _checked(path, whole[path], block), _dtype(block)))
        elif len(given) == len(BOTH_HALVES) and path not in whole:
            found.append(joined_halves(path, block, *(_checked(half, gates[half], block) for half in given)))
        elif given:
            raise UsageError(f"{path} has the gates {', '.join(given)}: give both of its halves, or the whole block's alone")
    return found


def joined_halves(path: str, block: Any, channels: Tensor, positions: Tensor) -> ConstantGate:
    """Return the constant gate of an scSE block whose halves have constant gates, (C,) float64 each.

    Raises:
        UsageError: if the block joins them to something that is no multiple of its input.
    """
    if block.combine == "add":
        return ConstantGate(path, channels + positions, _dtype(block))
    if block.combine == "max":
        return ConstantGate(path, torch.maximum(channels, positions), _dtype(block), torch.minimum(channels, positions))
    raise UsageError(f"{path} combines its halves by {block.combine!r}: it has no constant gate, and stays a block")


def _dtype(block: nn.Module) -> torch.dtype:
    return precise(*(parameter for parameter in block.parameters()))


def _checked(path: str, gate: Tensor | float, block: Any) -> Tensor:
    channels = getattr(block, "channels", None) or torch.as_tensor(gate).numel()
    device = next((parameter.device for parameter in block.parameters()), None)
    factors = torch.as_tensor(gate, dtype=torch.float64).detach().to(device)
    if factors.shape not in ((), (1,), (channels,)) or not factors.isfinite().all():
        raise UsageError(f"{path} has {channels} channels: its gate is so many finite numbers or one, got shape {tuple(factors.shape)}")
    return factors.expand(channels).clone()
