"""The containers of a network in evaluation mode, as graphs that can be rewritten."""

import inspect

from torch import nn

from senet.insertion.gated import Gated
from senet.surgery.arguments import signature
from senet.surgery.graph import ModuleGraph
from senet.surgery.trace import Container, only_chains, trace

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def default_graph(path: str, module: nn.Module) -> ModuleGraph:
    """Return the graph of a module's forward when it is called without its optional arguments.

    Wrappers of inserted blocks are looked into, so that host and block are nodes of their own.

    Raises:
        Exception: whatever the forward raises when its inputs are symbols.
    """
    parameters = signature(module).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    graph, _ = trace(module, given=defaults or None, opens=_opens)
    exact = not defaults and all(p.kind in POSITIONAL for p in parameters)
    return ModuleGraph(Container(path, module, graph, defaults, exact))


def _opens(module: nn.Module) -> bool:
    return only_chains(module) or (type(module) is Gated and module.on == "output" and module.axis == 1)
