"""Rewrite a container's forward, for what no wrapper can express: a block on a functional shortcut, or one that sees two values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import fx, nn

from senet.errors import UsageError
from senet.insertion.edit import Edit, insert_block
from senet.ops.hooks import has_own_hooks
from senet.surgery.arguments import signature
from senet.surgery.binding import binder
from senet.surgery.symbols import other_modes
from senet.surgery.template import Leaf, fits, in_words
from senet.surgery.trace import TRACED_MODES, Container, only_chains, trace


def why_not_rewritten(container: Container) -> str | None:
    """Return why a container's forward cannot be rewritten, or None."""
    name = f"{container.path} ({type(container.module).__name__})" if container.path else type(container.module).__name__
    if not container.path:
        return f"{name} does it in its own forward, and what has no parent cannot be replaced: move that part into a sub-module, or use at="
    if not container.exact:
        return f"the forward of {name} depends on its arguments: its traced form would have one way of several"
    if has_own_hooks(container.module):
        return f"{name} has hooks, which its rewritten form would not run"
    code = _code(container.graph).src
    training, _ = trace(container.module, training=True, given=container.given)
    if _code(training).src != code:
        return f"the forward of {name} reads self.training, and a traced form would freeze it"
    with other_modes(), torch.no_grad():
        reader, _ = trace(container.module, given=container.given)
    if _code(reader).src != code:
        return f"the forward of {name} asks whether autocast or gradients are on, and a traced form would freeze it"
    if any(len({node.meta[TRACED_MODES] for node in graph.nodes if TRACED_MODES in node.meta}) > 1 for graph in (container.graph, reader)):
        return f"the forward of {name} turns autocast or gradients on or off, which a traced form would forget"
    known = dict(container.module.named_parameters()) | dict(container.module.named_buffers())
    if any(node.op == "get_attr" and node.target not in known for node in container.graph.nodes):
        return f"the forward of {name} uses tensors that are neither parameters nor buffers"
    return None


@dataclass
class BlockedForward:
    """Forward of a container with blocks in it, as code.

    Args:
        original: the container; it is kept, out of the tree of modules.
        edits: where the blocks act.
        given: templates of the forward's arguments by name: what is fixed.
        source: the code.
        imports: name in the code -> module of Python.
        names: name in the code -> other value.
        bind: gives the forward's arguments in the order of its parameters.
        fixed: (place in that order, name, template) of the arguments that are fixed, or whose form is.
        run: the code as a function of the rewritten container and all its arguments.
    """

    original: nn.Module
    edits: tuple[Edit, ...]
    given: dict[str, Any]
    source: str = ""
    imports: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)
    bind: Callable[..., Sequence[Any]] = tuple
    fixed: tuple[tuple[int, str, Any], ...] = ()
    run: Callable[..., Any] = tuple

    def compile(self) -> None:
        """Make functions of the code."""
        takes = signature(self.original)
        self.bind = binder(takes)
        patterns = ((index, name, self.given.get(name, Leaf.VALUE)) for index, name in enumerate(takes.parameters))
        self.fixed = tuple(entry for entry in patterns if not isinstance(entry[-1], Leaf))
        scope: dict[str, Any] = dict(self.names) | {name: import_module(path) for name, path in self.imports.items()}
        exec(compile(self.source, f"<forward of {type(self.original).__name__} with blocks>", "exec"), scope)
        self.run = scope["forward"]

    def __getstate__(self) -> dict[str, Any]:
        made = ("bind", "fixed", "run")
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in made}


class Rewritten(nn.Module):
    """A container whose forward has blocks in it.

    Children, parameters and buffers are the container's own, under their own names, so that its keys stay as they were. They may have any
    name: what this class adds to a module begins with `_senet`.

    Args:
        original: the container.
        edits: where the blocks act.
        blocks: the blocks, by the names in the edits.
        given: templates of the arguments of the container's forward: what is fixed, as the network never says otherwise.

    Raises:
        KeyError: if the container's forward has no value or operation of that name.
    """

    _senet: BlockedForward

    def __init__(
        self, original: nn.Module, edits: list[Edit], blocks: Mapping[str, nn.Module], given: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self._senet = BlockedForward(original, tuple(edits), dict(given or {}))
        for registered in ("_parameters", "_buffers", "_modules"):
            getattr(self, registered).update(getattr(original, registered))
        self._non_persistent_buffers_set = set(original._non_persistent_buffers_set)
        for name, block in blocks.items():
            self.add_module(name, block)
        self.training = original.training
        graph, _ = self._senet_retrace()
        for node in graph.find_nodes(op="placeholder"):
            node.target = node.name  # one name for each, which nothing in the code hides
        code = _code(graph)
        self._senet.source = code.src
        self._senet.imports = {name: value.__name__ for name, value in code.globals.items() if isinstance(value, ModuleType)}
        self._senet.names = {name: value for name, value in code.globals.items() if name not in self._senet.imports}
        self._senet.compile()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the container's forward with the blocks.

        Raises:
            UsageError: if an argument is not what it was when the blocks were inserted, and the way through the forward depends on it.
        """
        values = self._senet.bind(*args, **kwargs)
        for index, name, pattern in self._senet.fixed:
            if not fits(pattern, values[index]):
                raise UsageError(f"{self._get_name()} was made for calls with {name}={in_words(pattern)}, as the network's were")
        return self._senet.run(self, *values)

    @property
    def _senet_original(self) -> nn.Module:
        """The container as it was, but for what changed since: see `restored`."""
        return self._senet.original

    def _senet_retrace(
        self,
        *,
        training: bool = False,
        given: Mapping[str, Any] | None = None,
        opens: Callable[[nn.Module], bool] = only_chains,
    ) -> tuple[fx.Graph, set[nn.Module]]:
        """Return what `trace` returns for the container, with the blocks in the graph."""
        graph, opened = trace(restored(self), training=training, given=self._senet.given | dict(given or {}), opens=opens)
        nodes = {node.name: node for node in graph.nodes}
        for edit in self._senet.edits:
            insert_block(graph, nodes, edit)
        return graph, opened

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__(dict(state))
        self._senet.compile()

    def _get_name(self) -> str:
        return f"Rewritten{type(self._senet.original).__name__}"


def blocks_within(rewritten: Rewritten) -> list[nn.Module]:
    """Return the blocks of a rewritten container."""
    return [rewritten.get_submodule(edit.name) for edit in rewritten._senet.edits]


def restored(rewritten: Rewritten) -> nn.Module:
    """Return a rewritten container as it was, with the children, weights and training flag of today."""
    original = rewritten._senet.original
    names = [edit.name for edit in rewritten._senet.edits]
    for registered in ("_parameters", "_buffers", "_modules"):
        own = {name: value for name, value in getattr(rewritten, registered).items() if name not in names}
        getattr(original, registered).clear()
        getattr(original, registered).update(own)
    original.training = rewritten.training
    return original


def _code(graph: fx.Graph) -> Any:
    return graph.python_code("self")
