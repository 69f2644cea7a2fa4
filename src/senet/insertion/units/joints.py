"""Joints of encoders and decoders: where enlarged maps are added to, or joined with, what was not enlarged."""

from collections.abc import Collection, Iterable

from torch import fx

from senet.insertion.units.concat import concatenated_maps
from senet.surgery.flow import Flow
from senet.surgery.graph import operands


def skip_joints(flows: Iterable[Flow]) -> set[tuple[type, str]]:
    """Return the concatenations and sums in forwards that join enlarged maps with others: class of the container, name of the node.

    A class that joins enlarged maps in one place joins what its encoder and decoder share in all: the innermost of MONAI's nested joints
    is around the block between encoder and decoder, where nothing is enlarged.
    """
    return {(type(flow.container.module), node.name) for flow in flows for node in flow.nodes if joined_skips(flow, node)}


def joined_skips(flow: Flow, node: fx.Node) -> list[fx.Node]:
    """Return those of the maps joined by a node that were not enlarged since the last joint; empty unless another was."""
    parts = joined_maps(flow, node)
    enlarged = [part for part in parts if flow.upsamples(_nodes_since_merge(flow, part)) and not _is_vector(flow, part)]
    return [part for part in parts if part not in enlarged] if enlarged else []


def skips_as_elsewhere(flow: Flow, node: fx.Node, skips: Collection[tuple[type, str]]) -> list[fx.Node]:
    """Return those of the maps joined by a node from which the others come, if the same forward joins skips elsewhere."""
    parts = joined_maps(flow, node) if (type(flow.container.module), node.name) in skips else []
    return [part for part in parts if all(part in flow.ancestors(other) for other in parts)]


def joined_maps(flow: Flow, node: fx.Node) -> list[fx.Node]:
    """Return the maps that a concatenation or a sum joins; empty for anything else."""
    total = flow.sum_at(node)
    return concatenated_maps(flow, node) or ([] if total is None else list(total.maps))


def _is_vector(flow: Flow, node: fx.Node) -> bool:
    """Return whether a map has one place only: it is a mean over the places of a map that was enlarged."""
    sides = flow.seen.shape(flow, node)[2:] if flow.seen is not None else ()
    return bool(sides) and set(sides) == {1}


def _nodes_since_merge(flow: Flow, node: fx.Node) -> set[fx.Node]:
    """Return a node and what leads to it, back to the last sums and concatenations."""
    nodes, queue = set[fx.Node](), [node]
    while queue:
        current = queue.pop()
        if current in nodes:
            continue
        nodes.add(current)
        if not concatenated_maps(flow, current) and flow.sum_at(current) is None:
            queue += operands(current)
    return nodes
