"""How maps flow through a container: what computes them, what only passes them on, what recalibrates them."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import fx, nn

from senet.surgery import roles
from senet.surgery.enlarging import larger
from senet.surgery.graph import ModuleGraph, operands
from senet.surgery.probe import Probe
from senet.surgery.sums import Sum, sum_at
from senet.surgery.trace import Container


@dataclass(frozen=True)
class Step:
    """A value on the way to where it is used.

    Args:
        node: the value.
        user: the node that uses it on this way.
    """

    node: fx.Node
    user: fx.Node


class Flow(ModuleGraph):
    """Graph of a container whose nodes are known by what they do to maps.

    Args:
        container: the container.
        gates: the modules of the network that recalibrate already; their layers are not counted.
        seen: a run of the network, which tells what enlarges maps; without one, functions are judged by their names.
    """

    def __init__(self, container: Container, gates: Collection[nn.Module] = (), seen: Probe | None = None) -> None:
        super().__init__(container)
        self._sums: dict[fx.Node, Sum | None] = {}
        self.gate_modules = gates
        self.seen = seen

    def layers(self, nodes: Collection[fx.Node]) -> int:
        """Count the convolutions and linear layers in nodes."""
        return sum(isinstance(inner, (*roles.CONVS, nn.Linear)) for node in nodes for inner in self.inner(node))

    def convolutions(self, nodes: Collection[fx.Node]) -> list[nn.Module]:
        """Return the convolutions in nodes."""
        return [inner for node in nodes for inner in self.inner(node) if isinstance(inner, roles.CONVS)]

    def inner(self, node: fx.Node) -> list[nn.Module]:
        """Return the module that a node calls and all in it, without those that recalibrate."""
        module = self.module(node)
        if module is None:
            return []
        gated = {inner for gate in module.modules() if gate in self.gate_modules for inner in gate.modules()}
        return [inner for inner in module.modules() if inner not in gated]

    def only_reader(self, node: fx.Node) -> fx.Node | None:
        """Return the one node that reads a value, apart from questions for its shape and in-place operations whose result is not used."""
        users = [user for user in node.users if (user.users or user.op == "output") and self.name(user) not in roles.ASK]
        return users[0] if len(users) == 1 else None

    def sum_at(self, node: fx.Node) -> Sum | None:
        """Return the sum of two maps that a node gives, None if it gives something else."""
        if node not in self._sums:
            self._sums[node] = sum_at(self, node, self.is_parameter)
        return self._sums[node]

    def is_identity(self, node: fx.Node) -> bool:
        """Return whether a node calls a module that does nothing in evaluation mode."""
        module = self.module(node)
        return module is not None and roles.is_identity(module)

    def is_norm(self, node: fx.Node) -> bool:
        """Return whether a node normalises."""
        module = self.module(node)
        return module is not None and roles.is_norm(module)

    def is_activation(self, node: fx.Node) -> bool:
        """Return whether a node acts on every number alone."""
        module = self.module(node)
        return self.name(node) in roles.ACTIVATE or (module is not None and roles.is_activation(module))

    def is_activated(self, node: fx.Node) -> bool:
        """Return whether a node is an activation, or a normalisation with one in it."""
        module = self.module(node)
        fused = module is not None and roles.is_norm(module) and any(map(roles.is_activation, module.children()))
        return fused or self.is_activation(node)

    def is_bounded(self, node: fx.Node) -> bool:
        """Return whether a node is an activation that saturates."""
        module = self.module(node)
        return self.name(node) in roles.BOUND or (module is not None and roles.is_bounded(module))

    def upsamples(self, nodes: Collection[fx.Node]) -> bool:
        """Return whether one of the nodes enlarges its map."""
        return any(map(self._enlarges, nodes))

    def _enlarges(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return self.seen is not None and self.module(node) in self.seen.upsampling
        if self.name(node) not in roles.UPSAMPLE:
            return False
        maps = operands(node)
        before, after = (self.seen.shape(self, maps[0]), self.seen.shape(self, node)) if self.seen is not None and maps else ((), ())
        return not (before and after) or larger(before, after)

    def pools(self, node: fx.Node) -> bool:
        """Return whether a node averages its map over windows, or takes the maximum."""
        return self.name(node) in roles.POOL or isinstance(self.module(node), roles.POOLS)

    def is_parameter(self, node: Any) -> bool:
        """Return whether a value comes from no input of the container: a number, a parameter, a reshaped parameter."""
        return not isinstance(node, fx.Node) or all(earlier.op != "placeholder" for earlier in self.ancestors(node))

    def passed(self, node: fx.Node) -> fx.Node | None:
        """Return the value that a node passes on; None if the node does more than scale, drop or permute."""
        inputs = operands(node)
        module = self.module(node)
        if module is not None:
            return inputs[0] if len(inputs) == 1 and (roles.is_scale(module) or roles.is_identity(module)) else None
        name = self.name(node)
        if name in roles.PERMUTE | roles.DROP | {"contiguous"}:
            return inputs[0] if len(inputs) == 1 else None
        if name in roles.MULTIPLY:
            maps = [value for value in operands(node) if not self.is_parameter(value)]
            return maps[0] if len(maps) == 1 else None
        return None

    def trace_back(self, node: fx.Node, user: fx.Node, stop: fx.Node | None = None) -> list[Step]:
        """Walk from a use of a value back over what only passes it on.

        Returns:
            The steps, nearest to the source first. They end before what computes the value, or at `stop`.
        """
        steps = [Step(node, user)]
        while steps[-1].node is not stop and (passed := self.passed(steps[-1].node)) is not None:
            steps.append(Step(passed, steps[-1].node))
        return steps[::-1]

    def source(self, node: fx.Node, *, shapes: bool = False) -> fx.Node:
        """Return what computes a value, behind what passes it on and, if asked, what only shapes it."""
        while True:
            passed = self.passed(node)
            if passed is not None:
                node = passed
            elif shapes and self.name(node) in roles.RESHAPES and operands(node):
                node = operands(node)[0]
            else:
                return node

    def conv_norm_act(self, conv: fx.Node) -> list[fx.Node]:
        """Return a convolution's node and the normalisation and activation that follow it, each used by the next alone."""
        nodes = [conv]
        for belongs in (self.is_norm, self.is_activation):
            following = self.only_reader(nodes[-1])
            while following is not None and self.is_identity(following):
                following = self.only_reader(following)
            if following is not None and belongs(following):
                nodes.append(following)
        return nodes

    @cached_property
    def gates(self) -> list[tuple[fx.Node, fx.Node]]:
        """The products of a map with a bounded function of layers of that map: (product, map)."""
        found = []
        for node in self.nodes:
            if self.name(node) not in roles.MULTIPLY or len(operands(node)) != 2:
                continue
            for one, other in (operands(node), operands(node)[::-1]):
                gate, gated = self.source(other, shapes=True), self.source(one)
                if self.is_bounded(gate) and gated in self.ancestors(gate) and self.layers(self.path(gated, gate)):
                    found.append((node, gated))
        return found

    @cached_property
    def is_gate(self) -> bool:
        """Whether the container recalibrates its one input."""
        inputs = [node for node in self.nodes if node.op == "placeholder" and node.users]
        return len(inputs) == 1 and any(gated is inputs[0] for _, gated in self.gates)
