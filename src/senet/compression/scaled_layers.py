"""How a layer takes up a factor a channel of what it gives, or of what it is given: products are formed in float64."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import batchnorm, instancenorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from senet.ops.hooks import has_own_hooks

FORWARDS = {
    *(nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward),
    *(nn.ConvTranspose1d.forward, nn.ConvTranspose2d.forward, nn.ConvTranspose3d.forward),
    *(nn.Linear.forward, nn.GroupNorm.forward, nn.LayerNorm.forward),
    *(batchnorm._BatchNorm.forward, nn.SyncBatchNorm.forward, instancenorm._InstanceNorm.forward),
}
"""Forwards that are linear in a layer's weight and bias."""


TRIED_SIZES = (0.01, 1.0, 100.0)
"""Sizes of the numbers with which a layer is tried, so that what bends somewhere is seen to."""


@dataclass(frozen=True)
class Uptake:
    """Factors that a layer takes up.

    Args:
        layer: the layer.
        path: its place in the network.
        of: "outputs" = its outputs are to be these multiples, "inputs" = what it is given is, and it is to make up for that.
        factors: (C,) one for each of its outputs, or of its inputs; float64.
    """

    layer: Any
    path: str
    of: str
    factors: Tensor

    def why_not(self) -> str | None:
        """Return why the layer cannot take the factors up, or None."""
        if not has_own_tensors(self.layer):
            return f"{self.path} is more than its weight and bias: it has hooks or parametrisations"
        wanted = width_of(self.layer, self.of)
        if wanted != len(self.factors):
            return f"{self.path} has {wanted} channels where the block has {len(self.factors)}"
        if isinstance(self.layer, nn.LayerNorm) and len(self.layer.normalized_shape) > 1:
            return f"{self.path} normalises several axes"
        reason = WHY_NOT[self.of](self)
        if reason is None and not is_of_torch(self.layer) and not (isinstance(self.layer, _ConvNd) and self._holds()):
            reason = f"{self.path} has a forward of its own, which does not follow its weight and bias"
        return reason

    def _holds(self) -> bool:
        """Return whether a layer with the factors gives what it should, on random maps of several sizes, in float64.

        A sub-class may pad in its own way, which changes nothing, or standardise its weight, which undoes the factors.
        """
        layer = copy.deepcopy(self.layer).double().eval()
        generator = torch.Generator().manual_seed(0)
        sides = [dilation * (kernel - 1) + 5 for kernel, dilation in zip(layer.kernel_size, layer.dilation, strict=True)]
        maps = torch.randn(3, layer.in_channels, *sides, generator=generator, dtype=torch.float64).to(self.factors.device)
        maps *= _along(maps.new_tensor(TRIED_SIZES), maps.ndim)
        factors = _along(self.factors, maps.ndim - 1)
        try:
            with torch.no_grad():
                wanted = layer(maps) * factors if self.of == "outputs" else layer(maps * factors)
                replace(self, layer=layer).carry_out()
                found = layer(maps)
        except Exception:  # it wants other maps
            return False
        return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-9, atol=1e-9)

    @torch.no_grad()
    def carry_out(self) -> None:
        """Change the layer's weights, in place."""
        for name, value in NEW_VALUES[self.of](self).items():
            tensor = getattr(self.layer, name)
            tensor.copy_(value)


def has_own_tensors(layer: nn.Module) -> bool:
    """Return whether a layer's weight and bias are plain parameters, or None, and nobody listens to it."""
    whole = all(name in layer._parameters for name in ("weight", "bias"))
    plain = whole and all(tensor is None or type(tensor) is nn.Parameter for tensor in (layer.weight, layer.bias))
    return plain and not layer._modules and not has_own_hooks(layer)


def is_of_torch(layer: nn.Module) -> bool:
    """Return whether a layer runs a forward of torch that is linear in its weight and bias."""
    return type(layer).forward in FORWARDS and "forward" not in vars(layer)


def width_of(layer: Any, of: str) -> int:
    """Return the channels that a layer gives ("outputs") or is given ("inputs")."""
    if isinstance(layer, _ConvNd):
        return layer.out_channels if of == "outputs" else layer.in_channels
    if isinstance(layer, nn.Linear):
        return layer.out_features if of == "outputs" else layer.in_features
    if isinstance(layer, nn.LayerNorm):
        return layer.normalized_shape[-1]
    return layer.num_channels if isinstance(layer, nn.GroupNorm) else layer.num_features


def _why_not_outputs(uptake: Uptake) -> str | None:
    layer = uptake.layer
    if layer.weight is None or (layer.bias is None and not isinstance(layer, (*MIXING, nn.LayerNorm))):
        return f"{uptake.path} has no gamma and beta"
    return None


def _why_not_inputs(uptake: Uptake) -> str | None:
    if isinstance(uptake.layer, MIXING):
        return None
    if not isinstance(uptake.layer, batchnorm._BatchNorm) or uptake.layer.running_var is None:
        return f"{uptake.path} normalises what it is given"
    if not (uptake.factors > 0).all():
        return f"{uptake.path} is given channels times 0 or less"
    mean, var = _statistics(uptake)
    if (var < 0).any() or not all(value.to(uptake.layer.running_var.dtype).isfinite().all() for value in (mean, var)):
        return f"the variances of {uptake.path} cannot make up for the factors"
    return None


def _outputs(uptake: Uptake) -> dict[str, Tensor]:
    layer, factors = uptake.layer, uptake.factors
    weight = layer.weight.double()
    if isinstance(layer, _ConvTransposeNd):  # (I, O / groups, ...)
        grouped = weight.unflatten(0, (layer.groups, -1)) * _along(factors.view(layer.groups, 1, -1), weight.ndim + 1)
        new = {"weight": grouped.flatten(0, 1)}
    else:
        new = {"weight": weight * _along(factors, weight.ndim)}
    return new if layer.bias is None else new | {"bias": layer.bias.double() * factors}


def _inputs(uptake: Uptake) -> dict[str, Tensor]:
    layer, factors = uptake.layer, uptake.factors
    if isinstance(layer, batchnorm._BatchNorm):
        mean, var = _statistics(uptake)
        return {"running_mean": mean, "running_var": var}
    weight = layer.weight.double()
    if isinstance(layer, _ConvTransposeNd):
        return {"weight": weight * _along(factors, weight.ndim)}
    groups = getattr(layer, "groups", 1)
    grouped = weight.unflatten(0, (groups, -1)) * _along(factors.view(groups, 1, -1), weight.ndim + 1)  # (O, I / groups, ...)
    return {"weight": grouped.flatten(0, 1)}


def _statistics(uptake: Uptake) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance with which a BN gives for s x what it gives for x: mean / s and (var + eps) / s^2 - eps.

    Gamma stays, since statistics of batches follow the factors by themselves when the network is trained on.
    """
    layer, factors = uptake.layer, uptake.factors
    return layer.running_mean.double() / factors, (layer.running_var.double() + layer.eps) / factors.square() - layer.eps


def _along(factors: Tensor, ndim: int) -> Tensor:
    return factors.view(*factors.shape, *[1] * (ndim - factors.ndim))


MIXING = (_ConvNd, nn.Linear)
WHY_NOT: dict[str, Callable[[Uptake], str | None]] = {"outputs": _why_not_outputs, "inputs": _why_not_inputs}
NEW_VALUES: dict[str, Callable[[Uptake], dict[str, Tensor]]] = {"outputs": _outputs, "inputs": _inputs}
