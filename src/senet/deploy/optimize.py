"""The inference form of a network: what follows a convolution becomes part of it, and blocks know their gates before it runs."""

from collections.abc import Iterator
from functools import partial

from torch import nn

from senet.deploy.compiled import compile_calls
from senet.deploy.containers import graphs_of, is_target
from senet.deploy.fuse import fuse
from senet.deploy.report import Fusion, FusionReport
from senet.errors import UsageError
from senet.surgery.duplicate import duplicate
from senet.surgery.once import CalledOnce
from senet.surgery.replace import replace_modules
from senet.surgery.wrappers import unwrap


def optimize(model: nn.Module, compile: bool = False) -> nn.Module:  # noqa: A002 - the word for it in torch
    """Return the inference form of a network: the same outputs to rounding, in less time; the network itself is left alone.

    BNs are folded into the convolutions before them. A block behind a convolution squeezes that convolution's input where it is the smaller
    map (Hu et al., 1709.01507, eq. 2, is linear, and so is a convolution), with its first layer folded in where that has fewer weights.
    Scaling, the sum with the shortcut and the ReLU are done on the convolution's output itself. What cannot be proved to be an epilogue of
    a convolution stays as it is. On a CUDA device two kernels of this package do the rest of a unit's work, the block's included, each in
    one launch behind a convolution; which of both forms runs is found at each call, so that the network may be moved. Weights of half
    precision are laid out channels_last there, and inner maps are then channels_last too; give images likewise.

    Args:
        model: any network; of this package, with inserted blocks, or another. What is fused is found in the forwards of its modules.
        compile: have torch.compile run it, the fastest form for small batches: on CUDA as CUDA graphs (mode "reduce-overhead"), each
            call of which copies its input and its outputs. The first call with images of another shape, type or device takes from seconds
            to minutes, and keeps memory of its own on CUDA; beyond eight shapes torch runs the network uncompiled. Copies and files of it
            are uncompiled.

    Returns:
        A new network in evaluation mode that shares nothing with `model`, whose weights are not to be trained. `.report`, a
        `FusionReport`, says what was fused, and what was not and why. Modules keep their class where they can; a unit whose shortcut or
        block is fused becomes a graph.

    Raises:
        UsageError: if the network has no weights yet (meta device).
    """
    model = unwrap(model)
    if any(tensor.device.type == "meta" for tensor in (*model.parameters(), *model.buffers())):
        raise UsageError(f"{type(model).__name__} is on the meta device and has no weights yet: load them, then optimise")
    holder = nn.Sequential(duplicate(model).eval().requires_grad_(False))
    order = {path: index for index, (path, _) in enumerate(model.named_modules(remove_duplicate=False))}
    graphs, untraced = graphs_of(holder[0])
    rows = [Fusion(path, kind, kept=f"its forward cannot be traced: {reason}") for path, (kind, reason) in untraced.items()]
    once = CalledOnce(graphs)
    for graph in reversed(graphs):  # a container's graph holds its children as they are then
        rows += fuse(graph, once, partial(replace_modules, holder))
    optimized = holder[0].eval().requires_grad_(False)
    rows += _unseen_rows(optimized, {row.path for row in rows})
    report = FusionReport(type(model).__name__, tuple(sorted(rows, key=lambda row: order[row.path])))
    optimized.report = report  # pyright: ignore[reportArgumentType] - a plain attribute
    return compile_calls(optimized) if compile else optimized


def _unseen_rows(optimized: nn.Module, known: set[str]) -> Iterator[Fusion]:
    """Yield a row for every block and normalisation that is there still, and that no graph shows."""
    inside: tuple[str, ...] = ()
    for path, module in optimized.named_modules():
        if path.startswith(inside) or not is_target(module):
            continue
        inside += (f"{path}.",)
        if path not in known:
            yield Fusion(path, type(module).__name__, kept="its kind, or the way it is called, is not one that is known here")
