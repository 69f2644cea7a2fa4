"""Fold what a network expects of its images into its first convolution, so that it takes images of another convention."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from senet.errors import UsageError
from senet.spec import InputSpec, check_choice
from senet.weights.library import IMAGENET, Tensors

CONVENTIONS: dict[str, Callable[[InputSpec], InputSpec]] = {
    "rgb": lambda spec: replace(spec, order="rgb", mean=tuple(_rgb(spec, spec.mean).tolist()), std=(1.0,) * 3),
    "imagenet": lambda spec: replace(spec, order="rgb", mean=IMAGENET.mean, std=IMAGENET.std),
}
"""Name of a convention -> what a network expects that follows it, from what it expected before."""


def fold_input(tensors: Tensors, conv: str, spec: InputSpec, to: str = "rgb", *, norm: str | None = None) -> tuple[Tensors, InputSpec]:
    """Return a network's tensors for images as `to` says, with the same outputs, and what it expects now.

    "rgb" takes values in 0..1 less the network's own mean colour, not divided: the outputs are the same to rounding.

    "imagenet" takes torchvision's mean and standard deviation. The difference of the means goes into the bias of the convolution, or into
    the mean of the BN that follows. That is exact inside the image; zero padding is now of the new mean colour, for the official release
    0.5 to 0.7 of 255 away from what it was. With random weights that moves the logits of SE-ResNet-50 by 3e-4 of the largest at 224 pixels.

    Args:
        tensors: the network's; those that change are copied.
        conv: name of the first convolution, such as "conv1"; its weight is (out, 3, kH, kW).
        spec: what the network expects so far.
        to: "rgb" or "imagenet".
        norm: name of the BN that follows the convolution, such as "bn1"; needed where the convolution has no bias and the means differ.

    Raises:
        UsageError: for another convention, images that are not of three colours, or tensors that are missing or of another shape.
    """
    check_choice("convention", to, tuple(CONVENTIONS))
    if spec.channels != 3:
        raise UsageError(f"{to!r} is a convention for images of 3 colours, and this network takes {spec.channels}")
    weight = _get(tensors, f"{conv}.weight")
    if weight.ndim != 4 or weight.shape[1] != 3:
        raise UsageError(f"{conv!r} has a weight of shape {tuple(weight.shape)}; the first convolution has (out, 3, kH, kW)")
    new = CONVENTIONS[to](spec)
    # With v a colour in 0..1, old images are (v - mean) / std and new ones (v - new.mean) / new.std: old = new * scale + shift.
    scale = _rgb(new, new.std) / _rgb(spec, spec.std)
    shift = (_rgb(new, new.mean) - _rgb(spec, spec.mean)) / _rgb(spec, spec.std)
    kernels = weight.double()
    if spec.order == "bgr":
        kernels = kernels.flip(1)
    folded = {f"{conv}.weight": (kernels * scale[:, None, None]).to(weight.dtype)}
    if shift.any():
        offset = (kernels.sum((2, 3)) * shift).sum(1)
        folded |= _with_offset(tensors, f"{conv}.bias", f"{norm}.running_mean", offset)
    return tensors | folded, new


def _with_offset(tensors: Tensors, bias: str, mean: str, offset: Tensor) -> Tensors:
    """Add an offset to what a convolution gives: to its bias, or subtract it from the mean that the BN takes off."""
    name, sign = (bias, 1) if bias in tensors else (mean, -1)
    if name not in tensors:
        raise UsageError(
            f"the means differ, and there is neither {bias!r} nor {mean!r} to take up the difference; give the BN's name as norm"
        )
    old = tensors[name]
    return {name: (old.double() + sign * offset).to(old.dtype)}


def _rgb(spec: InputSpec, values: Sequence[float]) -> Tensor:
    return torch.tensor(values[::-1] if spec.order == "bgr" else values, dtype=torch.float64)


def _get(tensors: Tensors, name: str) -> Tensor:
    if name not in tensors:
        raise UsageError(f"there is no tensor {name!r}; give the name of the network's first convolution, such as 'conv1'")
    return tensors[name]
