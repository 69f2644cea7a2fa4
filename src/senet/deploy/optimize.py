"""The inference form of a network: what follows a convolution becomes part of it, and blocks know their gates before it runs."""

import copy
from collections.abc import Iterator
from functools import partial

from torch import nn

from senet.blocks.kinds import is_block
from senet.deploy.chains import NORMS, Usage
from senet.deploy.containers import default_graph
from senet.deploy.report import Fusion, FusionReport
from senet.deploy.rewrite import rewrite
from senet.errors import UsageError
from senet.surgery.graph import ModuleGraph
from senet.surgery.replace import replace_modules


def optimize(model: nn.Module) -> nn.Module:
    """Return the inference form of a network: the same outputs to rounding, in less time; the network itself is left alone.

    BNs are folded into the convolutions before them. A block behind a convolution squeezes that convolution's input where it is the smaller
    map (Hu et al., 1709.01507, eq. 2, is linear, and so is a convolution), with its first layer folded in where that has fewer weights.
    Scaling, the sum with the shortcut and the ReLU are done on the convolution's output itself. What cannot be proved to be such a chain
    stays as it is.

    Args:
        model: any network; of this package, with inserted blocks, or another. What is fused is found in the forwards of its modules.

    Returns:
        A new network in evaluation mode that shares nothing with `model`, whose weights are not to be trained. `.report`, a
        `FusionReport`, says what was fused, and what was not and why. Modules keep their class where they can; a unit whose shortcut or
        block is fused becomes a graph.

    Raises:
        UsageError: if the network has no weights yet (meta device).
    """
    if any(tensor.device.type == "meta" for tensor in (*model.parameters(), *model.buffers())):
        raise UsageError(f"{type(model).__name__} is on the meta device and has no weights yet: load them, then optimise")
    holder = nn.Sequential(copy.deepcopy(model).eval().requires_grad_(False))
    order = {path: index for index, (path, _) in enumerate(model.named_modules(remove_duplicate=False))}
    outlines, rows = [], []
    for found in _outlines("", holder[0], seen=set()):
        (outlines if isinstance(found, ModuleGraph) else rows).append(found)

    usage = Usage(outlines)
    for outline in reversed(outlines):  # a container's graph holds its children as they are then
        rows += rewrite(outline, usage, partial(replace_modules, holder), root=not outline.container.path)
    optimized = holder[0].eval().requires_grad_(False)
    rows += _overlooked(optimized, {row.path for row in rows})
    report = FusionReport(type(model).__name__, tuple(sorted(rows, key=lambda row: order[row.path])))
    optimized.report = report  # pyright: ignore[reportArgumentType] - a plain attribute
    return optimized


def _outlines(path: str, module: nn.Module, seen: set[nn.Module]) -> Iterator[ModuleGraph | Fusion]:
    """Give the outlines of a container and of those that it calls, parents first; for one that cannot be traced, the row that says so."""
    if module in seen or is_block(module) or not _holds_something(module):
        return
    seen.add(module)
    try:
        outline = default_graph(path, module)
    except Exception as error:  # a forward may do anything with a symbol
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        yield Fusion(path, type(module).__name__, kept=f"its forward cannot be traced: {reason}")
        inner = dict(module.named_children())
    else:
        yield outline
        inner = {str(node.target): outline.called(node) for node in outline.nodes if node.op == "call_module"}
    for name, child in inner.items():
        yield from _outlines(f"{path}.{name}" if path else name, child, seen)


def _holds_something(module: nn.Module) -> bool:
    return any(is_block(inner) or isinstance(inner, NORMS) for inner in module.modules() if inner is not module)


def _overlooked(optimized: nn.Module, known: set[str]) -> Iterator[Fusion]:
    """Give a row for every block and normalisation that is there still, and that no outline shows."""
    inside: tuple[str, ...] = ()
    for path, module in optimized.named_modules():
        if path.startswith(inside) or not (is_block(module) or isinstance(module, NORMS)):
            continue
        inside += (f"{path}.",)
        if path not in known:
            yield Fusion(path, type(module).__name__, kept="its kind, or the way it is called, is not one that is known here")
