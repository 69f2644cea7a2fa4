"""One module's own forward as a graph whose nodes are its children."""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from senet.surgery.arguments import Arguments, signature
from senet.surgery.preserve import unchanged


@dataclass(frozen=True)
class Container:
    """A module and the graph of its forward.

    Args:
        path: the module's place in the model; "" is the model itself.
        module: the module.
        graph: its forward in evaluation mode, with every child a leaf and plain Sequentials looked into.
        given: the arguments that are fixed in the graph.
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


def only_chains(module: nn.Module) -> bool:
    """Return whether a module does nothing but call its children in turn."""
    return type(module).forward is nn.Sequential.forward


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
) -> tuple[fx.Graph, set[nn.Module]]:
    """Trace a module's own forward, leaving the module as it was.

    Args:
        module: the module. One that has a method `retrace`, as its forward was made from a trace, is asked for its graph.
        training: the training flag that its forward sees; its children are not run.
        given: arguments that are fixed to these values.
        opens: which children are looked into, instead of being a node each.

    Returns:
        The graph, and the children that were looked into.

    Raises:
        Exception: whatever the forward raises when its inputs are symbols.
    """
    retrace = getattr(module, "retrace", None)
    if retrace is not None:
        return retrace(training=training, given=given)
    tracer = ChildTracer(opens)
    with unchanged(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.training = training
        graph = tracer.trace(module, dict(given) if given else None)
    _name_inputs(graph, module)
    return graph, tracer.opened


def _name_inputs(graph: fx.Graph, module: nn.Module) -> None:
    """Let the inputs of a graph have the names of the arguments; fx numbers those that are fixed, and each leaf of one that is a nest."""
    names = signature(module).parameters
    inputs = [node for node in graph.find_nodes(op="placeholder") if str(node.target).lstrip("*") not in names]
    plain = {node: str(node.target).rpartition("_")[0] for node in inputs}
    leaves = Counter(plain.values())
    for node, name in plain.items():
        if leaves[name] == 1:
            node.target = name


def containers(model: nn.Module, calls: Mapping[nn.Module, Arguments]) -> tuple[list[Container], dict[str, str]]:
    """Trace every module that was called and that does more than chain its children.

    Args:
        model: the network.
        calls: how each module was called.

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
            failed[paths[module]] = " ".join(str(error).split())[:120] or type(error).__name__
            continue
        found.append(container)
        opened |= inside
    order = {module: index for index, module in enumerate(calls)}
    return sorted(found, key=lambda container: order[container.module]), failed


def container_of(path: str, module: nn.Module, call: Arguments) -> tuple[Container, set[nn.Module]]:
    """Trace a module's own forward for calls that leave None what `call` leaves None, or else for calls with all its plain arguments.

    Returns:
        The container, and the children that were looked into.

    Raises:
        Exception: whatever the forward raises when its inputs are symbols.
    """
    absent, fixed = call.absent(module), call.without_tensors(module)
    try:
        graph, opened = trace(module, given=absent)
    except Exception:
        if fixed == absent:
            raise
        graph, opened = trace(module, given=fixed)
        return Container(path, module, graph, fixed, exact=False), opened
    return Container(path, module, graph, absent), opened
