"""Hold a plan against a network, as a whole, before anything changes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from senet.blocks.build import build_block
from senet.errors import UsageError
from senet.insertion.faithful import unfaithful
from senet.insertion.gated import Gated
from senet.insertion.plan import InsertPlan, Site
from senet.insertion.rewrite import Rewritten, why_not_rewritten
from senet.surgery.graph import ModuleGraph
from senet.surgery.probe import Probe
from senet.surgery.trace import Container, container_of

FEW_WEIGHTS = 2 * 10**8
"""Weights that the blocks of a plan may have together; more only where they have no more than MANY_TIMES the network's."""

MANY_TIMES = 4


@dataclass(frozen=True)
class Host:
    """Module that a site names, with its graph if it is to be rewritten, else None, and the container of the site's unit."""

    module: nn.Module
    traced: Container | None
    container: nn.Module


def check_plan(model: nn.Module, plan: InsertPlan, seen: Probe) -> list[Host]:
    """Return the hosts of a plan's sites.

    Raises:
        UsageError: if the network is not the plan's, has been inserted into by it, or a block does not fit.
    """
    if not plan.sites:
        raise UsageError("the plan is empty: there is nothing to insert")
    modules = dict(model.named_modules(remove_duplicate=False))
    hosts: list[Host] = []
    places = set()
    names = set()
    traced: dict[nn.Module, Container] = {}
    numbers, most = 0, max(FEW_WEIGHTS, MANY_TIMES * sum(tensor.numel() for tensor in model.parameters()))
    for site in plan:
        module, container = modules.get(site.path), modules.get(site.container)
        if module is None or container is None:
            missing = site.path if module is None else site.container
            raise UsageError(f"this plan is of another network: {plan.model} has {missing!r}, this {type(model).__name__} has not")
        if isinstance(module, Gated | Rewritten) and type(module).__name__ != site.host:
            raise UsageError(f"this plan is inserted already: {site.path} has its block; senet.remove(model) takes it out")
        if type(module).__name__ != site.host:
            raise UsageError(f"this plan is of another network: {site.path} is a {site.host} there and a {type(module).__name__} here")
        if module not in seen.calls:
            raise UsageError(f"{site.path} does not run in evaluation mode: a block there would do nothing")
        if (place := (module, site.position, site.node, site.users)) in places:
            raise UsageError(f"the plan has two blocks for {site.path}")
        places.add(place)
        if site.position == "graph" and module not in traced:
            traced[module], _ = container_of(site.path, module, seen.calls[module])
            if (how := unfaithful(module, Rewritten(module, [], {}, traced[module].given), seen.calls[module])) is not None:
                raise UsageError(f"the forward of {site.path} ({site.host}) cannot be rewritten: {how} when it is traced")
        graph = traced[module] if site.position == "graph" else None
        channels = _channels(site, module, seen, graph)
        if channels != site.channels:
            raise UsageError(f"the block for {site.path} recalibrates {site.channels} channels, but the map there has {channels}")
        if site.position == "graph" and ((module, site.name) in names or site.name in _named(module)):
            raise UsageError(f"{site.path} has something else under the name {site.name!r}, which this plan gives to a block")
        names.add((module, site.name))
        numbers += _check_block(site, plan.init)
        if numbers > most:
            raise UsageError(f"the blocks up to {site.path} have {numbers:,} weights, more than {most:,}: make hidden= or maps= smaller")
        hosts.append(Host(module, graph, container))
    return hosts


def _channels(site: Site, module: nn.Module, seen: Probe, traced: Container | None) -> int | None:
    """Return the channels of what a site recalibrates."""
    if traced is not None:
        names = {node.name: node for node in traced.graph.nodes}
        for name in (site.node, *site.users, *([site.shortcut] if site.shortcut else [])):
            if name not in names:
                raise UsageError(f"this plan is of another network: the forward of {site.path} has no value {name!r} here")
        order = list(names)
        for name in site.users:
            if names[name] not in names[site.node].users or order.index(name) < order.index(site.shortcut or site.node):
                raise UsageError(f"this plan is of another network: in the forward of {site.path}, {name!r} does not come behind the block")
        if (reason := why_not_rewritten(traced)) is not None:
            raise UsageError(reason)
        shape = seen.shape(ModuleGraph(traced), names[site.node])
    else:
        value = seen.outputs.get(module) if site.position == "output" else next(iter(seen.calls[module].args), None)
        shape = tuple(value.shape) if isinstance(value, Tensor) else ()
    return shape[site.axis] if len(shape) > max(2, site.axis) else None


def _named(module: nn.Module) -> set[str]:
    """Return the names under which a module has tensors and children."""
    return {*module._modules, *module._parameters, *module._buffers}


def _check_block(site: Site, init: str | None) -> int:
    """Return how many weights a site's block has.

    Raises:
        UsageError: if it cannot be built, cannot start as it should, or takes another number of inputs than the site has.
    """
    try:
        with torch.device("meta"):
            block: Any = build_block(site.block, site.channels)
            if init == "identity":
                block.start_as_identity()
    except UsageError as error:
        raise UsageError(f"{site.path}: {error}") from error
    if block.sees_shortcut != bool(site.shortcut):
        takes = "takes a shortcut too, which this site lacks" if block.sees_shortcut else "takes no shortcut, which this site has"
        raise UsageError(f"{site.path}: a block of the kind {site.block.kind!r} {takes}")
    return sum(tensor.numel() for tensor in block.parameters())
