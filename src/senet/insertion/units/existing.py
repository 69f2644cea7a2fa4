"""Recognise what recalibrates already, ours or another library's."""

from collections.abc import Collection, Iterable

from torch import nn

from senet.blocks.kinds import is_block
from senet.insertion.gated import Gated
from senet.insertion.units.unit import Unit
from senet.surgery.flow import Flow
from senet.surgery.trace import Container


def gate_modules(model: nn.Module, containers: Iterable[Container]) -> set[nn.Module]:
    """Return the modules that multiply their one input by a bounded function of it, and the blocks of this package."""
    gates = {container.module for container in containers if Flow(container).is_gate}
    return gates | {module for module in model.modules() if is_block(module)}


def recalibrates(unit: Unit, gates: Collection[nn.Module], model: nn.Module) -> bool:
    """Return whether a unit has a gate: a module in it or right behind it, a product in its container's own forward, or a wrapper."""
    flow = unit.flow
    behind = [user for user in unit.value.users if not flow.layers([user])]  # a gate alone, perhaps wrapped
    called = [module for node in (*unit.nodes, *behind) if (module := flow.module(node)) is not None]
    if any(inner in gates for module in called for inner in module.modules()):
        return True
    if any(product in unit.nodes or gated in unit.nodes for product, gated in flow.gates):
        return True
    parent = model.get_submodule(flow.container.path.rpartition(".")[0]) if flow.container.path else None
    return isinstance(parent, Gated)
