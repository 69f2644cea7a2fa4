"""Put fused convolutions and lean blocks in the place of what they take over, in one container."""

from collections.abc import Callable
from typing import Any

from torch import fx, nn

from senet.blocks.kinds import is_block
from senet.deploy.chains import NORMS, Chain, Usage, commutes, find_chains
from senet.deploy.fold import fold_norm
from senet.deploy.gates import refusal
from senet.deploy.layers import FusedConv2d, LeanSE
from senet.deploy.report import Fusion
from senet.ops.hooks import has_own_hooks
from senet.surgery.graph import ModuleGraph

FRESH = {"relu", "cat", "concat", "add"}
"""Functions whose result nobody else holds."""

WORDS = {"norm": "BN", "sum": "shortcut", "relu": "ReLU"}

Exchange = Callable[[dict[nn.Module, nn.Module]], None]


def rewrite(outline: ModuleGraph, usage: Usage, exchange: Exchange, *, root: bool) -> list[Fusion]:
    """Optimise one container.

    Where modules can stand for what is fused the container stays what it is, with other children; else its forward becomes a graph. The
    network itself becomes one only where a block or a shortcut asks for it, since it may have more methods than its forward.

    Args:
        outline: the container.
        usage: which modules can be replaced.
        exchange: puts modules into the place of others, wherever these are registered.
        root: whether the container is the network.
    """
    chains = [chain for chain in find_chains(outline, usage) if chain.nodes]
    worth = {"gate", "sum"} if root else {"gate", "sum", "relu"}
    graphed = outline.container.exact and not has_own_hooks(outline.container.module)
    graphed &= any(worth & chain.parts.keys() and not _swappable(outline, chain, usage) for chain in chains)
    if not graphed:
        for chain in chains:
            chain.shorten(_modules_only(outline, chain, usage))
        chains = [chain for chain in chains if chain.nodes]
    new: dict[nn.Module, nn.Module] = {}
    rows = [*_fuse(outline, chains, new, swap=not graphed), *_lean(outline, chains, usage, new)]
    rows += _left(outline, chains, usage)
    exchange(new)
    if graphed:
        exchange({outline.container.module: _as_graph(outline, chains)})
    return rows


def _modules_only(outline: ModuleGraph, chain: Chain, usage: Usage) -> int:
    """Return how many nodes at a chain's start call modules that an identity can replace."""
    calls = (node.op == "call_module" and usage.free(outline.called(node)) for node in chain.nodes)
    return next((index for index, replaceable in enumerate(calls) if not replaceable), len(chain.nodes))


def _swappable(outline: ModuleGraph, chain: Chain, usage: Usage) -> bool:
    return _modules_only(outline, chain, usage) == len(chain.nodes)


def _fuse(outline: ModuleGraph, chains: list[Chain], new: dict[nn.Module, nn.Module], *, swap: bool) -> list[Fusion]:
    rows = []
    for chain in chains:
        conv = outline.called(chain.conv)
        assert isinstance(conv, nn.Conv2d)
        norm, block = (outline.called(chain.parts[role]) if role in chain.parts else None for role in ("norm", "gate"))
        fused = FusedConv2d(conv, *fold_norm(conv, norm), se=block, gain=chain.gain, relu="relu" in chain.parts)
        new[conv] = fused
        if swap:
            new |= {outline.called(node): nn.Identity() for node in chain.nodes}
        rows.append(Fusion(outline.module_path(chain.conv), "Conv2d", _words(chain, fused)))
    return rows


def _words(chain: Chain, fused: FusedConv2d) -> tuple[str, ...]:
    folded = ", FC1 folded" if fused.gate is not None and fused.gate.folded else ""
    squeeze = "SE" if fused.gate is None else f"SE by its input's squeeze{folded}"
    words = WORDS | {"gate": squeeze, "factor": f"factor {chain.gain:g}"}
    return tuple(words[role] for role in chain.parts)


