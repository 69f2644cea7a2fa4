"""The containers of a network that an optimisation is about, as graphs that can be rewritten."""

import inspect

from torch import nn

from senet.blocks.kinds import is_block
from senet.errors import reason_of
from senet.insertion.gated import Gated
from senet.surgery.arguments import signature
from senet.surgery.graph import ModuleGraph
from senet.surgery.trace import Container, only_chains, trace

BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def is_target(module: nn.Module | None) -> bool:
    """Return whether a module is one that an optimisation wants to fuse: a block or a BN."""
    return is_block(module) or isinstance(module, BATCH_NORMS)


def graphs_of(model: nn.Module) -> tuple[list[ModuleGraph], dict[str, tuple[str, str]]]:
    """Trace the forwards of all modules that hold blocks or BNs, but for those of blocks.

    Returns:
        The graphs, those of parents first, and for each module that cannot be traced its path, class and the reason.
    """
    graphs: list[ModuleGraph] = []
    untraced: dict[str, tuple[str, str]] = {}
    seen: set[nn.Module] = set()

    def visit(path: str, module: nn.Module) -> None:
        if module in seen or is_block(module) or not any(is_target(inner) for inner in module.modules() if inner is not module):
            return
        seen.add(module)
        try:
            graph = default_graph(path, module)
        except Exception as error:  # a forward may do anything with a symbol
            untraced[path] = type(module).__name__, reason_of(error, 120)
            children = dict(module.named_children())
        else:
            graphs.append(graph)
            children = {str(node.target): graph.called(node) for node in graph.nodes if node.op == "call_module"}
        for name, child in children.items():
            visit(f"{path}.{name}" if path else name, child)

    visit("", model)
    called = {graph.called(node) for graph in graphs for node in graph.nodes if node.op == "call_module"}
    for path, module in model.named_modules():  # what other methods than a forward call, as the last stage that every region goes through
        if not seen.union(called).intersection(module.modules()):
            visit(path, module)
    return graphs, untraced


def default_graph(path: str, module: nn.Module) -> ModuleGraph:
    """Return the graph of a module's forward when it is called without its optional arguments.

    Wrappers of inserted blocks are looked into, so that host and block are nodes of their own.

    Raises:
        Exception: whatever the forward raises when its inputs are symbols.
    """
    parameters = signature(module).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    graph, _ = trace(module, given=defaults or None, opens=_is_transparent)
    exact = not defaults and all(p.kind in POSITIONAL for p in parameters)
    return ModuleGraph(Container(path, module, graph, defaults, exact))


def _is_transparent(module: nn.Module) -> bool:
    return only_chains(module) or (type(module) is Gated and module.on == "output" and module.axis == 1)
