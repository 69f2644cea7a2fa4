"""Rewrite a container's forward, for what no wrapper can express: a block on a functional shortcut, or one that sees two values."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import fx, nn

from senet.insertion.written import SITE
from senet.ops.hooks import has_own_hooks
from senet.surgery.trace import Container, trace


@dataclass(frozen=True)
class Edit:
    """Block and the place in a graph where it goes.

    Args:
        name: name of the block's sub-module.
        node: name of the value that it recalibrates.
        users: names of the operations that see the recalibrated value.
        axis: axis of its channels.
        shortcut: name of its second input, or "".
        gain: constant factor behind it.

    Raises:
        UsageError: if the name or the gain is not what a plan may say: both end in the source of a forward.
    """

    name: str
    node: str
    users: tuple[str, ...]
    axis: int = 1
    shortcut: str = ""
    gain: float = 1.0

    def __post_init__(self) -> None:
        for entry in ("name", "gain"):
            SITE[entry].check(getattr(self, entry), f"{entry} of a block")


def why_not_rewritten(container: Container) -> str | None:
    """Return why a container's forward cannot be rewritten, or None."""
    name = f"{container.path} ({type(container.module).__name__})" if container.path else type(container.module).__name__
    if not container.path:
        return f"{name} does it in its own forward, and what has no parent cannot be replaced: move that part into a sub-module, or use at="
    if not container.exact:
        return f"the forward of {name} depends on its arguments: it can only be traced for one kind of call"
    if has_own_hooks(container.module):
        return f"{name} has hooks, which its rewritten form would not run"
    training, _ = trace(container.module, training=True, given=container.given)
    if _code(training).src != _code(container.graph).src:
        return f"the forward of {name} reads self.training, and a traced form would freeze it"
    known = dict(container.module.named_parameters()) | dict(container.module.named_buffers())
    if any(node.op == "get_attr" and node.target not in known for node in container.graph.nodes):
        return f"the forward of {name} uses tensors that are neither parameters nor buffers"
    return None


class Rewritten(nn.Module):
    """A container whose forward has blocks in it.

    Children, parameters and buffers are the container's own, under their own names, so that its keys stay as they were.

    Args:
        original: the container; it is kept, out of the tree of modules, for `restore`.
        edits: where the blocks act.
        blocks: the blocks, by the names in the edits.
        given: arguments of the container's forward that are fixed to these values, as the network leaves them None.

    Raises:
        KeyError: if the container's forward has no value or operation of that name.
    """

    _run: Any

    def __init__(
        self, original: nn.Module, edits: list[Edit], blocks: Mapping[str, nn.Module], given: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self._original = (original,)
        self._edits = tuple(edits)
        self._given = dict(given or {})
        for registered in ("_parameters", "_buffers", "_modules"):
            getattr(self, registered).update(getattr(original, registered))
        self._non_persistent_buffers_set = set(original._non_persistent_buffers_set)
        for name, block in blocks.items():
            self.add_module(name, block)
        self.training = original.training
        graph, _ = self.retrace()
        code = _code(graph)
        self._source = code.src
        self._imports = {name: value.__name__ for name, value in code.globals.items() if isinstance(value, ModuleType)}
        self._names = {name: value for name, value in code.globals.items() if name not in self._imports}
        self._compile()

    @property
    def original(self) -> nn.Module:
        """The container as it was, but for what changed since: see `restore`."""
        return self._original[0]

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks."""
        return [self._modules[edit.name] for edit in self._edits]  # pyright: ignore[reportReturnType]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the container's forward with the blocks."""
        return self._run(self, *args, **kwargs)

    def retrace(self, *, training: bool = False, given: Mapping[str, Any] | None = None) -> tuple[fx.Graph, set[nn.Module]]:
        """Return what `trace` returns for the container, with the blocks in the graph."""
        graph, opened = trace(self.original, training=training, given=self._given | dict(given or {}))
        nodes = {node.name: node for node in graph.nodes}
        for edit in self._edits:
            _insert(graph, nodes, edit)
        return graph, opened

    def restore(self) -> nn.Module:
        """Return the container as it was, with the children, weights and training flag of today."""
        original = self.original
        names = [edit.name for edit in self._edits]
        for registered in ("_parameters", "_buffers", "_modules"):
            own = {name: value for name, value in getattr(self, registered).items() if name not in names}
            getattr(original, registered).clear()
            getattr(original, registered).update(own)
        original.training = self.training
        return original

    def _compile(self) -> None:
        scope = dict(self._names) | {name: import_module(path) for name, path in self._imports.items()}
        exec(compile(self._source, f"<forward of {type(self.original).__name__} with blocks>", "exec"), scope)
        self._run = scope["forward"]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_run"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__(dict(state))
        self._compile()

    def _get_name(self) -> str:
        return f"Rewritten{type(self.original).__name__}"


def _insert(graph: fx.Graph, nodes: Mapping[str, fx.Node], edit: Edit) -> None:
    value, users = nodes[edit.node], [nodes[name] for name in edit.users]
    inputs = (value, nodes[edit.shortcut]) if edit.shortcut else (value,)
    place = max(inputs, key=list(graph.nodes).index)
    with graph.inserting_before(place.next):
        maps = inputs if edit.axis == 1 else tuple(graph.call_function(torch.movedim, (value, edit.axis, 1)) for value in inputs)
        gated = graph.create_node("call_module", edit.name, maps)
        if edit.axis != 1:
            gated = graph.call_function(torch.movedim, (gated, 1, edit.axis))
        if edit.gain != 1:
            gated = graph.call_function(operator.mul, (gated, edit.gain))
    for user in users:
        user.replace_input_with(value, gated)


def _code(graph: fx.Graph) -> Any:
    return graph.python_code("self")
