"""Epilogues of convolutions: what follows one and can become part of it. BN, block, constant factor, sum with a shortcut, ReLU."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import fx, nn

from senet.blocks.kinds import is_block
from senet.deploy.containers import BATCH_NORMS
from senet.deploy.gates import why_not_commuted
from senet.ops.hooks import has_own_hooks
from senet.ops.inference.squeeze import TAPS
from senet.surgery import roles
from senet.surgery.graph import ModuleGraph
from senet.surgery.once import CalledOnce

RELU = {"relu", "relu_"}


@dataclass
class Epilogue:
    """A convolution and what follows it, all of it used once.

    Args:
        conv: the convolution.
        nodes: the nodes that it takes over, in order.
        parts: role -> node, of those among them that do something.
    """

    conv: fx.Node
    nodes: list[fx.Node] = field(default_factory=list)
    parts: dict[str, fx.Node] = field(default_factory=dict)

    @property
    def end(self) -> fx.Node:
        """The last node."""
        return self.nodes[-1] if self.nodes else self.conv

    @property
    def shortcut(self) -> fx.Node | None:
        """The value that is added."""
        total = self.parts.get("sum")
        own = {self.conv, *self.nodes}
        return None if total is None else next(value for value in total.all_input_nodes if value not in own)

    @property
    def gain(self) -> float:
        """The constant factor behind the block."""
        factor = self.parts.get("factor")
        return 1.0 if factor is None else next(float(value) for value in factor.args if isinstance(value, int | float))

    def shorten(self, length: int) -> None:
        """Keep the first so many nodes, without those at the end that do nothing."""
        kept = self.nodes[:length]
        self.parts = {role: node for role, node in self.parts.items() if node in kept}
        while kept and kept[-1] not in self.parts.values():
            kept.pop()
        self.nodes = kept


ORDER = ("norm", "gate", "factor", "sum", "relu")
"""Roles in the order in which a convolution can take them over, each at most once."""


def find_epilogues(graph: ModuleGraph, once: CalledOnce) -> list[Epilogue]:
    """Find the epilogues of the convolutions of a container; no node is in two. Those with a block take the sum that two meet in."""
    convs = [node for node in graph.nodes if type(graph.module(node)) is nn.Conv2d and len(node.args) == 1 and not node.kwargs]
    convs = [node for node in convs if graph.called(node) in once]
    taken: set[fx.Node] = set()
    epilogues = {conv: _follow(graph, conv, once, taken, stop="sum") for conv in convs}
    for conv in sorted(convs, key=lambda conv: "gate" not in epilogues[conv].parts):  # a stable sort: else the first comes first
        taken.difference_update(epilogues[conv].nodes)
        epilogues[conv] = _follow(graph, conv, once, taken)
    return list(epilogues.values())


def _follow(graph: ModuleGraph, conv: fx.Node, once: CalledOnce, taken: set[fx.Node], stop: str = "") -> Epilogue:
    epilogue, value, rank = Epilogue(conv), conv, -1
    while (user := graph.only_user(value)) is not None and user not in taken:
        role = role_of(graph, user, value, once)
        if role is None or role == stop:
            break
        if role in ORDER:
            if ORDER.index(role) <= rank or not ALLOWED[role](graph, epilogue, user):
                break
            rank = ORDER.index(role)
            epilogue.parts[role] = user
        epilogue.nodes.append(user)
        value = user
    epilogue.shorten(len(epilogue.nodes))
    taken.update(epilogue.nodes)
    return epilogue


def role_of(graph: ModuleGraph, node: fx.Node, value: fx.Node, once: CalledOnce) -> str | None:
    """Return what a node does to a value: one of ORDER, "identity" = nothing, None = something else."""
    module = graph.module(node)
    if module is not None:
        return None if len(node.args) != 1 or node.kwargs or has_own_hooks(module) else _role_of_module(module, once)
    name, others = graph.name(node), [argument for argument in node.args if argument is not value]
    if name in RELU and not others and not set(node.kwargs) - {"inplace"}:
        return "relu"
    if node.kwargs or len(node.args) != 2 or len(others) != 1:
        return None
    if name in roles.ADD and isinstance(others[0], fx.Node):
        return "sum"
    return "factor" if name in roles.MULTIPLY and isinstance(others[0], int | float) else None


def _role_of_module(module: nn.Module, once: CalledOnce) -> str | None:
    if type(module) is nn.ReLU:
        return "relu"
    stateful = "norm" if type(module) in BATCH_NORMS else "gate" if is_block(module) else None
    if stateful is not None:
        return stateful if module in once else None
    return "identity" if roles.is_identity(module) else None


def _norm_folds(graph: ModuleGraph, epilogue: Epilogue, node: fx.Node) -> bool:
    return getattr(graph.module(node), "running_mean", None) is not None


def _gate_commutes(graph: ModuleGraph, epilogue: Epilogue, node: fx.Node) -> bool:
    return why_not_commuted(graph.called(node)) is None and commutes(graph.called(epilogue.conv))


def _follows_gate(graph: ModuleGraph, epilogue: Epilogue, node: fx.Node) -> bool:
    return "gate" in epilogue.parts


def _can_wait(graph: ModuleGraph, epilogue: Epilogue, node: fx.Node) -> bool:
    """Return whether the convolution may run where the sum stands: nothing in between overwrites what it reads."""
    shortcut = next(argument for argument in node.args if isinstance(argument, fx.Node) and argument is not epilogue.end)
    if graph.mutates(node) and node.args[0] is shortcut and len(shortcut.users) > 1:
        return False  # others see the shortcut overwritten by the sum
    if graph.index[shortcut] < graph.index[epilogue.conv]:
        return True
    between = graph.nodes[graph.index[epilogue.conv] + 1 : graph.index[node]]
    return not any(graph.mutates(other) for other in between if other not in epilogue.nodes)


ALLOWED: Mapping[str, Callable[[ModuleGraph, Epilogue, fx.Node], bool]] = {
    "norm": _norm_folds,
    "gate": _gate_commutes,
    "factor": _follows_gate,
    "sum": _can_wait,
    "relu": lambda graph, epilogue, node: True,
}


def commutes(conv: nn.Module) -> bool:
    """Return whether the mean of a convolution's output is known from few means of its input."""
    if not isinstance(conv, nn.Conv2d) or conv.kernel_size not in TAPS:
        return False
    if conv.kernel_size == (1, 1):
        return conv.padding in ((0, 0), "valid", "same")
    same = conv.stride == conv.dilation == (1, 1) and conv.padding in ((1, 1), "same")
    return same and conv.padding_mode == "zeros"
