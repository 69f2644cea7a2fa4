"""Which channels of a network go together, as Torch-Pruning's dependency graph says: the only module that knows that library."""

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._pytree import tree_leaves

from senet.blocks.competitive import CompetitiveSE
from senet.blocks.kinds import modules_of_blocks
from senet.blocks.spatial import SpatialSE
from senet.compression.pruning.channels import ANY_CONVOLUTION, HIDDEN_UNITS, Axis, Channels, Couplings, axis_sizes, is_one_to_one
from senet.errors import Needing, UsageError, first_line_of
from senet.ops.backend import REFERENCE, backend
from senet.surgery.duplicate import duplicate
from senet.text import printable


def _pair_axes(block: CompetitiveSE) -> dict[Axis, int]:
    if block.variant == "folded_3x3":
        return {}
    return {Axis("fc1", "inputs"): block.fc1.in_features // block.channels, Axis("fc2", "outputs"): 1}  # channels are rows of an image


BLOCK_AXES: dict[type[nn.Module], Callable[[Any], dict[Axis, int]]] = {
    SpatialSE: lambda block: {Axis("conv", "inputs"): 1},
    CompetitiveSE: _pair_axes,
}
"""Blocks inside which Torch-Pruning does not follow the channels -> the axes that go with them, and how many indices of each channel.

Of a block without such axes none can be cut. It does follow those of a CMPE-SE block that makes no image of them.
"""


def _own(model: nn.Module) -> list[type[nn.Module]]:
    """Return the blocks of a network that it has to be told of."""
    pairs = any(isinstance(module, CompetitiveSE) and module.variant != "double_fc" for module in model.modules())
    return [kind for kind in BLOCK_AXES if pairs or kind is not CompetitiveSE]


def couple(model: nn.Module, images: Tensor, ignored: Collection[str] = ()) -> list[Channels]:
    """Return the channels of a network, in sets that are interchangeable, with all that goes when one of them goes.

    Args:
        model: the network; it is not changed.
        images: a batch, (N, C, H, W), on the network's device.
        ignored: paths of modules whose channels are left whole.

    Raises:
        UsageError: if Torch-Pruning is not installed or cannot follow the network, or a path is not there.
    """
    traced = duplicate(model).eval().requires_grad_(True)
    names = {module: path for path, module in traced.named_modules()}
    if unknown := set(ignored) - set(names.values()):
        raise UsageError(f"ignored names {min(unknown)!r}, which {type(model).__name__} has not")
    couplings = Couplings(axis_sizes(traced))
    try:
        _follow(traced, images, names, couplings)
    except UsageError:
        raise
    except Exception as error:  # whatever a network that it was not made for leads it to
        reason = printable(f"{type(error).__name__}: {first_line_of(error)}")
        raise UsageError(
            f"Torch-Pruning cannot follow the channels of {type(model).__name__} ({reason}): prune the part of it that maps images to maps"
        ) from error
    for path, layer in traced.named_modules():
        if isinstance(layer, ANY_CONVOLUTION) and layer.groups > 1 and not is_one_to_one(layer):
            couplings.join_groups(path, layer.groups)
    inside = {names[module] for module in modules_of_blocks(traced)}
    givers = {path for path, layer in traced.named_modules() if isinstance(layer, (ANY_CONVOLUTION, nn.Linear)) and path not in inside}
    hindered = _hindered(traced)
    return [_with_reason(channels, inside, hindered, ignored) for channels in couplings.channels(givers)]


def _hindered(model: nn.Module) -> dict[str, str]:
    """Return the paths of layers whose weights are not theirs alone, and why."""
    times = Counter(id(weight) for module in model.modules() for weight in module.parameters(recurse=False))
    reasons = {}
    for path, module in model.named_modules():
        if is_parametrized(module) or module._forward_pre_hooks:
            reasons[path] = f"{path} computes its weights from other tensors, or has hooks"
        elif any(times[id(weight)] > 1 for weight in module.parameters(recurse=False)):
            reasons[path] = f"{path} shares its weights with another layer"
    return reasons


def _with_reason(channels: Channels, inside: Collection[str], hindered: Mapping[str, str], ignored: Collection[str]) -> Channels:
    paths = [axis.path for axis in channels.places]
    if channels.fixed:
        return channels
    if all(path in inside for path in paths):
        return replace(channels, fixed=HIDDEN_UNITS)
    if named := [root for root in ignored if any(path == root or path.startswith(f"{root}.") for path in paths)]:
        return replace(channels, fixed=f"{named[0]} is ignored")
    return replace(channels, fixed=next((hindered[path] for path in paths if path in hindered), ""))


def _follow(model: nn.Module, images: Tensor, names: Mapping[nn.Module, str], couplings: Couplings) -> None:
    """Ask Torch-Pruning what goes with the outputs of every convolution and linear layer."""
    graph = _graph(model, images)
    followed: set[tuple[Axis, int]] = set()
    for module in list(graph.module2node):
        axis = Axis(names.get(module, ""), "outputs")
        if not isinstance(module, (ANY_CONVOLUTION, nn.Linear)) or axis not in couplings:
            continue
        size = couplings.sizes[axis]
        if all((axis, index) in followed for index in range(size)):
            continue
        for item in graph.get_pruning_group(module, graph.get_pruner_of_module(module).prune_out_channels, list(range(size))):
            roots, indices = list(item.root_idxs), list(item.idxs)
            for target, width in _axes(item.dep, graph, names, couplings):
                for place in range(width):
                    couplings.join(axis, roots, target, [index * width + place for index in indices])
                followed |= {(target, index) for index in indices}
            if reason := _hindrance(item.dep.target.module, graph, names):
                couplings.fix(axis, roots, reason)


def _axes(dep: Any, graph: Any, names: Mapping[nn.Module, str], couplings: Couplings) -> list[tuple[Axis, int]]:
    """Return the axes that one step of a dependency cuts, and how many indices of each go with one channel."""
    module = dep.target.module
    path = names.get(module)
    if path is None:
        return []
    if type(module) in graph.CUSTOMIZED_PRUNERS:
        return [(Axis(f"{path}.{inner.path}", inner.side), width) for inner, width in BLOCK_AXES[type(module)](module).items()]
    axis = Axis(path, "outputs" if graph.is_out_channel_pruning_fn(dep.handler) else "inputs")
    return [(axis, 1)] if axis in couplings else []


def _hindrance(module: Any, graph: Any, names: Mapping[nn.Module, str]) -> str:
    """Return why what depends on a channel of this cannot be cut; "" if it can."""
    from torch_pruning import ops

    if isinstance(module, ops._OutputOp):
        return "the network returns them"
    if isinstance(module, nn.Parameter):
        return "a parameter outside of layers has their number"
    if type(module) in graph.CUSTOMIZED_PRUNERS:
        return "" if BLOCK_AXES[type(module)](module) else f"{names[module]} folds them to an image of a fixed shape"
    mixing = (nn.LayerNorm, nn.GroupNorm, nn.MultiheadAttention, nn.LSTM, nn.Embedding)
    return f"{names[module]} ({type(module).__name__}) computes with all of them at once" if isinstance(module, mixing) else ""


def _graph(model: nn.Module, images: Tensor) -> Any:
    with Needing("pruning needs Torch-Pruning", "compress"):
        import torch_pruning

    class Block(torch_pruning.BasePruningFunc):
        """A block: what goes in comes out."""

        def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
            return layer

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer: Any) -> int:
            return layer.channels

        get_in_channels = get_out_channels

    def ended(outputs: object) -> list[Tensor]:
        return [leaf * 1 for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.requires_grad]  # by no layer of the network

    with warnings.catch_warnings(), backend(REFERENCE), torch.enable_grad():
        warnings.simplefilter("ignore")  # what is unknown is said to be elementwise: cuts are proved
        return torch_pruning.DependencyGraph().build_dependency(
            model, images, output_transform=ended, customized_pruners={kind: Block() for kind in _own(model)}, verbose=False
        )
