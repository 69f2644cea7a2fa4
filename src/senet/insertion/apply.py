"""Carry out a plan: put the blocks in and prove them, or leave the network as it was."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from senet.blocks.build import build_block
from senet.errors import UsageError
from senet.insertion.check import Host, check_plan
from senet.insertion.edit import Edit
from senet.insertion.gated import Gated
from senet.insertion.plan import InsertPlan, Site
from senet.insertion.remove import unwrap_blocks
from senet.insertion.rewrite import Rewritten
from senet.insertion.verify import Inserted, verify
from senet.surgery.probe import probe
from senet.surgery.replace import replace_modules


def apply(model: nn.Module, plan: InsertPlan, example_input: Any = None, *, proof: bool = True) -> InsertPlan:
    """Carry out a plan and prove it; a network on the meta device can be built so, without the proof.

    Raises:
        UsageError: if the plan cannot be carried out; the network is then as it was.
    """
    hosts = check_plan(model, plan, probe(model, example_input, small=True))
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
        notes = verify(inserted, seen.calls)
        return replace(plan, sites=tuple(replace(entry.site, note=notes[entry.block] or entry.site.note) for entry in inserted))
    except BaseException:
        unwrap_blocks(model, {entry.block for entry in inserted}.__contains__)
        raise


def _put(model: nn.Module, plan: InsertPlan, hosts: list[Host]) -> list[Inserted]:
    """Carry out a checked plan."""
    current: dict[nn.Module, nn.Module] = {}
    steps = [(*_block(site, host, model, plan.init), host) for site, host in zip(plan, hosts, strict=True)]
    for host in {host.module: host for site, _, host in steps if site.position == "graph"}.values():
        inside = [(site, block) for site, block, other in steps if other.module is host.module and site.position == "graph"]
        edits = [Edit(site.name, site.node, site.users, site.axis, site.shortcut, site.gain) for site, _ in inside]
        blocks_by_name = {site.name: block for site, block in inside}
        current[host.module] = Rewritten(host.module, edits, blocks_by_name, host.traced.given if host.traced else {})
        replace_modules(model, {host.module: current[host.module]})
    for site, block, host in steps:
        if site.position != "graph":
            wrapped = current.get(host.module, host.module)
            on: Any = site.position
            current[host.module] = Gated(wrapped, block, on=on, axis=site.axis, gain=site.gain)
            replace_modules(model, {wrapped: current[host.module]})
    return [Inserted(site, block, current.get(host.container, host.container)) for site, block, host in steps]


def _block(site: Site, host: Host, model: nn.Module, init: str | None) -> tuple[Site, nn.Module]:
    """Build a block like its host: device, floating type, memory format, training flag. The site learns the gain."""
    like = next(p for module in (host.module, host.container, model) for p in module.parameters() if p.is_floating_point())
    block: Any = build_block(site.block, site.channels)
    gain = block.start_as_identity() if init == "identity" else 1.0
    kernels = [p for p in host.container.parameters() if p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last)]
    block = block.to(device=like.device, dtype=like.dtype)
    if any(not kernel.is_contiguous() for kernel in kernels):
        block = block.to(memory_format=torch.channels_last)
    return replace(site, gain=gain), block.train(host.module.training)
