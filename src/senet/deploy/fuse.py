"""Put convolutions with their epilogues, and blocks in few operations, in the place of what they take over, in one container."""

from collections.abc import Callable
from operator import getitem
from typing import Any

from torch import fx, nn

from senet.blocks.kinds import is_block
from senet.deploy.containers import BATCH_NORMS, is_target
from senet.deploy.epilogue import Epilogue, commutes, find_epilogues
from senet.deploy.fold import fold_norm
from senet.deploy.gates import why_not_commuted
from senet.deploy.handovers import Fused, Handovers, find_handovers
from senet.deploy.layers import FusedConv2d, LeanSE
from senet.deploy.report import Fusion
from senet.ops.hooks import has_own_hooks
from senet.surgery.graph import ModuleGraph
from senet.surgery.once import CalledOnce

FRESH = {"relu", "cat", "concat", "add"}
"""Functions whose result nobody else holds."""

PART_NAMES = {"norm": "BN", "sum": "shortcut", "relu": "ReLU"}

Exchange = Callable[[dict[nn.Module, nn.Module]], None]


def fuse(graph: ModuleGraph, once: CalledOnce, exchange: Exchange) -> list[Fusion]:
    """Optimise one container.

    Where modules can stand for what is fused the container stays what it is, with other children; else its forward becomes a graph. The
    network itself becomes one only where a block or a shortcut asks for it, since it may have more methods than its forward.

    Args:
        graph: the container.
        once: which modules can be replaced.
        exchange: puts modules in the place of others in the network.
    """
    epilogues = [epilogue for epilogue in find_epilogues(graph, once) if epilogue.nodes]
    worth = {"gate", "sum", "relu"} if graph.container.path else {"gate", "sum"}
    as_graph = graph.container.exact and not has_own_hooks(graph.container.module)
    as_graph &= any(worth & epilogue.parts.keys() and not _swappable(graph, epilogue, once) for epilogue in epilogues)
    if not as_graph:
        for epilogue in epilogues:
            epilogue.shorten(_modules_only(graph, epilogue, once))
        epilogues = [epilogue for epilogue in epilogues if epilogue.nodes]
    new: dict[nn.Module, nn.Module] = {}
    fused = _fused_convolutions(graph, epilogues)
    handed = find_handovers(graph, fused) if as_graph else Handovers()
    rows = [*_fuse_convolutions(graph, fused, handed, new, swap=not as_graph), *_fuse_blocks(graph, epilogues, once, new)]
    rows += _unfused_rows(graph, epilogues, once)
    exchange(new)
    if as_graph:
        exchange({graph.container.module: _as_graph(graph, epilogues, handed)})
    return rows


def _modules_only(graph: ModuleGraph, epilogue: Epilogue, once: CalledOnce) -> int:
    """Return how many nodes at an epilogue's start call modules that an identity can replace."""
    calls = (node.op == "call_module" and graph.called(node) in once for node in epilogue.nodes)
    return next((index for index, replaceable in enumerate(calls) if not replaceable), len(epilogue.nodes))


def _swappable(graph: ModuleGraph, epilogue: Epilogue, once: CalledOnce) -> bool:
    return _modules_only(graph, epilogue, once) == len(epilogue.nodes)


def _fused_convolutions(graph: ModuleGraph, epilogues: list[Epilogue]) -> Fused:
    found = {}
    for epilogue in epilogues:
        conv = graph.called(epilogue.conv)
        assert isinstance(conv, nn.Conv2d)
        norm, block = (graph.called(epilogue.parts[role]) if role in epilogue.parts else None for role in ("norm", "gate"))
        fused = FusedConv2d(conv, *fold_norm(conv, norm), se=block, gain=epilogue.gain, relu="relu" in epilogue.parts)
        found[epilogue.conv] = epilogue, fused
    return found


def _fuse_convolutions(graph: ModuleGraph, found: Fused, handed: Handovers, new: dict[nn.Module, nn.Module], *, swap: bool) -> list[Fusion]:
    rows = []
    for node, (epilogue, fused) in found.items():
        new[graph.called(node)] = handed.giver(node, fused)
        if swap:
            new |= {graph.called(end): nn.Identity() for end in epilogue.nodes}
        rows.append(Fusion(graph.module_path(node), "Conv2d", _words(epilogue, fused)))
    return rows


def _words(epilogue: Epilogue, fused: FusedConv2d) -> tuple[str, ...]:
    folded = ", FC1 folded" if fused.gate is not None and fused.gate.folded else ""
    squeeze = "SE" if fused.gate is None else f"SE by its input's squeeze{folded}"
    words = PART_NAMES | {"gate": squeeze, "factor": f"factor {epilogue.gain:g}"}
    return tuple(words[role] for role in epilogue.parts)


