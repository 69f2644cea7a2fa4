"""Encoder blocks of segmentation networks (Roy et al., 1803.02579, Figure 1): what a skip takes, or what is made smaller next."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from torch import Tensor, fx

from senet.insertion.units.unit import Unit, all_users
from senet.surgery import roles
from senet.surgery.arguments import signature
from senet.surgery.enlarging import larger
from senet.surgery.flow import Flow
from senet.surgery.graph import operands
from senet.surgery.provenance import makers

WhereMade = tuple[Flow, fx.Node]


def encoder_units(flows: Sequence[Flow], skips: Sequence[WhereMade], others: Collection[Unit]) -> list[Unit]:
    """Find the encoder block before each skip, which recalibrates the map for the skip and for what follows.

    A skip may be handed from module to module in lists and dictionaries: where it was made, the run tells. Encoders without skips end a
    block where the map is made smaller. The block between encoder and decoder gets none.

    Args:
        flows: the containers.
        skips: the maps that decoders join with enlarged ones.
        others: units of other kinds: an encoder that has some has no other blocks, and is looked through no further than its caller.
    """
    plain = not _before_last_skip(others, skips)
    found: dict[fx.Node, Unit] = {}
    for flow, skip in skips:
        near = _callers(flow, skip, flows) if skip.op == "placeholder" else [(flow, skip)]
        units = [unit for place in near if (unit := _encoder(*place)) is not None]
        if plain and not units:
            units = [unit for place in _made(flow, skip, flows) if (unit := _encoder(*place)) is not None][:1]
        found |= {unit.value: unit for unit in units}
    if plain and not found:
        shrunk = [(flow, node) for flow in flows for node in flow.nodes if _is_shrunk_next(flow, node)]
        found = {unit.value: unit for place in shrunk if (unit := _encoder(*place)) is not None}
    return list(found.values())


def block_before(flow: Flow, value: fx.Node, flows: Sequence[Flow]) -> Unit | None:
    """Return the block of convolutions that makes a value, wherever it was made."""
    near = _callers(flow, value, flows) if value.op == "placeholder" else [(flow, value)]
    places = [*near, *(made for place in (*near, (flow, value)) for made in _made(*place, flows))]
    return next((unit for place in places if (unit := _encoder(*place)) is not None), None)


def is_conv_block(flow: Flow, node: fx.Node) -> bool:
    """Return whether a node calls a module of convolutions and something else."""
    layers = [inner for inner in flow.inner(node) if next(inner.children(), None) is None]
    return len(layers) > 1 and bool(flow.convolutions([node]))


def _encoder(flow: Flow, skip: fx.Node) -> Unit | None:
    source = flow.source(skip)
    nodes = [source]
    while not flow.convolutions([nodes[-1]]) and (flow.is_norm(nodes[-1]) or flow.is_activation(nodes[-1]) or flow.passed(nodes[-1])):
        nodes.append(operands(nodes[-1])[0])
    if not is_conv_block(flow, source) and not (flow.is_activated(source) and flow.convolutions([nodes[-1]])):
        return None
    if not any(map(roles.is_wide, flow.convolutions(nodes))):
        return None  # a lateral projection
    return Unit(flow, "encoder", source, frozenset(nodes), {"standard": (all_users(source),)})


def _before_last_skip(units: Iterable[Unit], skips: Iterable[WhereMade]) -> bool:
    """Return whether one of the units runs before the last skip is made; without skips, whether there is one."""
    units = list(units)
    seen = next((unit.flow.seen for unit in units), None)
    if seen is None:
        return bool(units)
    runs = {module: index for index, module in enumerate(seen.calls)}
    made = [runs[module] for flow, skip in skips for module in makers(seen.value(flow, skip)) if module in runs]
    return any(runs.get(module, len(runs)) <= max(made, default=len(runs)) for unit in units for module in unit.modules)


def _made(flow: Flow, skip: fx.Node, flows: Sequence[Flow]) -> Iterator[WhereMade]:
    """Yield where a map may have been made: the modules whose results are in it with no layer since, the last ones first."""
    if flow.seen is None:
        return
    for module in makers(flow.seen.value(flow, skip)):
        if flow.seen.counts[module] > 1 or not isinstance(flow.seen.outputs.get(module), Tensor):
            continue
        for caller in flows:
            for node in caller.nodes:
                if caller.module(node) is module:
                    yield caller, node
                    yield caller, _end_of_run(caller, node)


def _end_of_run(flow: Flow, node: fx.Node) -> fx.Node:
    """Return the activation behind a convolution or a normalisation, or the node itself."""
    while (following := next((user for user in node.users if flow.is_norm(user) or flow.is_activation(user)), None)) is not None:
        node = following
    return node


def _is_shrunk_next(flow: Flow, node: fx.Node) -> bool:
    """Return whether a value goes on to a pool, or to something that makes it smaller."""
    if flow.seen is None or not (flow.is_activated(node) or is_conv_block(flow, node)):
        return False
    shape = flow.seen.shape(flow, node)
    return any(flow.pools(user) or larger(flow.seen.shape(flow, user), shape) for user in node.users)


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
