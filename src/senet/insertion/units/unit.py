"""What a network repeats: units that a block can recalibrate, and the values at which it can sit."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from torch import fx, nn

from senet.surgery.flow import Flow


@dataclass(frozen=True)
class Cut:
    """A value that a block recalibrates for some of its users.

    Args:
        node: the value.
        users: the nodes that see the recalibrated value.
        shortcut: the second input of a block that weighs branch against shortcut.
    """

    node: fx.Node
    users: frozenset[fx.Node]
    shortcut: fx.Node | None = None


@dataclass(frozen=True)
class Unit:
    """One unit.

    Args:
        flow: the container that holds it.
        kind: residual, dense, concat, depthwise, encoder, bottleneck, decoder or chain.
        value: the unit's result.
        nodes: what it is made of.
        cuts: placement -> where the block can sit there, best place first.
    """

    flow: Flow
    kind: str
    value: fx.Node
    nodes: frozenset[fx.Node]
    cuts: dict[str, tuple[Cut, ...]]

    @cached_property
    def modules(self) -> frozenset[nn.Module]:
        """The modules that the unit calls, and all in them."""
        called = (self.flow.module(node) for node in self.nodes)
        return frozenset(inner for module in called if module is not None for inner in module.modules())


def all_users(node: fx.Node) -> Cut:
    """Return the cut at which every user sees the recalibrated value."""
    return Cut(node, frozenset(node.users))


def inside(path: str, parents: Collection[str]) -> bool:
    """Return whether a path is one of `parents` or below one."""
    return path in parents or any(path.startswith(f"{parent}.") for parent in parents)
