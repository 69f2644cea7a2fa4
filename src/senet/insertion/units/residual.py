"""Residual units: a branch with convolutions is added to a shortcut (Hu et al., 1709.01507, section 3.3 and Figure 5)."""

import itertools

from torch import fx, nn

from senet.insertion.units.concat import concatenated_maps
from senet.insertion.units.unit import Cut, Unit, all_users
from senet.surgery import roles
from senet.surgery.flow import Flow
from senet.surgery.probe import Probe
from senet.surgery.sums import Sum, maps_read


def residual_units(flow: Flow) -> list[Unit]:
    """Find the additions of a branch and a shortcut that start from the same value.

    The branch is the side with more layers. The shortcut has at most one (its projection) beside depthwise convolutions. Sums over an
    upsampled map, over parts of one split, and of recalibrated maps are none.
    """
    units = []
    for node in flow.nodes:
        total = flow.sum_at(node)
        sides = None if total is None else branch_and_shortcut(flow, *total.maps)
        if total is not None and sides is not None:
            units.append(_unit(flow, total, *sides))
    return units


def branch_and_shortcut(flow: Flow, one: fx.Node, other: fx.Node) -> tuple[fx.Node, fx.Node, fx.Node] | None:
    """Return which of two maps is the branch, which the shortcut, and the value from which both start; None if they are not such a pair."""
    fork = flow.common_ancestor((one, other))
    if fork is None or any(flow.name(user) == "getitem" and user.args[1] is not None for user in fork.users):
        return None
    paths = {side: flow.path(fork, side) for side in (one, other)}
    shortcut, branch = sorted(paths, key=lambda side: flow.layers(paths[side]))
    if not flow.convolutions(paths[branch]) or flow.layers(paths[branch]) == flow.layers(paths[shortcut]):
        return None
    gates = {product for product, _ in flow.gates}
    depthwise = sum(map(roles.is_depthwise, flow.convolutions(paths[shortcut])))
    if flow.layers(paths[shortcut]) - depthwise > 1 or gates & set(paths[shortcut]) or flow.upsamples([*paths[branch], *paths[shortcut]]):
        return None
    return branch, shortcut, fork


def _unit(flow: Flow, total: Sum, branch: fx.Node, shortcut: fx.Node, fork: fx.Node) -> Unit:
    path = flow.path(fork, branch)
    end = total.total
    following = flow.only_reader(end)
    if following is not None and flow.is_activation(following):
        end = following
    cuts = {
        "standard": tuple(Cut(step.node, frozenset({step.user})) for step in flow.trace_back(branch, total.reader, fork)),
        "pre": (Cut(fork, frozenset(user for user in fork.users if user in path)),),
        "post": (all_users(end),),
        "identity": tuple(Cut(step.node, frozenset({step.user})) for step in flow.trace_back(shortcut, total.reader, fork)),
        "inner": inner_cuts(flow, path, fork),
        "pair": (Cut(branch, frozenset({total.reader}), shortcut=shortcut),),
    }
    return Unit(flow, "residual", end, frozenset({*flow.path(fork, total.total), end}), cuts)


def unknown_joints(flow: Flow, seen: Probe) -> list[fx.Node]:
    """Return the nodes that join a branch and its shortcut in a way that is not known: by no sum, product or concatenation."""
    return [node for node in flow.nodes if _is_unknown_joint(flow, node, seen)]


def _is_unknown_joint(flow: Flow, node: fx.Node, seen: Probe) -> bool:
    name = flow.name(node)
    if node.op in ("placeholder", "get_attr", "output") or name in roles.MULTIPLY | {"getitem"} or flow.layers([node]) or flow.sum_at(node):
        return False
    if concatenated_maps(flow, node) or any(user for user in node.users if flow.sum_at(user)):
        return False
    values = dict.fromkeys(maps_read(node, flow.is_parameter))
    pairs = [pair for pair in itertools.combinations(values, 2) if branch_and_shortcut(flow, *pair) is not None]
    more = () if name in roles.CONCATENATE | {"stack"} else (node,)
    shapes = ({seen.shape(flow, value) for value in (*pair, *more)} for pair in pairs)  # asked for last: it runs the forward
    return any(len(found) == 1 and len(*found) > 2 for found in shapes)


def inner_cuts(flow: Flow, path: list[fx.Node], fork: fx.Node) -> tuple[Cut, ...]:
    """Return the place after a branch's first wide convolution, and after its normalisation and activation where these follow it."""
    wide = next((node for node in path if any(map(roles.is_wide, flow.convolutions([node])))), None)
    if wide is None or len(flow.convolutions([wide])) > 1:
        return ()
    last = wide if _preactivated(flow, path, fork) else flow.conv_norm_act(wide)[-1]
    return (all_users(last),)


def _preactivated(flow: Flow, path: list[fx.Node], fork: fx.Node) -> bool:
    """Return whether norm and activation come before a branch's convolutions: then the branch ends with a layer, not with a norm."""
    last = flow.source(path[-1])
    if flow.is_activation(last) or any(map(roles.is_norm, flow.inner(last))):
        return False
    normalised = any(roles.is_norm(inner) for node in path for inner in flow.inner(node))
    return normalised or flow.is_activation(flow.source(fork)) or flow.is_activation(path[0])


def branch_width(flow: Flow, unit: Unit) -> int | None:
    """Return the width of the first wide convolution of a unit, by which the authors of CMPE-SE count their maps."""
    ordered = sorted(unit.nodes, key=flow.index.__getitem__)
    wide: nn.Module | None = next((conv for conv in flow.convolutions(ordered) if roles.is_wide(conv)), None)
    return None if wide is None else int(wide.out_channels)  # pyright: ignore[reportArgumentType]
