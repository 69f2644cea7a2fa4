"""A block in a graph: the value that it recalibrates, and who sees the result."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx

from senet.insertion.written import SITE


@dataclass(frozen=True)
class Edit:
    """Block and the place in a graph where it goes.

    Args:
        name: name of the block's sub-module.
        node: name of the value that it recalibrates.
        users: names of the operations that see the recalibrated value.
        axis: axis of its channels.
        shortcut: name of its second input, or "".
        gain: constant factor behind it.

    Raises:
        UsageError: if the name or the gain is not what a plan may say: both end in the source of a forward.
    """

    name: str
    node: str
    users: tuple[str, ...]
    axis: int = 1
    shortcut: str = ""
    gain: float = 1.0

    def __post_init__(self) -> None:
        for entry in ("name", "gain"):
            SITE[entry].check(getattr(self, entry), f"{entry} of a block")


def insert_block(graph: fx.Graph, nodes: Mapping[str, fx.Node], edit: Edit) -> None:
    """Put a block into a graph.

    Args:
        graph: the graph; it is changed.
        nodes: its nodes by name, as they were before the first edit.
        edit: what goes where.

    Raises:
        KeyError: if the graph has no value of that name.
    """
    value, users = nodes[edit.node], [nodes[name] for name in edit.users]
    inputs = (value, nodes[edit.shortcut]) if edit.shortcut else (value,)
    place = max(inputs, key=list(graph.nodes).index)
    with graph.inserting_before(place.next):
        maps = inputs if edit.axis == 1 else tuple(graph.call_function(torch.movedim, (value, edit.axis, 1)) for value in inputs)
        gated = graph.create_node("call_module", edit.name, maps)
        if edit.axis != 1:
            gated = graph.call_function(torch.movedim, (gated, 1, edit.axis))
        if edit.gain != 1:
            gated = graph.call_function(operator.mul, (gated, edit.gain))
    for user in users:
        user.replace_input_with(value, gated)
