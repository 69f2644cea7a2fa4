"""Hold a plan against a network, as a whole, before anything changes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from senet.blocks.build import build_block
from senet.errors import UsageError
from senet.insertion.gated import Gated
from senet.insertion.plan import InsertPlan, Site
from senet.insertion.rewrite import Rewritten, why_not_rewritten
from senet.surgery.arguments import Arguments
from senet.surgery.graph import ModuleGraph
from senet.surgery.probe import Probe
from senet.surgery.trace import container_of


@dataclass(frozen=True)
class Host:
    """Module that a site names, to be wrapped or rewritten, with the arguments of its call and the container of its unit."""

    module: nn.Module
    call: Arguments
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
        channels = _channels(site, module, seen)
        if channels != site.channels:
            raise UsageError(f"the block for {site.path} recalibrates {site.channels} channels, but the map there has {channels}")
        _check_block(site, plan.init)
        hosts.append(Host(module, seen.calls[module], container))
    return hosts


def _channels(site: Site, module: nn.Module, seen: Probe) -> int | None:
    """Return the channels of what a site recalibrates."""
    if site.position == "graph":
        container, _ = container_of(site.path, module, seen.calls[module])
        names = {node.name: node for node in container.graph.nodes}
        for name in (site.node, *site.users, *([site.shortcut] if site.shortcut else [])):
            if name not in names:
                raise UsageError(f"this plan is of another network: the forward of {site.path} has no value {name!r} here")
        if (reason := why_not_rewritten(container)) is not None:
            raise UsageError(reason)
        shape = seen.shape(ModuleGraph(container), names[site.node])
    else:
        value = seen.outputs.get(module) if site.position == "output" else next(iter(seen.calls[module].args), None)
        shape = tuple(value.shape) if isinstance(value, Tensor) else ()
    return shape[site.axis] if len(shape) > 2 else None


def _check_block(site: Site, init: str | None) -> None:
    """Raise UsageError if a site's block cannot be built, or cannot start as it should."""
    try:
        with torch.device("meta"):
            block: Any = build_block(site.block, site.channels)
            if init == "identity":
                block.start_as_identity()
    except UsageError as error:
        raise UsageError(f"{site.path}: {error}") from error
