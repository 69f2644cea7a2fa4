"""Encoder and decoder blocks of segmentation networks (Roy et al., 1803.02579, Figure 1): maps are enlarged, joined, convolved."""

from collections.abc import Collection, Iterable

from torch import fx

from senet.insertion.units.answers import is_answer
from senet.insertion.units.concat import concatenated_maps
from senet.insertion.units.encoders import WhereMade, encoder_units, is_conv_block
from senet.insertion.units.unit import Unit, all_users
from senet.surgery.flow import Flow
from senet.surgery.graph import operands


def skip_units(flows: Iterable[Flow], *, plain: bool = True) -> list[Unit]:
    """Find the decoder block behind each enlarged map, joined with a skip or not, and the encoder blocks.

    What takes maps of several scales and gives as many exchanges them (Wang et al., 1908.07919, Figure 3) and is no decoder.

    Args:
        flows: the containers.
        plain: whether the network has no units of other kinds, which are its encoder's then.
    """
    flows = [flow for flow in flows if not _exchanges_scales(flow)]
    decoders: list[Unit] = []
    joined: list[WhereMade] = []
    for flow in flows:
        joints = {node: skips for node in flow.nodes if (skips := joined_skips(flow, node))}
        starts = {*joints, *(node for node in flow.nodes if flow.upsamples([node]))}
        for start in starts:
            decoders += [
                unit for unit in [_decoder(flow, start, starts)] if unit is not None and (start in joints or unit.value is not start)
            ]
        joined += [(flow, skip) for skips in joints.values() for skip in skips]
    values = {unit.value for unit in decoders}
    encoders = encoder_units(flows, joined, plain=plain) if decoders else []
    return [*(unit for unit in encoders if unit.value not in values), *decoders]


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
        if flow.is_activated(current) or is_conv_block(flow, current):
            values.append(current)
    value = next((value for value in values[::-1] if not is_answer(flow, "decoder", value)), None)
    if value is None:
        return None
    span = frozenset(node for node in nodes if flow.index[node] <= flow.index[value])
    return Unit(flow, "decoder", value, span, {"standard": (all_users(value),)})
