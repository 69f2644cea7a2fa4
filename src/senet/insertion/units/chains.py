"""Convolutions in a row: depthwise-separable pairs, and plain chains of convolution, normalisation and activation."""

from torch import fx

from senet.insertion.units.unit import Unit, all_users
from senet.surgery import roles
from senet.surgery.flow import Flow


def depthwise_units(flow: Flow) -> list[Unit]:
    """Find the depthwise convolutions that a pointwise one follows; the block comes after the pointwise one, its norm and activation."""
    units = []
    for node in flow.nodes:
        if not _is_single(flow, node) or not roles.is_depthwise(flow.convolutions([node])[0]):
            continue
        first = flow.conv_norm_act(node)
        pointwise = flow.only_reader(first[-1])
        between = []
        while pointwise is not None and not flow.convolutions([pointwise]) and (flow.module(pointwise) or flow.passed(pointwise)):
            between.append(pointwise)
            pointwise = flow.only_reader(pointwise)
        if pointwise is None or not _is_single(flow, pointwise) or not roles.is_pointwise(flow.convolutions([pointwise])[0]):
            continue
        second = flow.conv_norm_act(pointwise)
        cuts = {"standard": tuple(all_users(last) for last in second[::-1]), "inner": (all_users(first[-1]),)}
        nodes = frozenset({*first, *between, *second})
        units.append(Unit(flow, "depthwise", second[-1], nodes, cuts))
    return units


def chain_units(flow: Flow) -> list[Unit]:
    """Find the convolutions that an activation follows; the block comes after the activation, or before it where that is out of reach."""
    units = []
    for node in flow.nodes:
        if not _is_single(flow, node):
            continue
        run = flow.conv_norm_act(node)
        if flow.is_activated(run[-1]):
            cuts = {"standard": tuple(all_users(last) for last in run[::-1])}
            units.append(Unit(flow, "chain", run[-1], frozenset(run), cuts))
    return units


def _is_single(flow: Flow, node: fx.Node) -> bool:
    return len(flow.convolutions([node])) == 1
