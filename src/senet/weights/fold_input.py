"""Fold what a network expects of its images into its first convolution, so that it takes images of another convention."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from senet.errors import UsageError
from senet.spec import InputSpec, check_choice
from senet.weights.releases.library import IMAGENET, Rule, Tensors

CONVENTIONS: dict[str, Callable[[InputSpec], InputSpec]] = {
    "rgb": lambda spec: replace(spec, order="rgb", mean=tuple(_rgb(spec, spec.mean).tolist()), std=(1.0,) * 3),
    "imagenet": lambda spec: replace(spec, order="rgb", mean=IMAGENET.mean, std=IMAGENET.std),
}
"""Name of a convention -> what a network expects that follows it, from what it expected before."""

NORM_NAMES: tuple[Rule, ...] = ((r"conv(\d*)$", r"bn\1"), (r"\d+$", lambda m: str(int(m[0]) + 1)))
"""From the name of a convolution to that of its BN: "conv1" and "bn1", "stem.conv" and "stem.bn", "stem.0" and "stem.1"."""


def fold_input(
    tensors: Tensors, spec: InputSpec, to: str = "rgb", *, conv: str | None = None, norm: str | None = None
) -> tuple[Tensors, InputSpec]:
    """Return a network's tensors for images as `to` says, with the same outputs, and what it then expects.

    "rgb" takes values in 0..1 less the network's own mean colour, not divided: the outputs are the same to rounding.

    "imagenet" takes torchvision's mean and standard deviation. The difference of the means goes into the bias of the convolution, or into
    the mean of the BN that follows. That is exact inside the image; zero padding is now of the new mean colour, for the official release
    0.5 to 0.7 of 255 away from what it was. With random weights that moves the logits of SE-ResNet-50 by 3e-4 of the largest at 224 pixels.

    Args:
        tensors: the network's; those that change are copied.
        spec: what the network expects so far.
        to: "rgb" or "imagenet".
        conv: name of the first convolution, such as "conv1"; None = the only one with a weight (out, 3, kH, kW).
        norm: name of the BN that follows it, such as "bn1"; None = the one whose name says so. Unused where the convolution has a bias.

    Raises:
        UsageError: for another convention, images that are not of three colours, or tensors that are missing or of another shape.
    """
    check_choice("convention", to, tuple(CONVENTIONS))
    if spec.channels != 3:
        raise UsageError(f"{to!r} is a convention for images of 3 colours, and this network takes {spec.channels}")
    conv = _first_convolution(tensors) if conv is None else conv
    weight = tensors.get(f"{conv}.weight")
    if weight is None or not _sees_colours(weight):
        shape = "none" if weight is None else f"one of shape {tuple(weight.shape)}"
        raise UsageError(f"{conv!r} must have a weight (out, 3, kH, kW) to be the first convolution, and has {shape}")
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
        norms = [re.sub(pattern, name, conv) for pattern, name in NORM_NAMES] if norm is None else [norm]
        folded |= _with_offset(tensors, f"{conv}.bias", [f"{name}.running_mean" for name in norms], offset)
    return tensors | folded, new


def _with_offset(tensors: Tensors, bias: str, means: Sequence[str], offset: Tensor) -> Tensors:
    """Add an offset to what a convolution gives: to its bias, or subtract it from the mean that the BN takes off."""
    fitting = [name for name in (bias, *means) if name in tensors and tensors[name].shape == offset.shape]
    if not fitting:
        raise UsageError(f"the means differ, and no {bias!r} or {means[0]!r} can take that up; name the BN as norm, or fold to 'rgb'")
    old = tensors[fitting[0]].double()
    return {fitting[0]: (old + offset if fitting[0] == bias else old - offset).to(tensors[fitting[0]].dtype)}


def _first_convolution(tensors: Tensors) -> str:
    names = [name.removesuffix(".weight") for name, tensor in tensors.items() if name.endswith(".weight") and _sees_colours(tensor)]
    if len(names) != 1:
        raise UsageError(f"one convolution should see images of 3 colours, and {len(names)} do: {', '.join(names)}; give its name as conv")
    return names[0]


def _sees_colours(weight: Tensor) -> bool:
    return weight.ndim == 4 and weight.shape[1] == 3


def _rgb(spec: InputSpec, values: Sequence[float]) -> Tensor:
    return torch.tensor(values[::-1] if spec.order == "bgr" else values, dtype=torch.float64)
