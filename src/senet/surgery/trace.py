"""One module's own forward as a graph whose nodes are its children."""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Container:
    """Hold a module and the graph of its forward.

    Args:
        path: the module's place in the model; "" is the model itself.
        module: the module.
        graph: its forward in evaluation mode, with every child a leaf and plain Sequentials looked into.
        exact: whether the graph holds for all arguments but those that the network leaves None; else it was traced with those of one call.
    """

    path: str
    module: nn.Module
    graph: fx.Graph
    exact: bool = True

    def join(self, path: str) -> str:
        """Return the place in the model of something at `path` below the module."""
        return ".".join(part for part in (self.path, path) if part)


class ChildTracer(fx.Tracer):
    """Trace one forward with every child a leaf, but look into plain Sequentials: they only chain.

    Attributes:
        opened: the Sequentials that were looked into.
    """

    def __init__(self) -> None:
        super().__init__()
        self.opened: set[nn.Module] = set()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a child is a node of its own."""
        leaf = not only_chains(m)
        if not leaf:
            self.opened.add(m)
        return leaf


def only_chains(module: nn.Module) -> bool:
    """Return whether a module does nothing but call its children in turn."""
    return type(module).forward is nn.Sequential.forward


def trace(module: nn.Module, *, training: bool = False, given: Mapping[str, Any] | None = None) -> tuple[fx.Graph, set[nn.Module]]:
    """Trace a module's own forward, leaving the module as it was.

    Args:
        module: the module.
        training: the training flag that its forward sees; its children are not run.
        given: arguments that are fixed to these values.

    Returns:
        The graph, and the Sequentials that were looked into.

    Raises:
        Exception: whatever the forward raises when its inputs are symbols.
    """
    retrace = getattr(module, "retrace", None)
    if retrace is not None:  # its forward is made from a trace
        return retrace(training=training, given=given)
    tracer = ChildTracer()
    with unchanged(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.training = training
        graph = tracer.trace(module, dict(given) if given else None)
    return graph, tracer.opened


def containers(model: nn.Module, calls: Mapping[nn.Module, "Arguments"]) -> tuple[list[Container], dict[str, str]]:
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
            container, inside = _contained(paths[module], module, calls[module])
        except Exception as error:  # a forward may do anything with a symbol
            failed[paths[module]] = " ".join(str(error).split())[:120] or type(error).__name__
            continue
        found.append(container)
        opened |= inside
    order = {module: index for index, module in enumerate(calls)}
    return sorted(found, key=lambda container: order[container.module]), failed


def _contained(path: str, module: nn.Module, call: "Arguments") -> tuple[Container, set[nn.Module]]:
    plain = call.plain(module)
    absent = {name: value for name, value in plain.items() if value is None}
    try:
        graph, opened = trace(module, given=absent)
    except Exception:
        if plain == absent:
            raise
        graph, opened = trace(module, given=plain)
        return Container(path, module, graph, exact=False), opened
    return Container(path, module, graph), opened


@dataclass(frozen=True)
class Arguments:
    """Hold the arguments of one call; tensors stand for their shape and type only."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def bind(self, module: nn.Module) -> dict[str, Any]:
        """Return the arguments by name; those left out have their defaults.

        Raises:
            TypeError: if the module's forward does not take them.
        """
        forward = getattr(module, "original", module).forward  # a rewritten container takes what its original takes
        bound = inspect.signature(forward).bind(*self.args, **self.kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def plain(self, module: nn.Module) -> dict[str, Any]:
        """Return the arguments without tensors in them, by name."""
        return {name: value for name, value in self.bind(module).items() if not tensors(value)}


def tensors(tree: Any) -> list[Tensor]:
    """Return the tensors in a nest of lists, tuples and mappings."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


@contextmanager
def unchanged(*modules: nn.Module) -> Iterator[None]:
    """Undo what forwards do to the attributes of modules: a run with symbols, or with shapes only, would leave those behind in caches."""
    before = [(module, dict(module.__dict__)) for module in modules]
    inner = [(value, dict(value)) for _, own in before for value in own.values() if isinstance(value, dict)]
    try:
        yield
    finally:
        for module, own in before:
            module.__dict__.clear()
            module.__dict__.update(own)
        for value, entries in inner:
            value.clear()
            value.update(entries)