def _fuse_blocks(graph: ModuleGraph, epilogues: list[Epilogue], once: CalledOnce, new: dict[nn.Module, nn.Module]) -> list[Fusion]:
    rows = []
    for node in _remaining(graph, epilogues):
        block = graph.module(node)
        if block is None or not is_block(block) or why_not_commuted(block) is not None or block not in once:
            continue
        value = node.all_input_nodes[0]
        in_place = len(value.users) == 1 and _is_fresh(graph, value)
        new[block] = LeanSE(block, in_place=in_place)
        done = "rescales in place" if in_place else "fewer operations"
        rows.append(Fusion(graph.module_path(node), type(block).__name__, (done,), _late_squeeze_reason(graph, value)))
    return rows


def _remaining(graph: ModuleGraph, epilogues: list[Epilogue]) -> list[fx.Node]:
    taken = {node for epilogue in epilogues for node in epilogue.nodes}
    return [node for node in graph.nodes if node.op == "call_module" and node not in taken]


def _is_fresh(graph: ModuleGraph, value: fx.Node) -> bool:
    """Return whether a value is a new map, which no input of the container shares."""
    if value.op == "call_module":
        return type(graph.module(value)) in (nn.Conv2d, *BATCH_NORMS)
    return graph.name(value) in FRESH and not graph.mutates(value)


def _late_squeeze_reason(graph: ModuleGraph, value: fx.Node) -> str:
    """Return why a block's squeeze has to read the map that it rescales."""
    module = graph.module(value)
    while type(module) in BATCH_NORMS:
        value = value.all_input_nodes[0]
        module = graph.module(value)
    if isinstance(module, nn.Conv2d):
        return (
            "the convolution before it is used elsewhere too" if commutes(module) else "its convolution is neither 1x1 nor 3x3 of stride 1"
        )
    return "no convolution lies directly before it"


def _unfused_rows(graph: ModuleGraph, epilogues: list[Epilogue], once: CalledOnce) -> list[Fusion]:
    rows = []
    for node in _remaining(graph, epilogues):
        module = graph.called(node)
        if is_block(module) and (reason := why_not_commuted(module)) is not None:
            rows.append(Fusion(graph.module_path(node), type(module).__name__, kept=reason))
        elif is_target(module) and module not in once:
            rows.append(Fusion(graph.module_path(node), type(module).__name__, kept="it is called more than once, or has hooks"))
        elif type(module) in BATCH_NORMS:
            rows.append(Fusion(graph.module_path(node), type(module).__name__, kept=_unfolded_reason(graph, node)))
    return rows


def _unfolded_reason(graph: ModuleGraph, node: fx.Node) -> str:
    value = node.all_input_nodes[0]
    if getattr(graph.module(node), "running_mean", None) is None:
        return "it has no running statistics"
    if isinstance(graph.module(value), nn.Conv2d):
        return "the convolution before it is called or used more than once, or has hooks"
    return "no convolution lies directly before it"


class OptimizedGraph(fx.GraphModule):
    """The forward of an optimised container."""

    report: Any = None

    def __deepcopy__(self, memo: dict[int, object]) -> fx.GraphModule:
        copied = super().__deepcopy__(memo)
        copied.report = self.report
        return copied


def _as_graph(graph: ModuleGraph, epilogues: list[Epilogue], handed: Handovers) -> nn.Module:
    """Return the container with its epilogues drawn together; its forward takes what the container's takes."""
    waiting = {epilogue.conv for epilogue in epilogues if epilogue.shortcut and graph.index[epilogue.shortcut] > graph.index[epilogue.conv]}
    drawn = graph.container.graph
    second: dict[fx.Node, fx.Node] = {}
    for epilogue in sorted(epilogues, key=lambda epilogue: graph.index[epilogue.end]):
        with drawn.inserting_after(epilogue.end if epilogue.conv in waiting else epilogue.conv):
            fused = value = drawn.call_module(str(epilogue.conv.target), handed.arguments(epilogue, second))
        if epilogue.conv in handed.squeezes:
            with drawn.inserting_before(fused):
                fused.args = (*fused.args, drawn.get_attr(f"{handed.squeezes[epilogue.conv].target}.gate.fc1.weight"))
        if epilogue.conv in handed.givers:
            with drawn.inserting_after(fused):
                value = drawn.call_function(getitem, (fused, 0))
            with drawn.inserting_after(value):
                second[epilogue.conv] = drawn.call_function(getitem, (fused, 1))
        epilogue.end.replace_all_uses_with(value)
        for node in (*reversed(epilogue.nodes), epilogue.conv):
            drawn.erase_node(node)
    container = graph.container.module
    return OptimizedGraph(container, drawn, class_name=f"Optimized{type(container).__name__}")
