"""Which layers can take up a constant factor a channel: those that make the scaled map, else those that read it.

What lies between has to pass the factors on: sums, concatenations, averages and resampling do, ReLUs and max-pools do for factors that are
not negative. Every value in between must be seen by nothing else.
"""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import dropout, padding, pooling, upsampling

from senet.compression.scaled_layers import Uptake
from senet.ops.hooks import has_own_hooks
from senet.surgery import roles
from senet.surgery.channel_scale import ChannelScale, PassThrough
from senet.surgery.layer_graph import LayerGraph
from senet.surgery.widths import has_widths, widths_of

FACTORED = (*roles.CONVS, *roles.NORMS, nn.Linear)
LINEAR_MODULES = (
    *(dropout._DropoutNd, pooling._AvgPoolNd, pooling._AdaptiveAvgPoolNd, upsampling.Upsample),
    *(padding._ReflectionPadNd, padding._ReplicationPadNd, padding.ZeroPad1d, padding.ZeroPad2d, padding.ZeroPad3d),
)
"""Modules that pass any factor on."""

RECTIFYING_MODULES = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, pooling._MaxPoolNd, pooling._AdaptiveMaxPoolNd)
"""Modules that pass factors on that are not negative."""

LINEAR_FUNCTIONS = {
    *("contiguous", "clone", "neg", "to", "type", "float", "half", "interpolate", "upsample"),
    *(f"{kind}{dimensions}d" for kind in ("avg_pool", "adaptive_avg_pool") for dimensions in (1, 2, 3)),
    *roles.DROP - {"alpha_dropout"},
}
RECTIFYING_FUNCTIONS = {
    *("relu", "relu_", "leaky_relu", "leaky_relu_"),
    *(f"{kind}{dimensions}d" for kind in ("max_pool", "adaptive_max_pool") for dimensions in (1, 2, 3)),
}
NOT_NEGATIVE = {"relu", "relu_", "sigmoid", "hardsigmoid"}
ABOUT = {"shape", "ndim", "dtype", "device", "is_cuda", "requires_grad", "layout"}
"""Attributes of a map that say nothing of its numbers."""

RESAMPLING = {"interpolate", "upsample"}
"""Functions that may overshoot: a bicubic map of no negative numbers may have some."""

DIVIDE = {"truediv", "div", "div_"}


class CannotFoldError(Exception):
    """Reason why factors stay where they are."""


