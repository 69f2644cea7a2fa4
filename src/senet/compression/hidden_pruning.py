"""Networks with fewer hidden units in their blocks: outputs are those of the network with the units masked."""

import torch
from torch import Tensor, nn

from senet.compression.allocated_widths import AllocatedBlock, Allocation
from senet.compression.block_records import block_records, write_widths
from senet.compression.hidden_units import bottlenecks
from senet.compression.pruning.channels import Axis
from senet.compression.pruning.cut import cut_
from senet.errors import UsageError
from senet.models.create import model_from_config
from senet.models.network import ModelConfig
from senet.models.reduced import ReducedStep, record_step
from senet.surgery.duplicate import duplicate
from senet.weights.store import find_config


def prune_hidden(model: nn.Module, allocation: Allocation) -> nn.Module:
    """Return a network with the hidden units that an allocation keeps; the given one stays as it is.

    Its outputs are those of the given network with the other units masked, to rounding; units that fire for no image change none of
    these images' outputs. A block that goes leaves its unit as a plain one is, with the gate 1. The configuration has the new widths, so
    that files of its weights rebuild it: in the option `block` and in plans of inserted blocks, or where these do not speak of all blocks,
    as of an encoder in a segmenter or after channels were pruned, as a step of its reduction.

    Args:
        model: the network that the allocation was made for.
        allocation: the units that stay.

    Raises:
        UsageError: if the network has other blocks than the allocation.
    """
    widths = {place.path: place.layers(model)[1].in_features // len(place.firsts) for place in bottlenecks(model)}
    if widths != {block.path: block.units.width for block in allocation.blocks}:
        raise UsageError("this allocation was made for a network with other blocks: make one for this network, with allocate_hidden")
    copy = duplicate(model)
    records = block_records(model)
    for block in allocation.blocks:
        if 0 < block.width < block.units.width:
            cut_(copy, _kept_places(block))
    narrowed = {path: width for path, width in allocation.widths.items() if width}
    if any(narrowed[path] != widths[path] for path in narrowed):
        if records.keys() >= narrowed.keys():
            write_widths(copy, records, narrowed)
        else:
            record_step(copy, _step(allocation))
    return _without_blocks(copy, allocation) if allocation.dropped else copy


def _step(allocation: Allocation) -> ReducedStep:
    """Return the reduction that an allocation is, layer by layer."""
    widths: dict[str, tuple[int, int, int]] = {}
    for block in allocation.blocks:
        if block.width < block.units.width:
            widths |= dict.fromkeys(block.units.place.firsts, (0, block.width, 0))
            widths[block.units.place.last] = (len(block.units.place.firsts) * block.width, 0, 0)
    return ReducedStep(widths=widths)


def _kept_places(block: AllocatedBlock) -> dict[Axis, Tensor]:
    """Return which outputs of each first layer stay, and which inputs of the last one those are."""
    units = block.units
    kept = units.strongest(block.width)
    read = [number * units.width + index for number, indices in enumerate(kept) for index in indices]
    places = {Axis(path, "outputs"): torch.tensor(indices) for path, indices in zip(units.place.firsts, kept, strict=True)}
    return places | {Axis(units.place.last, "inputs"): torch.tensor(read)}


def _without_blocks(model: nn.Module, allocation: Allocation) -> nn.Module:
    """Return the network, built anew without the blocks that go, with the tensors, modes and statements of the given one."""
    config = find_config(model)
    assert isinstance(config, ModelConfig)
    options = dict(config.options) | ({"omitted": allocation.omitted} if allocation.spec else {"block": None})
    tree = ModelConfig(config.name, options).to_dict()
    bare = model_from_config(tree, device="meta", plain=allocation.spec is None)
    return _filled(bare, model)


def _filled(outline: nn.Module, model: nn.Module) -> nn.Module:
    """Fill a network on the meta device with the tensors of another that has them all."""
    state: dict[str, Tensor] = model.state_dict(keep_vars=True)
    outline.load_state_dict({name: state[name] for name in outline.state_dict()}, assign=True)
    filled = dict(model.named_modules())
    for path, module in outline.named_modules():
        module.training = filled[path].training
        unsaved = {name for name, buffer in module._buffers.items() if buffer is not None and buffer.is_meta}
        module._buffers.update({name: filled[path]._buffers[name] for name in unsaved})
    for name in ("weights_metadata", "loaded_weights"):
        if name in vars(model):
            setattr(outline, name, vars(model)[name])
    return outline
