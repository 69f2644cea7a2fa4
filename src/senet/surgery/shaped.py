"""Graph of a forward that asks for the shapes of its maps: its symbols have those of the network's own run."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from senet.surgery.arguments import Arguments
from senet.surgery.symbols import TensorProxy
from senet.surgery.trace import ChildTracer, Container, trace

MOST_STEPS = 2000
"""Steps that such a graph may have: loops over places are no structure to be read."""


class ShapedProxy(TensorProxy):
    """Symbol of a tensor whose shape is known.

    Args:
        node: its node.
        tracer: the tracer.
        known: a tensor of that shape.
    """

    def __init__(self, node: fx.Node, tracer: fx.Tracer, known: Tensor) -> None:
        super().__init__(node, tracer)
        self.known = known

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensor."""
        return self.known.shape

    @property
    def ndim(self) -> int:
        """Number of its axes."""
        return self.known.ndim

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the size of one axis."""
        return self.known.size() if dim is None else self.known.size(dim)

    def dim(self) -> int:
        """Return the number of axes."""
        return self.known.dim()

    def __len__(self) -> int:
        return len(self.known)


class ShapedTracer(ChildTracer):
    """Tracer whose symbols of tensors have shapes, as far as these can be computed.

    Args:
        opens: whether a child is looked into.
        given: the forward's arguments by name, as the network gives them.
        outputs: module -> what the network's run got of it.
    """

    def __init__(self, opens: Any, given: Mapping[str, Any], outputs: Mapping[nn.Module, Any]) -> None:
        super().__init__(opens)
        self.given = given
        self.outputs = outputs
        self.values: dict[fx.Node, Any] = {}

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *others: Any, **further: Any) -> fx.Proxy:
        """Return the symbol of what a step gives."""
        if len(self.graph.nodes) > MOST_STEPS:
            raise RuntimeError(f"it has more than {MOST_STEPS} steps")
        proxy = super().create_proxy(kind, target, args, kwargs, *others, **further)
        with suppress(Exception):  # what needs numbers has no known shape
            self.values[proxy.node] = self._computed(proxy.node)
        return self._shaped(proxy.node, proxy)

    def _symbols(self, node: fx.Node, pattern: Any) -> Any:
        with suppress(Exception):  # a part that is looked up in another way has no known shape
            whole = self.values[node.args[0]][node.args[1]] if node.args else self.given[str(node.target).lstrip("*")]  # pyright: ignore
            self.values[node] = whole
        symbol = super()._symbols(node, pattern)
        return self._shaped(node, symbol) if type(symbol) is TensorProxy else symbol

    def _shaped(self, node: fx.Node, symbol: fx.Proxy) -> fx.Proxy:
        known = self.values.get(node)
        return ShapedProxy(node, self, known) if type(known) is Tensor else symbol

    def _computed(self, node: fx.Node) -> Any:
        target: Any = node.target
        if node.op == "call_module":
            return self.outputs[self.root.get_submodule(target)]
        args, kwargs = fx.map_arg((node.args, node.kwargs), self._value)
        with torch.no_grad():
            return target(*args, **kwargs) if node.op == "call_function" else getattr(args[0], target)(*args[1:], **kwargs)

    def _value(self, node: fx.Node) -> Any:
        if node.op != "get_attr":
            return self.values[node]
        value: Any = self.root
        for name in str(node.target).split("."):
            value = getattr(value, name)
        return value.to("meta")


def shaped_container_of(
    outputs: Mapping[nn.Module, Any], path: str, module: nn.Module, call: Arguments
) -> tuple[Container, set[nn.Module]]:
    """Do what `container_of` does for a forward that decides by the shapes of its maps; the graph holds for the run's shapes alone.

    No child is looked into: chains of layers are containers of their own.

    Args:
        outputs: module -> what the network's run got of it; tensors have a shape only.
        path: the module's place in the network.
        module: the module.
        call: how the network calls it.

    Raises:
        Exception: whatever the forward raises when its inputs are symbols.
    """
    given = call.templates(module, fix=True)
    tracer = partial(ShapedTracer, given=call.bind(module), outputs=outputs)
    graph, opened = trace(module, given=given, tracer=tracer, opens=lambda _: False)
    return Container(path, module, graph, given, exact=False), opened