class Absorption:
    """Search in one graph for the layers that take up factors.

    Args:
        graph: the graph.
        owners: parameter -> how many modules of the network hold it.
        elsewhere: modules that are called by other ways than the graph's too.
        kept: modules whose outputs others may read beside the forward: a network's stages.
    """

    def __init__(
        self, graph: LayerGraph, owners: Mapping[nn.Parameter, int], elsewhere: Collection[nn.Module], kept: Collection[nn.Module]
    ) -> None:
        self.graph = graph
        self.owners = owners
        self.elsewhere = elsewhere
        self.kept = frozenset(kept)
        named = dict(graph.container.module.named_parameters(remove_duplicate=False))
        self.by_hand = {named[str(node.target)] for node in graph.nodes if node.op == "get_attr" and node.target in named}

    def before(self, node: fx.Node, factors: Tensor) -> list[Uptake]:
        """Return what makes a map come out with these factors (C,), given the node that multiplies by them.

        Raises:
            CannotFoldError: if nothing does.
        """
        return self._made(_first(node), node, factors, 1)

    def behind(self, node: fx.Node, factors: Tensor) -> list[Uptake]:
        """Return what makes up for the factors (C,) that a node would multiply by, in all that reads its map.

        Raises:
            CannotFoldError: if something that reads it cannot.
        """
        return self._read(node, factors, 1)

    def _made(self, node: fx.Node, user: fx.Node, factors: Tensor, axis: int) -> list[Uptake]:
        """Return the uptakes that multiply a value, of which `user` is to be the only reader."""
        if any(reader is not user for reader in self._readers(node)):
            raise CannotFoldError(f"{self._words(node)} is read elsewhere too")
        self._check_unseen(node)
        if node.op == "placeholder":
            raise CannotFoldError(f"what makes it lies outside {self.graph.container.path or 'the network'}")
        module, name = self.graph.module(node), self.graph.name(node)
        if isinstance(module, FACTORED):
            return [self._uptake(node, module, "outputs", factors, axis)]
        if name in roles.ADD and len(_operands(node)) == len(node.args) == 2:
            parts = [(value, factors) for value in dict.fromkeys(_operands(node))]  # x + x is one value
        elif name in roles.CONCATENATE and axis == _concatenated_along(node):
            parts = self._split(node, factors)
        elif (turned := self._turned(node, axis)) is not None:
            return self._made(_first(node), node, factors, turned)
        else:
            parts = [(_first(node), self._undone(node, factors, axis))]
        return [uptake for value, own in parts for uptake in self._made(value, node, own, axis)]

    def _read(self, node: fx.Node, factors: Tensor, axis: int) -> list[Uptake]:
        """Return the uptakes in all that reads a value, so that it may come without factors."""
        self._check_unseen(node)
        found = []
        for reader in self._readers(node):
            module, name = self.graph.module(reader), self.graph.name(reader)
            if reader.op == "output":
                raise CannotFoldError(f"{self.graph.container.path or 'the network'} returns it")
            if isinstance(module, FACTORED) and _operands(reader) == [node]:
                found.append(self._uptake(reader, module, "inputs", factors, axis))
            elif name in roles.CONCATENATE and axis == _concatenated_along(reader):
                found += self._read(reader, self._padded(reader, node, factors), axis)
            elif (turned := self._turned_back(reader, axis)) is not None:
                found += self._read(reader, factors, turned)
            else:
                found += self._read(reader, self._passed(reader, factors, axis), axis)
        return found

    def _uptake(self, node: fx.Node, layer: nn.Module, of: str, factors: Tensor, axis: int) -> Uptake:
        uptake = Uptake(layer, self.graph.module_path(node), of, factors)
        if axis != (-1 if isinstance(layer, nn.Linear | nn.LayerNorm) else 1):
            raise CannotFoldError(f"{uptake.path} has its channels along another axis")
        if self.graph.calls[layer] > 1 or layer in self.elsewhere:
            raise CannotFoldError(f"{uptake.path} is called more than once")
        if any(self.owners[parameter] > 1 or parameter in self.by_hand for parameter in layer.parameters()):
            raise CannotFoldError(f"{uptake.path} shares its weights with something else")
        if (reason := uptake.why_not()) is not None:
            raise CannotFoldError(reason)
        return uptake

    def _undone(self, node: fx.Node, factors: Tensor, axis: int) -> Tensor:
        """Return the factors that the first input of a node needs, so that its outcome has these."""
        module = self.graph.module(node)
        if isinstance(module, nn.ChannelShuffle) and axis == 1:
            return factors.view(-1, module.groups).t().flatten()
        return self._passed(node, factors, axis)

    def _passed(self, node: fx.Node, factors: Tensor, axis: int) -> Tensor:
        """Return the factors that the outcome of a node has where its first input has these."""
        module, name = self.graph.module(node), self.graph.name(node)
        if module is not None and has_own_hooks(module):
            raise CannotFoldError(f"{self.graph.module_path(node)} has hooks")
        if isinstance(module, nn.ChannelShuffle) and axis == 1:
            return factors.view(module.groups, -1).t().flatten()
        maps = [value for value in node.all_input_nodes if value.op != "get_attr"]
        if len(maps) == 1 and self._passes_any(node, module, name):
            return factors
        rectifies = name in RECTIFYING_FUNCTIONS or isinstance(module, RECTIFYING_MODULES)
        if rectifies and not getattr(module, "return_indices", False) and not node.kwargs.get("return_indices"):
            if (factors < 0).any():
                raise CannotFoldError(f"{self._words(node)} passes no negative factors on")
            return factors
        raise CannotFoldError(f"{self._words(node)} does not pass factors on")

    def _passes_any(self, node: fx.Node, module: nn.Module | None, name: str) -> bool:
        if module is not None:
            return isinstance(module, (*LINEAR_MODULES, PassThrough)) or roles.is_identity(module)
        if name in roles.MULTIPLY | DIVIDE:  # by a number or by a parameter
            maps = [_is_map(value) for value in node.args]
            return maps == [True, False] or (maps == [False, True] and name in roles.MULTIPLY)
        return name in LINEAR_FUNCTIONS

    def _turned(self, node: fx.Node, axis: int) -> int | None:
        """Return the axis of the channels in what a node is given, if it only orders the axes anew."""
        moved, order = self._moved(node), self._order(node)
        if moved is not None:
            return moved[0] if moved[1] == axis else None
        source = None if order is None else order[axis]
        return None if order is None or source is None else _named(source, len(order))

    def _turned_back(self, node: fx.Node, axis: int) -> int | None:
        """Return the axis of the channels in what a node gives, if it only orders the axes anew."""
        moved, order = self._moved(node), self._order(node)
        if moved is not None:
            return moved[1] if moved[0] == axis else None
        return None if order is None else _named(order.index(axis % len(order)), len(order))

    def _moved(self, node: fx.Node) -> tuple[int, int] | None:
        """Return from where to where a `movedim` moves the channels: 1, or -1 for the last axis.

        Around a block they are the second axis and the last one, by whichever number.
        """
        if self.graph.name(node) not in ("movedim", "moveaxis") or len(node.args) != 3:
            return None
        around = any(isinstance(self.graph.module(other), ChannelScale | PassThrough) for other in (*node.users, *node.all_input_nodes))
        axes = tuple(-1 if around and axis != 1 else axis for axis in node.args[1:])
        return axes if axes in ((1, -1), (-1, 1)) else None  # pyright: ignore[reportReturnType]

    def _order(self, node: fx.Node) -> list[int] | None:
        """Return the axes of what a `permute` is given in the order in which it gives them."""
        if self.graph.name(node) != "permute":
            return None
        order = node.args[1] if len(node.args) == 2 else node.args[1:]
        if not isinstance(order, list | tuple) or not all(isinstance(entry, int) for entry in order) or len(order) < 3:
            return None
        return [int(entry) % len(order) for entry in order]  # pyright: ignore[reportArgumentType]

    def _split(self, node: fx.Node, factors: Tensor) -> list[tuple[fx.Node, Tensor]]:
        """Return the parts of a concatenation and the factors of each."""
        parts = _operands(node)
        if len(set(parts)) < len(parts):
            raise CannotFoldError(f"{self._words(node)} joins a map with itself")
        widths = [self._width(part) for part in parts]
        if sum(widths) != len(factors):
            raise CannotFoldError(f"{self._words(node)} joins {sum(widths)} channels where the block has {len(factors)}")
        return list(zip(parts, factors.split(widths), strict=True))

    def _padded(self, node: fx.Node, part: fx.Node, factors: Tensor) -> Tensor:
        """Return the factors of a concatenation of which one part has these."""
        parts = _operands(node)
        if parts.count(part) > 1:
            raise CannotFoldError(f"{self._words(node)} joins a map with itself")
        return torch.cat([factors if other is part else factors.new_ones(self._width(other)) for other in parts])

    def _width(self, node: fx.Node) -> int:
        """Return how many channels a map has."""
        module: Any = self.graph.module(node)
        if isinstance(module, (*roles.CONVS, *roles.NORMS)) and has_widths(module):
            return widths_of(module).outputs
        if isinstance(module, ChannelScale):
            return len(module.scale)
        name, inputs = self.graph.name(node), _operands(node)
        if name in roles.CONCATENATE and _concatenated_along(node) == 1:
            return sum(map(self._width, inputs))
        keeps = name in LINEAR_FUNCTIONS | RECTIFYING_FUNCTIONS | roles.ADD | roles.MULTIPLY | DIVIDE | roles.ACTIVATE
        keeps |= module is not None and (
            isinstance(module, (*LINEAR_MODULES, *RECTIFYING_MODULES, PassThrough)) or roles.is_activation(module)
        )
        if keeps and inputs:
            return self._width(inputs[0])
        raise CannotFoldError(f"how many channels {self._words(node)} has is not known")

    def _readers(self, node: fx.Node) -> list[fx.Node]:
        """Return what reads a value: not what asks for its shape, nor a constant that is handed it beside its input."""
        readers = [user for user in node.users if not _asks(user, self.graph.name(user))]
        constant = (ChannelScale, PassThrough)
        return [user for user in readers if not isinstance(self.graph.module(user), constant) or user.args[0] is node]

    def _check_unseen(self, node: fx.Node) -> None:
        givers = self.graph.returned.get(node, ())
        if self.kept.intersection(givers):
            raise CannotFoldError("it would change what a stage gives")
        if any(map(has_own_hooks, givers)):
            raise CannotFoldError("a hook sees it")

    def _words(self, node: fx.Node) -> str:
        return self.graph.module_path(node) if node.op == "call_module" else self.graph.name(node) or str(node.target)


