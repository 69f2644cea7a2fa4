"""The first convolution of a trained network made for images of other channels, and what is known of such images."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from senet.spec import InputSpec, check_choice


def repeated(kernel: Tensor, channels: int) -> Tensor:
    """Repeat the kernels of the old channels in turn, scaled so that their sum stays about what it was; one channel gets the sum."""
    old = kernel.shape[1]
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    return kernel[:, torch.arange(channels) % old] * (old / channels)


def averaged(kernel: Tensor, channels: int) -> Tensor:
    """Give every channel the mean of the old kernels, scaled so that their sum stays what it was; one channel gets the sum."""
    return kernel.mean(1, keepdim=True).expand(-1, channels, *kernel.shape[2:]) * (kernel.shape[1] / channels)


SPREAD: dict[str, Callable[[Tensor, int], Tensor]] = {"repeat": repeated, "mean": averaged}
"""How a kernel (out, old, ...) becomes one (out, channels, ...)."""


def check_spread(how: str | None) -> None:
    """Raise UsageError for an unknown way to spread a kernel; None refuses kernels of other channels."""
    if how is not None:
        check_choice("adapt_input", how, tuple(SPREAD))


def spread_kernels(kernel: Tensor, channels: int, how: str, groups: int = 1) -> Tensor:
    """Return a kernel (out, groups * old, ...) for images of other channels, (out, groups * channels, ...), in its own type.

    Args:
        kernel: of the trained network.
        channels: of the images.
        how: a name of `SPREAD`.
        groups: pixels that a layer before has gathered into channels, pixel by pixel.
    """
    rows = kernel.float().unflatten(1, (groups, -1)).movedim(1, 0)
    return torch.cat([SPREAD[how](row, channels) for row in rows], 1).to(kernel.dtype).contiguous()


def find_stem(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], channels: int | None = None) -> str | None:
    """Return the name of the first convolution if its kernels (out, channels, ...) differ in the channels alone; None otherwise.

    Args:
        given: the file's tensors.
        wanted: the network's, in the order of its modules.
        channels: of the network's images; None = not known, and then one of both must be for grey or coloured images.
    """
    name = next((name for name, tensor in wanted.items() if tensor.ndim in (3, 4, 5)), None)
    if name is None or name not in given:
        return None
    old, new = given[name].shape, wanted[name].shape
    alike = len(old) == len(new) and old[0] == new[0] and old[2:] == new[2:] and old[1] != new[1]
    if channels is None:
        return name if alike and {old[1], new[1]} & {1, 3} and math.prod(old[2:]) > 1 else None
    return name if alike and new[1] % channels == 0 and old[1] % (new[1] // channels) == 0 else None


def spread_spec(spec: InputSpec, channels: int, how: str) -> InputSpec:
    """Return what is known of images, for images of other channels.

    Means and deviations are repeated as the kernels are, in the order that the network sees. One channel, and every channel of "mean",
    gets the mean of the means, and the deviation whose square is the mean of the squares.
    """
    mean = _values(spec.mean, channels, how, lambda values: sum(values) / len(values))
    std = _values(spec.std, channels, how, lambda values: math.sqrt(sum(value * value for value in values) / len(values)))
    return replace(spec, channels=channels, mean=mean, std=std, order="rgb" if channels != 3 else spec.order)


def _values(values: tuple[float, ...], channels: int, how: str, average: Callable[[tuple[float, ...]], float]) -> tuple[float, ...]:
    if channels == 1 or how == "mean":
        return (average(values),) * channels
    return tuple(values[index % len(values)] for index in range(channels))
