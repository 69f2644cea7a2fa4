"""How blocks call their layers: as modules, so that pruning, parametrisations, hooks and wrappers of a layer take effect."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import linear

from senet.blocks.precision import precise
from senet.errors import UsageError
from senet.ops.hooks import has_hooks

PLAIN_LAYERS = (nn.Linear, nn.Conv2d)
WIDTH_ATTRIBUTES = (("out_features", "in_features"), ("out_channels", "in_channels"))


def is_plain_layer(layer: nn.Module) -> bool:
    """Return whether a layer is its weight and bias and nothing else, so that a fused operator may read these instead of calling it.

    A sub-class (parametrised, quantised, wrapped by another library), a forward of its own, a hook (`torch.nn.utils.prune` computes the
    weight in one), or a weight that is no plain parameter makes it more than that.
    """
    if type(layer) not in PLAIN_LAYERS or "forward" in layer.__dict__ or has_hooks(layer):
        return False
    weight, bias = layer.weight, layer.bias
    return type(weight) is nn.Parameter and (bias is None or type(bias) is nn.Parameter)


def has_plain_layers(block: nn.Module) -> bool:
    """Return whether all layers of a block are plain."""
    return all(is_plain_layer(layer) for layer in block.modules() if isinstance(layer, PLAIN_LAYERS))


def call(layer: nn.Module, z: Tensor) -> Tensor:
    """Call a layer in the type of z, whichever type its weights have.

    Args:
        layer: any module, whose floating-point parameters and buffers are cast for the call if they have another type.
        z: its input.
    """
    if all(tensor.dtype == z.dtype for tensor in numbers(layer)):
        return layer(z)
    if type(layer) is nn.Linear and is_plain_layer(layer):
        return linear(z, layer.weight.to(z.dtype), None if layer.bias is None else layer.bias.to(z.dtype))
    buffers = {name: buffer for name, buffer in layer.named_buffers() if buffer.is_floating_point()}
    parameters = {
        f"{path}.{name}".lstrip("."): tensor for path, module in layer.named_modules() for name, tensor in own_parameters(module).items()
    }
    state = {name: tensor.to(z.dtype) for name, tensor in (*parameters.items(), *buffers.items()) if tensor is not None}
    out = functional_call(layer, state, (z,))
    if layer.training:
        with torch.no_grad():
            for name, buffer in buffers.items():  # what the call gathered in the wider type: statistics, power iterations
                buffer.copy_(state[name])
    return out


def own_parameters(module: nn.Module) -> Mapping[str, Tensor | None]:
    """Return the parameters of a module, not of those inside; a replica of `nn.DataParallel` has them as plain tensors."""
    return module.__dict__.get("_former_parameters") or module._parameters


def numbers(layer: nn.Module) -> Iterable[Tensor]:
    """Return the floating-point parameters and buffers of a layer."""
    if not layer._modules and not layer._buffers:  # the usual case, without a search
        return [tensor for tensor in own_parameters(layer).values() if tensor is not None]
    parameters = (tensor for module in layer.modules() for tensor in own_parameters(module).values() if tensor is not None)
    return [tensor for tensor in (*parameters, *layer.buffers()) if tensor.is_floating_point()]


def gate_type(layer: nn.Module, *maps: Tensor) -> torch.dtype:
    """Return the type in which a gate is computed: the widest of these maps and of a layer's weights, and at least float32."""
    return precise(*maps, *numbers(layer))


def widths(layer: nn.Module) -> tuple[int, int]:
    """Return outputs and inputs of a layer, by its weight; for a wrapper, those of the layer inside.

    Raises:
        UsageError: if nothing in the module says them.
    """
    weight = own_parameters(layer).get("weight")
    if weight is not None and weight.ndim > 1:
        return weight.shape[0], weight.shape[1]
    for module in layer.modules():
        for names in WIDTH_ATTRIBUTES:
            outputs, inputs = (getattr(module, name, None) for name in names)
            if isinstance(outputs, int) and isinstance(inputs, int):
                return outputs, inputs
    raise UsageError(f"{type(layer).__name__} does not say how wide it is: give it in_features and out_features, as nn.Linear has them")


def check_channels(x: Tensor, channels: int) -> None:
    """Raise UsageError unless x is a map of `channels` channels, (N, channels, ...), of a floating-point type."""
    if not x.is_floating_point():
        raise UsageError(f"gates lie between 0 and 1, and {x.dtype} cannot hold them: give the block floating-point maps: x.float()")
    if x.ndim < 2 or x.shape[1] != channels:
        raise UsageError(f"this block recalibrates {channels} channels: expected (N, {channels}, ...), got {tuple(x.shape)}")
