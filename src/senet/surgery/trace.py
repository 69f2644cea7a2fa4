"""One module's own forward as a graph whose nodes are its children."""

import inspect
import operator
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from senet.errors import reason_of
from senet.ops.tail.layers import Layers
from senet.surgery.arguments import Arguments
from senet.surgery.preserve import same_buffers, unchanged
from senet.surgery.symbols import TensorProxy, modes, symbols_are_tensors
from senet.surgery.template import Leaf, holds, parts_of, rebuilt

TRACED_MODES = "senet_modes"
"""Entry in a node's metadata: the modes in which its operation ran."""

STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


@dataclass(frozen=True)
class Container:
    """A module and the graph of its forward.

    Args:
        path: the module's place in the model; "" is the model itself.
        module: the module.
        graph: its forward in evaluation mode, with every child a leaf and plain Sequentials looked into.
        given: the templates of the arguments: what is fixed in the graph.
        exact: whether the graph holds for every way in which the network may call the module; else only for what is given.
    """

    path: str
    module: nn.Module
    graph: fx.Graph
    given: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = True

    def join(self, path: str) -> str:
        """Return the place in the model of something at `path` below the module."""
        return ".".join(part for part in (self.path, path) if part)


Reader = Callable[[str, nn.Module, Arguments], tuple[Container, set[nn.Module]]]
"""Path, module, how it is called -> its graph, and the children that were looked into."""


def only_chains(module: nn.Module) -> bool:
    """Return whether a module does nothing but call its children in turn."""
    return type(module).forward in (nn.Sequential.forward, Layers.forward)


class ChildTracer(fx.Tracer):
    """Tracer of one forward to which every child is a leaf, but for those that are to be looked into.

    Args:
        opens: whether a child is looked into.

    Attributes:
        opened: the children that were.
    """

    def __init__(self, opens: Callable[[nn.Module], bool] = only_chains) -> None:  # a graph from a file makes its tracer without arguments
        super().__init__()
        self.opens = opens
        self.opened: set[nn.Module] = set()
        self._parts: list[fx.Node] = []

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Return the forward and its arguments: one placeholder for each parameter, in their order, or what it is fixed to.

        Args:
            root_fn: the forward.
            is_module: whether its first parameter is the module.
            concrete_args: parameter -> template; what is missing has a symbol, further positional and keyword arguments are none.
        """
        args, kwargs = [], {}
        for parameter in list(inspect.signature(root_fn).parameters.values())[1:]:
            name, stars = parameter.name, STARS.get(parameter.kind, "")
            pattern = (concrete_args or {}).get(name, {"*": (), "**": {}}.get(stars, Leaf.VALUE))
            fixed = f"{name}_1" if pattern is None or name == "self" else f"{stars}{name}"
            node = self.create_node("placeholder", fixed, (), {})
            node.target = f"{stars}{name}"
            value = self._symbols(node, pattern)
            if stars == "*":
                args += value
            elif stars == "**" or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                kwargs |= value if stars else {name: value}
            else:
                args.append(value)
        return lambda *given: root_fn(self.root, *given, **kwargs), args

    def _symbols(self, node: fx.Node, pattern: Any) -> Any:
        """Return an argument, or a part of one, with symbols for what is not fixed."""
        if isinstance(pattern, Leaf):
            return TensorProxy(node, self) if pattern is Leaf.TENSOR else self.proxy(node)
        if not holds(pattern, *Leaf):
            return pattern
        made = {}
        for key, part in (parts_of(pattern) or {}).items():
            if holds(part, *Leaf):
                self._parts.append(self.create_node("call_function", operator.getitem, (node, key), {}))
            made[key] = self._symbols(self._parts[-1], part) if holds(part, *Leaf) else part
        return rebuilt(pattern, made)

    def trace(self, root: nn.Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """Trace a forward, and leave out the parts of its arguments that it does not read."""
        graph = super().trace(root, concrete_args)
        for node in reversed(self._parts):
            if not node.users:
                graph.erase_node(node)
        return graph

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """Return a new node, which knows the modes in which it runs."""
        node = super().create_node(*args, **kwargs)
        node.meta[TRACED_MODES] = modes()
        return node

    def create_arg(self, a: Any) -> Any:
        """Return what stands for a value in the graph."""
        return a.node if isinstance(a, fx.Proxy) else super().create_arg(a)  # the symbol of a tensor is no tensor to be stored

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a child is a node of its own."""
        if not self.opens(m):
            return True
        self.opened.add(m)
        return False


