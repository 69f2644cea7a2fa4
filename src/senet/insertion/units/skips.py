"""Encoder and decoder blocks of segmentation networks (Roy et al., 1803.02579, Figure 1): maps are enlarged, joined, convolved."""

from collections.abc import Collection, Iterable

from torch import fx

from senet.insertion.units.answers import is_answer
from senet.insertion.units.concat import concatenated_maps
from senet.insertion.units.unit import Unit, all_users
from senet.surgery.arguments import signature
from senet.surgery.flow import Flow
from senet.surgery.graph import operands


def skip_units(flows: Iterable[Flow]) -> list[Unit]:
    """Find the decoder block behind each enlarged map, joined with a skip or not, and the encoder block before each skip.

    The encoder's block recalibrates the map for the skip and for what follows; the block between encoder and decoder gets none. What takes
    maps of several scales and gives as many exchanges them between branches (Wang et al., 1908.07919, Figure 3) and is no decoder.
    """
    flows = [flow for flow in flows if not _exchanges_scales(flow)]
    decoders, encoders = [], []
    for flow in flows:
        joints = {node: skips for node in flow.nodes if (skips := joined_skips(flow, node))}
        starts = {*joints, *(node for node in flow.nodes if flow.upsamples([node]))}
        for start in starts:
            decoders += [
                unit for unit in [_decoder(flow, start, starts)] if unit is not None and (start in joints or unit.value is not start)
            ]
        for skips in joints.values():
            for skip in skips:
                places = _callers(flow, skip, flows) if skip.op == "placeholder" else [(flow, skip)]
                encoders += [unit for place in places if (unit := _encoder(*place)) is not None]
    values = {unit.value for unit in decoders}
    unique = {unit.value: unit for unit in encoders if unit.value not in values}
    return [*unique.values(), *decoders]


def _exchanges_scales(flow: Flow) -> bool:
    given = [node for node in flow.nodes if flow.name(node) == "getitem" and operands(node)[0].op == "placeholder"]
    returned = flow.output.args[0]
    return len(given) > 1 and isinstance(returned, tuple | list) and len(returned) == len(given)


def joined_skips(flow: Flow, node: fx.Node) -> list[fx.Node]:
    """Return those of the maps joined by a node that were not enlarged since the last joint; empty unless another was."""
    total = flow.sum_at(node)
    parts = concatenated_maps(flow, node) or ([] if total is None else list(total.maps))
    enlarged = [part for part in parts if flow.upsamples(_nodes_since_merge(flow, part))]
    return [part for part in parts if part not in enlarged] if enlarged else []


def _nodes_since_merge(flow: Flow, node: fx.Node) -> list[fx.Node]:
    """Return a node and what leads to it, back to the last sums and concatenations."""
    nodes, queue = [], [node]
    while queue:
        current = queue.pop()
        nodes.append(current)
        if not concatenated_maps(flow, current) and flow.sum_at(current) is None:
            queue += operands(current)
    return nodes


def _decoder(flow: Flow, start: fx.Node, starts: Collection[fx.Node]) -> Unit | None:
    """Follow the convolutions behind a joint or an enlargement, up to the next one or to a fork; a head at the end is left out."""
    current = start
    nodes, values = [start], [start]
    while (current := flow.only_reader(current)) is not None and current.op != "output":
        if current in starts or not (flow.module(current) or flow.is_activation(current) or flow.passed(current)):
            break
        nodes.append(current)
        if flow.is_activated(current) or _is_block(flow, current):
            values.append(current)
    value = next((value for value in values[::-1] if not is_answer(flow, "decoder", value)), None)
    if value is None:
        return None
    span = frozenset(node for node in nodes if flow.index[node] <= flow.index[value])
    return Unit(flow, "decoder", value, span, {"standard": (all_users(value),)})


def _is_block(flow: Flow, node: fx.Node) -> bool:
    """Return whether a node calls a module of convolutions and something else."""
    layers = [inner for inner in flow.inner(node) if next(inner.children(), None) is None]
    return len(layers) > 1 and bool(flow.convolutions([node]))


def _encoder(flow: Flow, skip: fx.Node) -> Unit | None:
    source = flow.source(skip)
    nodes = [source]
    while not flow.convolutions([nodes[-1]]) and (flow.is_norm(nodes[-1]) or flow.is_activation(nodes[-1])):
        nodes.append(operands(nodes[-1])[0])
    if not _is_block(flow, source) and not (flow.is_activated(source) and flow.convolutions([nodes[-1]])):
        return None
    return Unit(flow, "encoder", source, frozenset(nodes), {"standard": (all_users(source),)})


def _callers(flow: Flow, placeholder: fx.Node, flows: Iterable[Flow]) -> list[tuple[Flow, fx.Node]]:
    """Return the values that other containers pass for one of this container's inputs."""
    takes = signature(flow.container.module)
    found = []
    for other in flows:
        for node in other.nodes:
            if other.module(node) is flow.container.module:
                value = takes.bind_partial(*node.args, **node.kwargs).arguments.get(str(placeholder.target))
                if isinstance(value, fx.Node):
                    found.append((other, value))
    return found
