"""Blocks whose gate is known from the means of their input, as data."""

from typing import Any

from torch import nn

from senet.blocks.kinds import is_block
from senet.blocks.layers import has_plain_layers
from senet.ops.tail.gates import Excitation


def excitation_of(block: nn.Module) -> Excitation:
    """Return the gate of a block for which `why_not_commuted` has no reason."""
    gate = _mean_gate(block)
    assert gate is not None
    return gate


def why_not_commuted(block: nn.Module) -> str | None:
    """Return why a block's gate needs more than the means of its input, or None."""
    if _mean_gate(block) is not None:
        return None
    if not has_plain_layers(block):
        return "its layers have hooks, parametrisations or wrappers, which reading their weights would pass by"
    return f"the gate of {type(block).__name__} needs more than the means of its input"


def _mean_gate(block: Any) -> Excitation | None:
    gates = block.tail_gates() if is_block(block) else None
    return None if gates is None or gates.positions is not None else gates.channels
