"""Concatenations: of parallel branches (Inception), and of a map with new features made from it (DenseNet, ShuffleNet)."""

from collections.abc import Collection, Mapping

from torch import fx

from senet.insertion.units.unit import Cut, Unit, all_users
from senet.surgery import roles
from senet.surgery.flow import Flow
from senet.surgery.layout import feature_axes


def concat_units(flow: Flow, skips: Collection[tuple[type, str]] = ()) -> list[Unit]:
    """Find the concatenations whose parts all come from one value.

    What a concatenation takes over unchanged is never rescaled, only what is new: where all parts are new, the block comes after the
    concatenation (Hu et al., 1709.01507, Figure 2); else each new part with convolutions is a unit of its own, of the kind "dense". A pool
    beside one branch takes over too: it is the shortcut of a unit that strides.

    Args:
        flow: the container.
        skips: joints of encoders and decoders: class of the container, name of the node.
    """
    units = []
    for node in flow.nodes:
        parts = concatenated_maps(flow, node)
        if (type(flow.container.module), node.name) in skips:
            continue
        if len(parts) < 2 or (fork := flow.common_ancestor(parts)) is None or _joins_places(flow, node):
            continue
        paths = {part: flow.path(fork, part) for part in parts}
        if any(map(flow.upsamples, paths.values())):
            continue
        made = [part for part in parts if flow.convolutions(paths[part])]
        pooled = _pooled_shortcut(flow, paths)
        new = [part for part in parts if part is not pooled and not _taken_over(flow, paths[part])]
        if len(new) == len(parts) and len(made) > 1:
            nodes = frozenset(inner for path in paths.values() for inner in path)
            units.append(Unit(flow, "concat", *_after(flow, node, nodes)))
        elif len(new) < len(parts):
            earlier = {part: {other for other in parts if flow.index[other] < flow.index[part]} for part in made}
            units += [_part(flow, part, frozenset(paths[part]).difference(*(paths[other] for other in earlier[part]))) for part in made]
    outer = [unit for unit in units if unit.kind == "concat"]
    return [
        unit for unit in units if not any(unit.value in other.nodes and unit is not other for other in outer if other.value != unit.value)
    ]


def concatenated_maps(flow: Flow, node: fx.Node) -> list[fx.Node]:
    """Return the maps that a node concatenates along the channels, or an empty list."""
    if flow.name(node) not in roles.CONCATENATE:
        return []
    parts, axis, *_ = [*node.args, *node.kwargs.values(), 0, 0]
    return [part for part in parts if isinstance(part, fx.Node)] if isinstance(parts, list | tuple) and axis in (1, -3) else []


def _joins_places(flow: Flow, node: fx.Node) -> bool:
    """Return whether what is joined along axis 1 is known to have its features on another one, as boxes of several maps have."""
    if flow.seen is None:
        return False
    value = flow.seen.value(flow, node)
    return value is not None and feature_axes(value) is not None and flow.seen.feature_axis(lambda seen: seen.value(flow, node)) != 1


def _taken_over(flow: Flow, path: list[fx.Node]) -> bool:
    return all(flow.name(node) in roles.SELECT or flow.passed(node) is not None for node in path)


def _pooled_shortcut(flow: Flow, paths: Mapping[fx.Node, list[fx.Node]]) -> fx.Node | None:
    """Return the part that only pools the value from which the one other part is made by several convolutions; None if it is not so."""
    branches = [part for part, path in paths.items() if len(flow.convolutions(path)) > 1]
    pooled = [part for part, path in paths.items() if all(flow.pools(node) or flow.passed(node) is not None for node in path)]
    return pooled[0] if len(paths) == 2 and len(branches) == len(pooled) == 1 else None


def _after(flow: Flow, node: fx.Node, nodes: frozenset[fx.Node]) -> tuple[fx.Node, frozenset[fx.Node], dict[str, tuple[Cut, ...]]]:
    """Return the value behind the normalisation, the activation and the shuffles that follow a concatenation."""
    value = node
    while (following := flow.only_reader(value)) is not None and following.op != "output":
        shaped = flow.name(following) in roles.SELECT
        if not (shaped or flow.is_norm(following) or flow.is_activation(following) or flow.passed(following) is not None):
            break
        value = following
    return value, nodes | {node, *flow.path(node, value)}, {"standard": (all_users(value), all_users(node))}


def _part(flow: Flow, part: fx.Node, nodes: frozenset[fx.Node]) -> Unit:
    source = flow.source(part)
    return Unit(flow, "dense", source, nodes, {"standard": (all_users(source),)})
