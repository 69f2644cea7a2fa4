"""Residual units: a branch with convolutions is added to a shortcut (Hu et al., 1709.01507, section 3.3 and Figure 5)."""

from torch import fx, nn

from senet.insertion.units.unit import Cut, Unit, all_users
from senet.surgery import roles
from senet.surgery.flow import Flow
from senet.surgery.graph import operands


def residual_units(flow: Flow) -> list[Unit]:
    """Find the additions of a branch and a shortcut that start from the same value.

    The branch is the side with more layers. The shortcut has at most one (its projection) beside depthwise convolutions. Sums over an
    upsampled map, over parts of one split, and of recalibrated maps are none.
    """
    units = []
    for node in flow.nodes:
        if (
            not flow.is_add(node)
            or (fork := flow.common_ancestor(operands(node))) is None
            or any(flow.name(user) == "getitem" for user in fork.users)
        ):
            continue
        paths = {operand: flow.path(fork, operand) for operand in operands(node)}
        shortcut, branch = sorted(operands(node), key=lambda operand: flow.layers(paths[operand]))
        if not flow.convolutions(paths[branch]) or flow.layers(paths[branch]) == flow.layers(paths[shortcut]):
            continue
        gates = {product for product, _ in flow.gates}
        depthwise = sum(map(roles.is_depthwise, flow.convolutions(paths[shortcut])))
        if flow.layers(paths[shortcut]) - depthwise > 1 or gates & set(paths[shortcut]) or flow.upsamples(paths[branch]):
            continue
        units.append(_unit(flow, node, branch, shortcut, fork))
    return units


def _unit(flow: Flow, total: fx.Node, branch: fx.Node, shortcut: fx.Node, fork: fx.Node) -> Unit:
    path = flow.path(fork, branch)
    end = total
    following = flow.only_reader(total)
    if following is not None and flow.is_activation(following):
        end = following
    cuts = {
        "standard": tuple(Cut(step.node, frozenset({step.user})) for step in flow.trace_back(branch, total, fork)),
        "pre": (Cut(fork, frozenset(user for user in fork.users if user in path)),),
        "post": (all_users(end),),
        "identity": tuple(Cut(step.node, frozenset({step.user})) for step in flow.trace_back(shortcut, total, fork)),
        "inner": inner_cuts(flow, path, fork),
        "pair": (Cut(branch, frozenset({total}), shortcut=shortcut),),
    }
    nodes = frozenset({*path, *flow.path(fork, shortcut), total, end})
    return Unit(flow, "residual", end, nodes, cuts)


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