def trace(
    module: nn.Module,
    *,
    training: bool = False,
    given: Mapping[str, Any] | None = None,
    opens: Callable[[nn.Module], bool] = only_chains,
    tracer: Callable[[Callable[[nn.Module], bool]], ChildTracer] = ChildTracer,
) -> tuple[fx.Graph, set[nn.Module]]:
    """Trace a module's own forward, leaving the module as it was.

    Args:
        module: the module. One that has a method `_senet_retrace`, as its forward was made from a trace, is asked for its graph.
        training: the training flag that its forward sees; its children are not run.
        given: templates of arguments by name, or values that they are fixed to.
        opens: which children are looked into, instead of being a node each.
        tracer: makes the tracer.

    Returns:
        The graph, and the children that were looked into.

    Raises:
        Exception: whatever the forward raises when its inputs are symbols.
    """
    retrace = getattr(module, "_senet_retrace", None)
    if retrace is not None:
        return retrace(training=training, given=given, opens=opens)
    tracing = tracer(opens)
    with unchanged(*module.modules()), same_buffers(module), symbols_are_tensors(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.training = training
        graph = tracing.trace(module, dict(given or {}))
    return graph, tracing.opened


def containers(
    model: nn.Module, calls: Mapping[nn.Module, Arguments], fallback: Reader | None = None
) -> tuple[list[Container], dict[str, str]]:
    """Trace every module that was called and that does more than chain its children.

    Args:
        model: the network.
        calls: how each module was called.
        fallback: reads a module that `container_of` cannot.

    Returns:
        The containers in the order of execution, and for each module that cannot be traced its path and the reason.
    """
    found, failed, opened = [], {}, set[nn.Module]()
    paths = {module: path for path, module in model.named_modules()}
    for module in sorted(calls, key=lambda module: len(paths[module].split(".")) if paths[module] else 0):  # parents open their Sequentials
        if module in opened or next(module.children(), None) is None:
            continue
        try:
            container, inside = container_of(paths[module], module, calls[module])
        except Exception as error:  # a forward may do anything with a symbol
            try:
                if fallback is None:
                    raise
                container, inside = fallback(paths[module], module, calls[module])
            except Exception:
                failed[paths[module]] = reason_of(error, 120)
                continue
        found.append(container)
        opened |= inside
    order = {module: index for index, module in enumerate(calls)}
    return sorted(found, key=lambda container: order[container.module]), failed


def container_of(path: str, module: nn.Module, call: Arguments) -> tuple[Container, set[nn.Module]]:
    """Trace a module's own forward for calls that choose the same way as `call`, or if need be for calls with the same numbers and objects.

    Returns:
        The container, and the children that were looked into.

    Raises:
        Exception: whatever the forward raises when its inputs are symbols.
    """
    given, fixed = call.templates(module), call.templates(module, fix=True)
    decided = not holds(given, Leaf.VALUE)
    with nullcontext() if decided else suppress(Exception):
        graph, opened = trace(module, given=given)
        if decided or _steps(graph, given) == _steps(trace(module, given=fixed)[0], given):
            return Container(path, module, graph, given, exact=call.only), opened
    graph, opened = trace(module, given=fixed)
    choices = {name for name, pattern in given.items() if holds(pattern, Leaf.VALUE)}
    defaults = choices <= call.left_out(module) and all(isinstance(fixed[name], int | float) for name in choices)
    return Container(path, module, graph, fixed, exact=call.only and defaults), opened


def _steps(graph: fx.Graph, given: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what a graph does with tensors."""
    inputs = graph.find_nodes(op="placeholder")
    maps = {node for node, pattern in zip(inputs, given.values(), strict=True) if holds(pattern, Leaf.TENSOR)}
    steps = []
    for node in graph.nodes:
        if node.op in ("get_attr", "output") or maps.intersection(node.all_input_nodes):
            maps.add(node)
            steps.append((node.op, node.target))
    return steps
