"""The forward of a network, or of a part of it, as a graph in which every layer is a node, whichever modules the layers lie in."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from torch import fx, nn

from senet.errors import UsageError, reason_of
from senet.surgery.arguments import signature
from senet.surgery.graph import ModuleGraph
from senet.surgery.probe import Probe, probe
from senet.surgery.roles import CONVS, NORMS
from senet.surgery.trace import ChildTracer, Container, trace

WHOLE = (*CONVS, *NORMS, nn.Linear, nn.MultiheadAttention)
"""Layers that are not looked into, though a sub-class may hold others."""


class LayerTracer(ChildTracer):
    """Tracer that looks into modules, and notes which of them return a value.

    Args:
        opens: whether a module is looked into.

    Attributes:
        returned: value -> the modules, looked into, that return it.
    """

    def __init__(self, opens: Callable[[nn.Module], bool]) -> None:
        super().__init__(opens)
        self.returned: dict[fx.Node, set[nn.Module]] = {}

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what a module returns."""
        outcome = super().call_module(m, forward, args, kwargs)
        if m in self.opened and isinstance(outcome, fx.Proxy):
            self.returned.setdefault(outcome.node, set()).add(m)
        return outcome


class LayerGraph(ModuleGraph):
    """Graph whose nodes are layers and functions.

    Args:
        container: what was traced.
        returned: value -> the modules that return it.
    """

    def __init__(self, container: Container, returned: Mapping[fx.Node, Collection[nn.Module]]) -> None:
        super().__init__(container)
        self.returned = returned

    def call_of(self, module: nn.Module) -> fx.Node | None:
        """Return the one node that calls a module; None if there are several, or none."""
        calls = [node for node in self.nodes if self.module(node) is module]
        return calls[0] if len(calls) == 1 else None


class LayerGraphs:
    """Graphs of a network and of the modules in it, traced when they are asked for.

    Args:
        model: the network; nothing of it changes.
        closed: whether a module is a node, though it may have children.
    """

    def __init__(self, model: nn.Module, closed: Callable[[nn.Module], bool]) -> None:
        self.model = model
        self.closed = closed
        self._graphs: dict[str, LayerGraph | str] = {}

    def around(self, path: str) -> Iterator[LayerGraph | str]:
        """Yield the graphs of the network and of what lies around a module, the largest first; a reason where there is none."""
        names = path.split(".")
        for depth in range(len(names)):
            place = ".".join(names[:depth])
            if place not in self._graphs:
                self._graphs[place] = self._traced(place)
            yield self._graphs[place]

    @cached_property
    def seen(self) -> Probe | None:
        """A run of the network, which tells how its modules are called; None if no image is known that it takes."""
        try:
            return probe(self.model, small=True)
        except UsageError:
            return None

    def _traced(self, path: str) -> LayerGraph | str:
        module = self.model.get_submodule(path)
        reason = ""
        for opens in (self._opens_all, self._opens):
            try:
                return _layer_graph(path, module, self._given(module), opens)
            except Exception as error:  # a forward may do anything with a symbol
                reason = f"the forward of {path or type(module).__name__} cannot be traced: {reason_of(error, 80)}"
        return reason

    def _given(self, module: nn.Module) -> Mapping[str, Any] | None:
        """Return what is fixed in the graph: optional arguments, as the network gives them, or as they are left out of its own call."""
        parameters = signature(module).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        if not defaults or module is self.model:
            return defaults or None
        call = None if self.seen is None else self.seen.calls.get(module)
        if call is None or not call.only:
            raise UsageError("how it is called is not known" if call is None else "it is called in several ways")
        return call.templates(module, fix=True)

    def _opens(self, module: nn.Module) -> bool:
        return next(module.children(), None) is not None and not isinstance(module, WHOLE) and not self.closed(module)

    def _opens_all(self, module: nn.Module) -> bool:
        """Return whether a module is looked into: one without children is, if it is not torch's."""
        own = not type(module).__module__.startswith("torch.nn.") and not isinstance(module, WHOLE) and not self.closed(module)
        return own or self._opens(module)


def _layer_graph(path: str, module: nn.Module, given: Mapping[str, Any] | None, opens: Callable[[nn.Module], bool]) -> LayerGraph:
    tracers: list[LayerTracer] = []

    def make(opens: Callable[[nn.Module], bool]) -> LayerTracer:
        tracers.append(LayerTracer(opens))
        return tracers[-1]

    graph, _ = trace(module, given=given, opens=opens, tracer=make)
    return LayerGraph(Container(path, module, graph, given or {}), tracers[0].returned if tracers else {})