def _lean(outline: ModuleGraph, chains: list[Chain], usage: Usage, new: dict[nn.Module, nn.Module]) -> list[Fusion]:
    rows = []
    for node in _remaining(outline, chains):
        block = outline.module(node)
        if block is None or not is_block(block) or refusal(block) is not None or not usage.free(block):
            continue
        value = node.all_input_nodes[0]
        in_place = len(value.users) == 1 and _is_fresh(outline, value)
        new[block] = LeanSE(block, in_place=in_place)
        done = "rescales in place" if in_place else "fewer operations"
        rows.append(Fusion(outline.module_path(node), type(block).__name__, (done,), _why_late(outline, value)))
    return rows


def _remaining(outline: ModuleGraph, chains: list[Chain]) -> list[fx.Node]:
    taken = {node for chain in chains for node in chain.nodes}
    return [node for node in outline.nodes if node.op == "call_module" and node not in taken]


def _is_fresh(outline: ModuleGraph, value: fx.Node) -> bool:
    """Return whether a value is a new map, which no input of the container shares."""
    if value.op == "call_module":
        return type(outline.module(value)) in (nn.Conv2d, *NORMS)
    return outline.name(value) in FRESH and not outline.mutates(value)


def _why_late(outline: ModuleGraph, value: fx.Node) -> str:
    """Return why a block's squeeze has to read the map that it rescales."""
    module = outline.module(value)
    while type(module) in NORMS:
        value = value.all_input_nodes[0]
        module = outline.module(value)
    if isinstance(module, nn.Conv2d):
        return (
            "the convolution before it is used elsewhere too" if commutes(module) else "its convolution is neither 1x1 nor 3x3 of stride 1"
        )
    return "no convolution lies directly before it"


def _left(outline: ModuleGraph, chains: list[Chain], usage: Usage) -> list[Fusion]:
    rows = []
    for node in _remaining(outline, chains):
        module = outline.called(node)
        if is_block(module) and (reason := refusal(module)) is not None:
            rows.append(Fusion(outline.module_path(node), type(module).__name__, kept=reason))
        elif (is_block(module) or isinstance(module, NORMS)) and not usage.free(module):
            rows.append(Fusion(outline.module_path(node), type(module).__name__, kept="it is called more than once, or has hooks"))
        elif type(module) in NORMS:
            rows.append(Fusion(outline.module_path(node), type(module).__name__, kept=_why_unfolded(outline, node)))
    return rows


def _why_unfolded(outline: ModuleGraph, node: fx.Node) -> str:
    value = node.all_input_nodes[0]
    if getattr(outline.module(node), "running_mean", None) is None:
        return "it has no running statistics"
    if isinstance(outline.module(value), nn.Conv2d):
        return "the convolution before it is called or used more than once, or has hooks"
    return "no convolution lies directly before it"


class OptimizedGraph(fx.GraphModule):
    """The forward of an optimised container."""

    report: Any = None

    def __deepcopy__(self, memo: dict[int, object]) -> fx.GraphModule:
        copied = super().__deepcopy__(memo)
        copied.report = self.report
        return copied


def _as_graph(outline: ModuleGraph, chains: list[Chain]) -> nn.Module:
    """Return the container with its chains drawn together; its forward takes what the container's takes."""
    waiting = {chain.conv for chain in chains if chain.shortcut and outline.index[chain.shortcut] > outline.index[chain.conv]}
    for chain in sorted(chains, key=lambda chain: outline.index[chain.end]):
        arguments = chain.conv.args if chain.shortcut is None else (*chain.conv.args, chain.shortcut)
        with outline.container.graph.inserting_after(chain.end if chain.conv in waiting else chain.conv):
            fused = outline.container.graph.call_module(str(chain.conv.target), arguments)
        chain.end.replace_all_uses_with(fused)
        for node in (*reversed(chain.nodes), chain.conv):
            outline.container.graph.erase_node(node)
    container = outline.container.module
    return OptimizedGraph(container, outline.container.graph, class_name=f"Optimized{type(container).__name__}")
