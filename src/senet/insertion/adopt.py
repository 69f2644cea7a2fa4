"""Recalibration blocks of other libraries replaced by ours, which have their weights and compute the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from senet.blocks.channel import ChannelSE
from senet.blocks.channel_spatial import ChannelSpatialSE
from senet.errors import UsageError
from senet.insertion.sites import refuse_wrapped
from senet.ops.hooks import has_hooks
from senet.spec import check_choice
from senet.surgery.duplicate import duplicate
from senet.surgery.replace import replace_modules

GATE_NAMES = {"Sigmoid": "sigmoid", "Tanh": "tanh", "ReLU": "relu", "Hardsigmoid": "hard_sigmoid", "HardSigmoid": "hard_sigmoid"}
"""Class of an activation in torch or timm -> our name of the gate."""

NAMINGS = ("senet", "library")


class DifferentFormError(Exception):
    """Reason why a block of another library has no equal here."""


@dataclass(frozen=True)
class ForeignBlock:
    """Class of another library that has an equal here.

    Args:
        home: the class, as module:name.
        make: makes our block, with fresh weights, for one of them; raises `DifferentFormError` if it is none that we have.
        layers: our layer -> theirs.
    """

    home: str
    make: Callable[[Any], nn.Module]
    layers: Mapping[str, str]


@dataclass(frozen=True)
class Adoption:
    """Outcome of `adopt`.

    Args:
        blocks: path -> class of the block that was replaced there.
        left: path -> why a block of another library stays as it is.
        keys: our name of a tensor -> the library's, and the shape that it has there.
    """

    blocks: Mapping[str, str]
    left: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)

    def rename(self, state_dict: Mapping[str, Tensor], *, to: Literal["senet", "library"]) -> dict[str, Tensor]:
        """Return a state dict of the network with the names and shapes that it has with our blocks, or with the library's.

        Args:
            state_dict: entries by name; those outside the blocks stay as they are.
            to: whose blocks the result is for.

        Raises:
            UsageError: if an entry of a block has another number of values than it had when the block was replaced.
        """
        check_choice("to", to, NAMINGS)
        shapes = {ours: _our_shape(ours, shape) for ours, (_, shape) in self.keys.items()}
        forward = {theirs: (ours, shapes[ours]) for ours, (theirs, _) in self.keys.items()}
        table = forward if to == "senet" else self.keys
        renamed = {}
        for key, tensor in state_dict.items():
            name, shape = table.get(key, (key, tuple(tensor.shape)))
            if tensor.shape.numel() != torch.Size(shape).numel():
                raise UsageError(f"{key} has the shape {tuple(tensor.shape)}, which is not that of this network, {tuple(shape)}")
            renamed[name] = tensor.reshape(shape)
        return renamed


def adopt(model: nn.Module) -> Adoption:
    """Replace the recalibration blocks of other libraries by ours, in place: same weights, same outputs, names of this package.

    What this package does with blocks (profile, recorded excitations, the inference form, freezing the rest) then works for a network of
    segmentation_models_pytorch, MONAI, timm or torchvision that was built, and may be trained, with their blocks: `SCSEModule`,
    `ChannelSELayer`, `SEModule`, `SqueezeExcite`, `SqueezeExcitation`. No library is imported.

    Args:
        model: the network.

    Returns:
        What was replaced, what was left and why, and the way of a state dict from one to the other.

    Raises:
        UsageError: if there is no such block, or the network is wrapped.
    """
    refuse_wrapped(model)
    made: dict[nn.Module, nn.Module] = {}
    blocks, left, keys = {}, {}, {}
    for path, module in list(model.named_modules(remove_duplicate=False)):
        known = FOREIGN_BLOCKS.get(_home_of(module))
        if known is None:
            continue
        try:
            if not path:
                raise DifferentFormError("it is the whole network")
            made[module] = made[module] if module in made else _equal(module, known)
        except DifferentFormError as reason:
            left[path] = f"{type(module).__name__}: {reason}"
            continue
        blocks[path] = type(module).__name__
        shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        keys |= {
            f"{path}.{ours}.{part}": (f"{path}.{theirs}.{part}", shapes[f"{theirs}.{part}"])
            for ours, theirs in known.layers.items()
            for part in ("weight", "bias")
            if f"{theirs}.{part}" in shapes
        }
    if not blocks:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in left.items())
        known = ", ".join(home.rpartition(":")[2] for home in FOREIGN_BLOCKS)
        raise UsageError(f"{type(model).__name__} has no block of another library that could be replaced ({reasons or known})")
    replace_modules(model, made)
    return Adoption(blocks, left, keys)


def is_library_block(module: nn.Module) -> bool:
    """Return whether a module is a block of another library that this package knows."""
    return _home_of(module) in FOREIGN_BLOCKS


def with_own_blocks(model: nn.Module) -> nn.Module:
    """Return a network whose blocks are ours: itself, or a copy with our equals of other libraries' blocks if it has some."""
    if not any(is_library_block(module) for module in model.modules()):
        return model
    copied = duplicate(model)
    try:
        adopt(copied)
    except UsageError:  # none of them has an equal
        return model
    return copied


