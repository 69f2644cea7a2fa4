"""What convolutions of one container hand on to each other, so that kernels behind the second do what the first leaves undone.

The one before a convolution whose block squeezes its input sums the map as it writes it; the projection of a shortcut leaves its bias to
the sum. Both return two values then, of which the second is None where no backend has such kernels.
"""

from dataclasses import dataclass, field

from torch import fx

from senet.deploy.epilogue import Epilogue
from senet.deploy.layers import FusedConv2d, SqueezingConv2d, UnbiasedConv2d
from senet.ops.hooks import has_own_hooks
from senet.surgery import roles
from senet.surgery.graph import ModuleGraph

Fused = dict[fx.Node, tuple[Epilogue, FusedConv2d]]
"""Call of a convolution -> its epilogue, and what does both."""


@dataclass(frozen=True)
class Handovers:
    """Convolutions that hand on something, and to which; each a node of the container's graph.

    Args:
        squeezes: a convolution -> the next, whose block takes the means of what lies between.
        biases: the projection of a shortcut -> the convolution that adds it.
    """

    squeezes: dict[fx.Node, fx.Node] = field(default_factory=dict)
    biases: dict[fx.Node, fx.Node] = field(default_factory=dict)

    @property
    def givers(self) -> set[fx.Node]:
        """Those that hand something on."""
        return {*self.squeezes, *self.biases}

    def giver(self, node: fx.Node, fused: FusedConv2d) -> FusedConv2d:
        """Make a convolution one that hands on what it is to; the others stay."""
        kind = SqueezingConv2d if node in self.squeezes else UnbiasedConv2d if node in self.biases else FusedConv2d
        fused.__class__ = kind
        return fused

    def arguments(self, epilogue: Epilogue, second: dict[fx.Node, fx.Node]) -> tuple[fx.Node | None, ...]:
        """Return what a convolution is called with: its input, the shortcut, parts and the shortcut's bias, without None at the end.

        Args:
            epilogue: of the convolution.
            second: the second value of each that hands on.
        """
        parts, bias = (
            next((second[giver] for giver, taker in given.items() if taker is epilogue.conv), None)
            for given in (self.squeezes, self.biases)
        )
        row = [*epilogue.conv.args, epilogue.shortcut, parts, bias]
        while row[-1] is None:
            row.pop()
        return tuple(row)  # pyright: ignore[reportReturnType]


def find_handovers(graph: ModuleGraph, fused: Fused) -> Handovers:
    """Find what convolutions can hand on: of values that nobody else sees."""
    ends = {epilogue.end: epilogue for epilogue, _ in fused.values()}
    found = Handovers()
    for node, (epilogue, conv) in fused.items():
        before = _giver(graph, ends, node.args[0], {"norm", "relu"})
        if before is not None and conv.gate is not None and conv.gate.direct:
            found.squeezes[before.conv] = node
        projection = _giver(graph, ends, epilogue.shortcut, {"norm"})
        if projection is not None:
            found.biases[projection.conv] = node
    return found


def _giver(graph: ModuleGraph, ends: dict[fx.Node, Epilogue], value: object, parts: set[str]) -> Epilogue | None:
    """Return the epilogue that ends in a value of which there is one user, if it has no other parts than these."""
    while isinstance(value, fx.Node) and value not in ends and _is_identity(graph, value):
        value = value.args[0]
    epilogue = ends.get(value) if isinstance(value, fx.Node) else None
    return epilogue if epilogue is not None and len(epilogue.end.users) == 1 and epilogue.parts.keys() <= parts else None


def _is_identity(graph: ModuleGraph, node: fx.Node) -> bool:
    """Return whether a node hands its one value on as it is, to one user."""
    module = graph.module(node)
    if module is None or not roles.is_identity(module) or has_own_hooks(module):
        return False
    return len(node.args) == len(node.users) == 1 and not node.kwargs
