"""Find what follows a convolution and can become part of it: BN, block, constant factor, sum with a shortcut, ReLU."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from torch import fx, nn

from senet.blocks.kinds import is_block
from senet.deploy.gates import refusal
from senet.ops.hooks import has_own_hooks
from senet.ops.inference.squeeze import TAPS
from senet.surgery import roles
from senet.surgery.graph import ModuleGraph

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
RELU = {"relu", "relu_"}


@dataclass
class Chain:
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


class Usage:
    """Modules that can be replaced: those that one step of one container calls, and that no hook watches.

    Args:
        outlines: the containers of a network.
    """

    def __init__(self, outlines: Collection[ModuleGraph]) -> None:
        self.calls = sum((outline.calls for outline in outlines), Counter[nn.Module]())

    def free(self, module: nn.Module) -> bool:
        """Return whether a module can be replaced."""
        return self.calls[module] == 1 and not has_own_hooks(module)


def find_chains(outline: ModuleGraph, usage: Usage) -> list[Chain]:
    """Find the chains of a container; no node is in two. Those with a block take the sum that two meet in."""
    convs = [node for node in outline.nodes if type(outline.module(node)) is nn.Conv2d and len(node.args) == 1 and not node.kwargs]
    convs = [node for node in convs if usage.free(outline.called(node))]
    taken: set[fx.Node] = set()
    chains = {conv: _follow(outline, conv, usage, taken, stop="sum") for conv in convs}
    for conv in sorted(convs, key=lambda conv: "gate" not in chains[conv].parts):  # a stable sort: else the first comes first
        taken.difference_update(chains[conv].nodes)
        chains[conv] = _follow(outline, conv, usage, taken)
    return list(chains.values())


def _follow(outline: ModuleGraph, conv: fx.Node, usage: Usage, taken: set[fx.Node], stop: str = "") -> Chain:
    chain, value, rank = Chain(conv), conv, -1
    while (user := outline.only_user(value)) is not None and user not in taken:
        role = role_of(outline, user, value, usage)
        if role is None or role == stop:
            break
        if role in ORDER:
            if ORDER.index(role) <= rank or not ALLOWED[role](outline, chain, user):
                break
            rank = ORDER.index(role)
            chain.parts[role] = user
        chain.nodes.append(user)
        value = user
    chain.shorten(len(chain.nodes))
    taken.update(chain.nodes)
    return chain


def role_of(outline: ModuleGraph, node: fx.Node, value: fx.Node, usage: Usage) -> str | None:
    """Return what a node does to a value: one of ORDER, "keep" = nothing, None = something else."""
    module = outline.module(node)
    if module is not None:
        return None if len(node.args) != 1 or node.kwargs or has_own_hooks(module) else _role_of_module(module, usage)
    name, others = outline.name(node), [argument for argument in node.args if argument is not value]
    if name in RELU and not others and not set(node.kwargs) - {"inplace"}:
        return "relu"
    if node.kwargs or len(node.args) != 2 or len(others) != 1:
        return None
    if name in roles.ADD and isinstance(others[0], fx.Node):
        return "sum"
    return "factor" if name in roles.MULTIPLY and isinstance(others[0], int | float) else None


def _role_of_module(module: nn.Module, usage: Usage) -> str | None:
    if type(module) is nn.ReLU:
        return "relu"
    stateful = "norm" if type(module) in NORMS else "gate" if is_block(module) else None
    if stateful is not None:
        return stateful if usage.free(module) else None
    return "keep" if roles.is_kept(module) else None


def _norm_folds(outline: ModuleGraph, chain: Chain, node: fx.Node) -> bool:
    return getattr(outline.module(node), "running_mean", None) is not None


def _gate_commutes(outline: ModuleGraph, chain: Chain, node: fx.Node) -> bool:
    return refusal(outline.called(node)) is None and commutes(outline.called(chain.conv))


def _follows_gate(outline: ModuleGraph, chain: Chain, node: fx.Node) -> bool:
    return "gate" in chain.parts


def _can_wait(outline: ModuleGraph, chain: Chain, node: fx.Node) -> bool:
    """Return whether the convolution may run where the sum stands: nothing in between overwrites what it reads."""
    shortcut = next(argument for argument in node.args if isinstance(argument, fx.Node) and argument is not chain.end)
    if outline.mutates(node) and node.args[0] is shortcut and len(shortcut.users) > 1:
        return False  # others see the shortcut overwritten by the sum
    if outline.index[shortcut] < outline.index[chain.conv]:
        return True
    between = outline.nodes[outline.index[chain.conv] + 1 : outline.index[node]]
    return not any(outline.mutates(other) for other in between if other not in chain.nodes)


ALLOWED: Mapping[str, Callable[[ModuleGraph, Chain, fx.Node], bool]] = {
    "norm": _norm_folds,
    "gate": _gate_commutes,
    "factor": _follows_gate,
    "sum": _can_wait,
    "relu": lambda outline, chain, node: True,
}


def commutes(conv: nn.Module) -> bool:
    """Return whether the mean of a convolution's output is known from few means of its input."""
    if not isinstance(conv, nn.Conv2d) or conv.kernel_size not in TAPS:
        return False
    if conv.kernel_size == (1, 1):
        return conv.padding in ((0, 0), "valid", "same")
    same = conv.stride == conv.dilation == (1, 1) and conv.padding in ((1, 1), "same")
    return same and conv.padding_mode == "zeros"
