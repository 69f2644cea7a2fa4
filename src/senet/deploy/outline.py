"""One container's forward in evaluation mode, as a graph that can be rewritten."""

import inspect
import warnings
from functools import cached_property
from typing import Any

from torch import fx, nn

from senet.insertion.gated import Gated
from senet.surgery.trace import ChildTracer, unchanged

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class InsertedTracer(ChildTracer):
    """Look into the wrappers of inserted blocks too, so that host and block are steps of their own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a child is a node of its own."""
        return super().is_leaf_module(m, module_qualified_name) and not (type(m) is Gated and m.on == "output" and m.axis == 1)


class Outline:
    """Answer questions about the graph of one container.

    Args:
        path: its place in the network.
        container: the module.

    Raises:
        Exception: whatever its forward raises when its inputs are symbols.
    """

    def __init__(self, path: str, container: nn.Module) -> None:
        self.path = path
        self.container = container
        forward = getattr(container, "original", container).forward
        parameters = inspect.signature(forward).parameters.values()
        self.options = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
        self.plain = not self.options and all(p.kind in POSITIONAL for p in parameters)
        self.graph = _trace(container, self.options)
        self.nodes = list(self.graph.nodes)
        self.index = {node: index for index, node in enumerate(self.nodes)}

    @cached_property
    def _modules(self) -> dict[str, nn.Module]:
        return dict(self.container.named_modules(remove_duplicate=False))

    def module(self, node: fx.Node) -> nn.Module | None:
        """Return the module that a node calls."""
        return self._modules[str(node.target)] if node.op == "call_module" else None

    def called(self, node: fx.Node) -> nn.Module:
        """Return the module that a node calls, which it does."""
        return self._modules[str(node.target)]

    def name(self, node: fx.Node) -> str:
        """Return the name of the function or method that a node calls, or ""."""
        return {"call_function": getattr(node.target, "__name__", ""), "call_method": str(node.target)}.get(node.op, "")

    def single_user(self, node: fx.Node) -> fx.Node | None:
        """Return the node that uses a value, if there is one only."""
        return next(iter(node.users)) if len(node.users) == 1 else None

    def mutates(self, node: fx.Node) -> bool:
        """Return whether a node may overwrite what it is given."""
        name, module = self.name(node), self.module(node)
        return (
            (name.endswith("_") and not name.endswith("__"))
            or (node.op == "call_function" and name.startswith("i") and name[1:] in ("add", "mul", "sub", "truediv"))
            or bool(node.kwargs.get("inplace"))
            or any(getattr(inner, "inplace", False) for inner in (() if module is None else module.modules()))
        )

    def join(self, node: fx.Node) -> str:
        """Return the place in the network of the module that a node calls."""
        return ".".join(part for part in (self.path, str(node.target)) if part)


def _trace(container: nn.Module, options: dict[str, Any]) -> fx.Graph:
    if hasattr(container, "retrace"):  # a forward made from a trace
        return container.retrace(given=options or None)[0]  # pyright: ignore[reportCallIssue]
    with unchanged(container), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return InsertedTracer().trace(container, dict(options) or None)