def is_not_negative(graph: LayerGraph, node: fx.Node) -> bool:
    """Return whether a map holds no negative numbers, as it is rectified."""
    module, name = graph.module(node), graph.name(node)
    if name in NOT_NEGATIVE or isinstance(module, nn.ReLU | nn.Sigmoid):
        return True
    known = RECTIFYING_FUNCTIONS | LINEAR_FUNCTIONS - RESAMPLING - {"neg"}
    passes = isinstance(module, (*LINEAR_MODULES, *RECTIFYING_MODULES, PassThrough)) and not isinstance(module, nn.Upsample)
    passes |= name in known
    joins = name in roles.ADD | roles.CONCATENATE and len(_operands(node)) > 1
    return (passes or joins) and bool(_operands(node)) and all(is_not_negative(graph, part) for part in _operands(node))


def _asks(user: fx.Node, name: str) -> bool:
    """Return whether a node looks at what a map is, not at its numbers."""
    return name in roles.ASK and (name != "getattr" or user.args[1] in ABOUT)


def _first(node: fx.Node) -> fx.Node:
    inputs = _operands(node)
    if not inputs:
        raise CannotFoldError(f"{node.target} has no map as its input")
    return inputs[0]


def _operands(node: fx.Node) -> list[fx.Node]:
    """Return the maps that a node is given by position, those in a list too."""
    given = [value for entry in node.args for value in (entry if isinstance(entry, list | tuple) else (entry,))]
    return [value for value in given if isinstance(value, fx.Node) and _is_map(value)]


def _is_map(value: Any) -> bool:
    """Return whether an argument is no constant: neither a number nor a parameter."""
    return isinstance(value, fx.Node) and value.op != "get_attr"


def _named(axis: int, ndim: int) -> int | None:
    """Return an axis as 1, or as -1 if it is the last; None for others."""
    return -1 if axis == ndim - 1 else 1 if axis == 1 else None


def _concatenated_along(node: fx.Node) -> Any:
    """Return the axis of a concatenation."""
    return node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