def _home_of(module: nn.Module) -> str:
    return f"{type(module).__module__}:{type(module).__qualname__}"


def _equal(module: nn.Module, known: ForeignBlock) -> nn.Module:
    """Return our block with the weights, type, device and mode of another library's."""
    if has_hooks(module):
        raise DifferentFormError("it has hooks")
    state = module.state_dict(keep_vars=True)
    block = known.make(module)
    wanted = {f"{ours}.{part}": f"{theirs}.{part}" for ours, theirs in known.layers.items() for part in ("weight", "bias")}
    own = dict(block.named_parameters())
    if {wanted[name] for name in own} != state.keys() or any(own[name].numel() != state[wanted[name]].numel() for name in own):
        raise DifferentFormError(f"its tensors are {', '.join(state)}")
    first = next(iter(state.values()))
    block.to(device=first.device, dtype=first.dtype).train(module.training)
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            old = state[wanted[name]]
            parameter.copy_(old.reshape(parameter.shape))
            parameter.requires_grad_(old.requires_grad)
    return block


def _our_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one of our tensors: FCs are linear layers, whose weights have two axes."""
    return shape[:2] if ".fc" in name else shape


def _gate_of(activation: Any) -> Any:
    name = type(activation).__name__
    if name not in GATE_NAMES:
        raise DifferentFormError(f"its gate is {name}")
    return GATE_NAMES[name]


def _check_rectifier(activation: Any) -> None:
    if type(activation).__name__ != "ReLU":
        raise DifferentFormError(f"it has {type(activation).__name__} between its layers")


def _channel(first: Any, activation: Any, gate: Any) -> ChannelSE:
    """Return SE with the widths of a first layer, linear or a 1x1 convolution, (hidden, channels, ...)."""
    _check_rectifier(activation)
    hidden, channels = first.weight.shape[:2]
    if not hidden:
        raise DifferentFormError(f"its bottleneck for {channels} channels is empty")
    return ChannelSE(channels, hidden=hidden, gate=_gate_of(gate), bias=first.bias is not None)


def _from_smp(module: Any) -> ChannelSpatialSE:
    squeezed = _channel(module.cSE[1], module.cSE[2], module.cSE[4])
    if squeezed.gate_name != "sigmoid" or module.cSE[1].bias is None or _gate_of(module.sSE[1]) != "sigmoid":
        raise DifferentFormError("a gate of it is no sigmoid")
    return ChannelSpatialSE(squeezed.channels, squeezed.channels // squeezed.hidden, combine="add")


def _from_monai(module: Any) -> ChannelSE:
    if module.add_residual:
        raise DifferentFormError("it adds its input to what it recalibrates")
    return _channel(module.fc[0], module.fc[1], module.fc[3])


def _from_timm(module: Any) -> ChannelSE:
    if module.add_maxpool or type(module.bn) is not nn.Identity:
        raise DifferentFormError("it squeezes by a maximum too, or has a norm")
    return _channel(module.fc1, module.act, module.gate)


def _from_efficient_timm(module: Any) -> ChannelSE:
    return _channel(module.conv_reduce, module.act1, module.gate)


def _from_torchvision(module: Any) -> ChannelSE:
    return _channel(module.fc1, module.activation, module.scale_activation)


def _residual(module: Any) -> nn.Module:
    raise DifferentFormError("it adds its input to what it recalibrates")


SAME = {"fc1": "fc1", "fc2": "fc2"}

FOREIGN_BLOCKS = {
    known.home: known
    for known in (
        ForeignBlock(
            "segmentation_models_pytorch.base.modules:SCSEModule",
            _from_smp,
            {"cse.fc1": "cSE.1", "cse.fc2": "cSE.3", "sse.conv": "sSE.0"},
        ),
        ForeignBlock("monai.networks.blocks.squeeze_and_excitation:ChannelSELayer", _from_monai, {"fc1": "fc.0", "fc2": "fc.2"}),
        ForeignBlock("monai.networks.blocks.squeeze_and_excitation:ResidualSELayer", _residual, {"fc1": "fc.0", "fc2": "fc.2"}),
        ForeignBlock("timm.layers.squeeze_excite:SEModule", _from_timm, SAME),
        ForeignBlock("timm.models._efficientnet_blocks:SqueezeExcite", _from_efficient_timm, {"fc1": "conv_reduce", "fc2": "conv_expand"}),
        ForeignBlock("torchvision.ops.misc:SqueezeExcitation", _from_torchvision, SAME),
    )
}
"""Class, as module:name -> how it becomes ours."""
