"""Encoder and decoder blocks of segmentation networks (Roy et al., 1803.02579, Figure 1): maps are enlarged, joined, convolved."""

from collections.abc import Collection, Iterable, Iterator

from torch import fx, nn

from senet.insertion.units.answers import is_answer
from senet.insertion.units.concat import concatenated_maps
from senet.insertion.units.encoders import WhereMade, encoder_units, is_conv_block
from senet.insertion.units.joints import joined_skips, skip_joints, skips_as_elsewhere
from senet.insertion.units.unit import Unit, all_users
from senet.surgery.flow import Flow
from senet.surgery.graph import operands


def skip_units(flows: Iterable[Flow], others: Collection[Unit] = ()) -> list[Unit]:
    """Find the decoder block behind each enlarged map, joined with a skip or not, and the encoder blocks.

    What takes maps of several scales and gives as many exchanges them (Wang et al., 1908.07919, Figure 3) and is no decoder.

    Args:
        flows: the containers.
        others: the network's units of other kinds.
    """
    flows = [flow for flow in flows if not _exchanges_scales(flow)]
    skips = skip_joints(flows)
    decoders: list[Unit] = []
    joined: list[WhereMade] = []
    for flow in flows:
        joints = {node: found for node in flow.nodes if (found := joined_skips(flow, node) or skips_as_elsewhere(flow, node, skips))}
        starts = {*joints, *(node for node in flow.nodes if flow.upsamples([node]))}
        for start in starts:
            unit = _decoder(flow, start, starts)
            if unit is None or (start not in joints and _is_of_regions(unit)):
                continue
            if unit.value is not start or (start in joints and flow.sum_at(start) is not None):
                decoders.append(unit)
        joined += [(flow, skip) for found in joints.values() for skip in found]
    enlarging = {module for unit in decoders for module in _enlarging_before_joint(unit)}
    decoders = [unit for unit in decoders if unit.flow.container.module not in enlarging and not _goes_on(unit, [*decoders, *others])]
    values = {unit.value for unit in decoders}
    encoders = encoder_units(flows, joined, others) if decoders else []
    return [*(unit for unit in encoders if unit.value not in values), *decoders]


def _is_of_regions(unit: Unit) -> bool:
    """Return whether a block sees more maps than there are images: regions of them, which a detector's head enlarges for masks."""
    seen = unit.flow.seen
    return seen is not None and seen.shape(unit.flow, unit.value)[:1] > (seen.batch,)


def _enlarging_before_joint(unit: Unit) -> Iterator[nn.Module]:
    """Yield the modules in those that enlarge a map for the concatenation in a decoder block: they begin the block and are none.

    Attention gates read such a map beside the concatenation (Oktay et al., 1804.03999), so that it has more readers than one.
    """
    for node in unit.nodes:
        skips = joined_skips(unit.flow, node)
        for part in concatenated_maps(unit.flow, node):
            module = unit.flow.module(part)
            if part not in skips and module is not None and unit.flow.upsamples([part]):
                yield from module.modules()


def _goes_on(unit: Unit, units: Iterable[Unit]) -> bool:
    """Return whether a decoder block goes on behind the joint that follows: there is a block that takes what a concatenation gives.

    A sum behind a block that has one already is none's.
    """
    flow = unit.flow
    reader = flow.only_reader(unit.value)
    near = [other for other in units if other.flow is flow and other.value is not unit.value]
    if reader is not None and concatenated_maps(flow, reader):
        return any(reader in {*other.nodes, *(source for node in other.nodes for source in node.all_input_nodes)} for other in near)
    total = flow.sum_at(unit.value)
    if total is None or unit.nodes != {unit.value}:
        return False
    called = (flow.module(side) for side in total.maps)
    within = {inner for module in called if module is not None for inner in module.modules()}
    return any(other.kind == "decoder" and (other.value in total.maps or other.flow.container.module in within) for other in units)


def _exchanges_scales(flow: Flow) -> bool:
    given = [node for node in flow.nodes if flow.name(node) == "getitem" and operands(node)[0].op == "placeholder"]
    returned = flow.output.args[0]
    return len(given) > 1 and isinstance(returned, tuple | list) and len(returned) == len(given)


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
