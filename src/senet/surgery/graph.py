"""The graph of a container's forward: what each node calls, what it comes from, where its value goes."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from torch import fx, nn

from senet.surgery.trace import Container

IN_PLACE = ("add", "mul", "sub", "truediv")


class ModuleGraph:
    """Structure of a container's graph.

    Args:
        container: the container.

    Attributes:
        nodes: the nodes in the order of execution.
        index: node -> its place in that order.
        output: the last node.
    """

    def __init__(self, container: Container) -> None:
        self.container = container
        self.nodes = list(container.graph.nodes)
        self.output = self.nodes[-1]
        self.index = {node: index for index, node in enumerate(self.nodes)}
        self._modules = dict(container.module.named_modules(remove_duplicate=False))
        self._ancestors: dict[fx.Node, frozenset[fx.Node]] = {}

    @cached_property
    def calls(self) -> Counter[nn.Module]:
        """Module -> how many nodes call it."""
        return Counter(self.called(node) for node in self.nodes if node.op == "call_module")

    def module(self, node: fx.Node) -> nn.Module | None:
        """Return the module that a node calls, None if it calls none."""
        return self.called(node) if node.op == "call_module" else None

    def called(self, node: fx.Node) -> nn.Module:
        """Return the module that a node calls.

        Raises:
            KeyError: if it calls none.
        """
        return self._modules[str(node.target)]

    def module_path(self, node: fx.Node) -> str:
        """Return the place in the network of the module that a node calls."""
        return self.container.join(str(node.target))

    def name(self, node: fx.Node) -> str:
        """Return the name of the function or method that a node calls, or ""."""
        return {"call_function": getattr(node.target, "__name__", ""), "call_method": str(node.target)}.get(node.op, "")

    def ancestors(self, node: fx.Node) -> frozenset[fx.Node]:
        """Return a node and all that it comes from."""
        if node not in self._ancestors:
            for earlier in self.nodes[: self.index[node] + 1]:
                if earlier not in self._ancestors:
                    self._ancestors[earlier] = frozenset({earlier}).union(*(self._ancestors[n] for n in earlier.all_input_nodes))
        return self._ancestors[node]

    def common_ancestor(self, nodes: Sequence[fx.Node]) -> fx.Node | None:
        """Return the last value that all nodes come from; None if they share none, or only different parts of one."""
        common = frozenset.intersection(*(self.ancestors(node) for node in nodes))
        common = [node for node in common if node.op != "get_attr"]
        return max(common, key=self.index.__getitem__) if common else None

    def path(self, start: fx.Node, end: fx.Node) -> list[fx.Node]:
        """Return what lies between a value and one that comes from it, without the first, with the last; empty if they are the same."""
        return [node for node in self.nodes if node is not start and node in self.ancestors(end) and start in self.ancestors(node)]

    def only_user(self, node: fx.Node) -> fx.Node | None:
        """Return the one node that uses a value, None if there are several or none."""
        return next(iter(node.users)) if len(node.users) == 1 else None

    def mutates(self, node: fx.Node) -> bool:
        """Return whether a node may overwrite what it is given."""
        name, module = self.name(node), self.module(node)
        return (
            (name.endswith("_") and not name.endswith("__"))
            or (node.op == "call_function" and name.startswith("i") and name[1:] in IN_PLACE)
            or bool(node.kwargs.get("inplace"))
            or any(getattr(inner, "inplace", False) for inner in (() if module is None else module.modules()))
        )


def operands(node: fx.Node) -> list[fx.Node]:
    """Return the nodes among a node's first two positional arguments."""
    return [value for value in node.args[:2] if isinstance(value, fx.Node)]
