"""Carry out a plan: check it as a whole, put the blocks in, prove them, or leave the network as it was."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from senet.blocks.build import build_block
from senet.errors import UsageError
from senet.insertion.gated import Gated
from senet.insertion.plan import InsertPlan, Site
from senet.insertion.remove import take_out
from senet.insertion.rewrite import Edit, Rewritten, why_not_rewritten
from senet.insertion.verify import Inserted, prove
from senet.surgery.arguments import Arguments
from senet.surgery.graph import ModuleGraph
from senet.surgery.probe import Probe, probe
from senet.surgery.replace import replace_modules
from senet.surgery.trace import container_of


def apply(model: nn.Module, plan: InsertPlan, example_input: Any = None, *, proof: bool = True) -> InsertPlan:
    """Carry out a plan and prove it; a network on the meta device can be built so, without the proof.

    Raises:
        UsageError: if the plan cannot be carried out; the network is then as it was.
    """
    hosts = _checked(model, plan, probe(model, example_input, small=True))
    inserted = _put(model, plan, hosts)
    if not proof:
        return replace(plan, sites=tuple(entry.site for entry in inserted))
    try:
        try:
            seen = probe(model, example_input, small=True)
        except UsageError as error:
            raise UsageError(
                f"{type(model).__name__} does not work with wrapped modules, its forward reads their attributes: {error}"
            ) from error
        notes = prove(inserted, seen.calls)
        return replace(plan, sites=tuple(replace(entry.site, note=notes[entry.block] or entry.site.note) for entry in inserted))
    except BaseException:
        take_out(model, {entry.block for entry in inserted}.__contains__)
        raise


@dataclass(frozen=True)
class Host:
    """What a site names: the module to wrap or rewrite, how the network calls it, and the container of its unit."""

    module: nn.Module
    call: Arguments
    container: nn.Module


def _checked(model: nn.Module, plan: InsertPlan, seen: Probe) -> list[Host]:
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
            block = build_block(site.block, site.channels)
            if init == "identity":
                _identity(block)
    except UsageError as error:
        raise UsageError(f"{site.path}: {error}") from error


def _put(model: nn.Module, plan: InsertPlan, hosts: list[Host]) -> list[Inserted]:
    """Carry out a checked plan."""
    current: dict[nn.Module, nn.Module] = {}
    blocks, sites = [], []
    for site, host in zip(plan, hosts, strict=True):
        block, gain = _block(site, host, model, plan.init)
        blocks.append(block)
        sites.append(replace(site, gain=gain))
    steps = list(zip(sites, hosts, blocks, strict=True))
    for host in {host.module: host for site, host, _ in steps if site.position == "graph"}.values():
        inside = [(site, block) for site, other, block in steps if other.module is host.module and site.position == "graph"]
        edits = [Edit(site.name, site.node, site.users, site.shortcut, site.gain) for site, _ in inside]
        blocks_by_name = {site.name: block for site, block in inside}
        current[host.module] = Rewritten(host.module, edits, blocks_by_name, host.call.absent(host.module))
        replace_modules(model, {host.module: current[host.module]})
    for site, host, block in steps:
        if site.position != "graph":
            wrapped = current.get(host.module, host.module)
            on: Any = site.position
            current[host.module] = Gated(wrapped, block, on=on, axis=site.axis, gain=site.gain)
            replace_modules(model, {wrapped: current[host.module]})
    return [Inserted(site, block, current.get(host.container, host.container)) for site, host, block in steps]


def _block(site: Site, host: Host, model: nn.Module, init: str | None) -> tuple[nn.Module, float]:
    """Build a block like its host: device, floating type, memory format, training flag."""
    like = next(p for module in (host.module, host.container, model) for p in module.parameters() if p.is_floating_point())
    block = build_block(site.block, site.channels)
    gain = _identity(block) if init == "identity" else 1.0
    kernels = [p for p in host.container.parameters() if p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last)]
    block = block.to(device=like.device, dtype=like.dtype)
    if any(not kernel.is_contiguous() for kernel in kernels):
        block = block.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return block.train(host.module.training), gain


def _identity(block: Any) -> float:
    """Let a block begin as the identity, and return the constant factor that belongs behind it."""
    return block.start_as_identity()
