"""Maps of large images and volumes, predicted window by window, and averaged over mirrored copies: memory is that of a few windows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, islice, product
from typing import Literal

import torch
from torch import Tensor

from senet.errors import UsageError, choice_error
from senet.spec import check_positive

Mapped = Callable[[Tensor], Tensor]
"""(N, C, *spatial) -> (N, K, *spatial), for any N and spatial size."""

SIGMA = 0.125
"""Standard deviation of the Gaussian weights as a share of the window's side (nnU-Net, Isensee et al. 2021)."""
LEAST_WEIGHT = 1e-3
"""Least Gaussian weight, so that a pixel which only corners of windows cover keeps its value; the largest is about 1."""
KINDS_OF_WEIGHTS = ("gaussian", "flat")


@dataclass(frozen=True)
class Windows:
    """Sliding windows over images (N, C, H, W) or volumes (N, C, D, H, W).

    Where windows overlap, what is predicted is their weighted mean. A side that is no longer than the window is taken whole: nothing is
    padded, which a squeeze over the map would see.

    Args:
        sides: sides of a window, in pixels: one number for all axes, or one an axis.
        overlap: share of its side that a window has in common with the next one, 0 <= overlap < 1.
        weights: "gaussian", which trusts a window's middle most, or "flat".
        batch: how many windows are predicted at once.
        sums_on: the device that holds the map of sums, e.g. "cpu" for volumes whose K maps a GPU does not hold; None = that of the images.

    Raises:
        UsageError: for a number out of range or unknown weights.
    """

    sides: int | tuple[int, ...]
    overlap: float = 0.5
    weights: Literal["gaussian", "flat"] = "gaussian"
    batch: int = 4
    sums_on: torch.device | str | None = None

    def __post_init__(self) -> None:
        for side in (self.sides,) if isinstance(self.sides, int) else self.sides:
            check_positive("a window's side", side)
        check_positive("windows at once", self.batch)
        if not 0 <= self.overlap < 1:
            raise UsageError(f"overlap must be a share of the window, 0 <= overlap < 1, got {self.overlap}")
        if self.weights not in KINDS_OF_WEIGHTS:
            raise choice_error("weights of windows", self.weights, KINDS_OF_WEIGHTS)

    def predict(self, network: Mapped, images: Tensor) -> Tensor:
        """Return the map (N, K, *spatial) of images (N, C, *spatial), in the precision of the network's answers.

        Raises:
            UsageError: if there are not as many sides as spatial axes, or the network gives maps of another size than its images.
        """
        spatial = tuple(images.shape[2:])
        window = self.fitted(spatial)
        if window == spatial:
            return _checked(network(images), images).to(self.sums_on or images.device)
        places = ((image, corner) for corner in corners(spatial, window, self.overlap) for image in range(len(images)))
        return self._pooled(network, images, window, places)

    def fitted(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Return the sides of the windows on a map of this size."""
        sides = (self.sides,) * len(spatial) if isinstance(self.sides, int) else self.sides
        if len(sides) != len(spatial):
            raise UsageError(f"windows of {len(sides)} sides do not fit images of {len(spatial)} axes; give one number, or one an axis")
        return tuple(map(min, sides, spatial))

    def _pooled(self, network: Mapped, images: Tensor, window: tuple[int, ...], places: Iterator[tuple[int, tuple[int, ...]]]) -> Tensor:
        spatial, there = images.shape[2:], torch.device(self.sums_on or images.device)
        sums = weight = total = None
        while chosen := list(islice(places, self.batch)):
            parts = [(image, _slices(corner, window)) for image, corner in chosen]
            crops = torch.stack([images[(image, slice(None), *place)] for image, place in parts])
            answers = _checked(network(crops), crops).to(there)
            if sums is None or weight is None or total is None:
                sums = answers.new_zeros(len(images), answers.shape[1], *spatial)
                weight = window_weights(window, self.weights).to(there, answers.dtype)
                total = answers.new_zeros(len(images), 1, *spatial)
            for (image, place), answer in zip(parts, answers, strict=True):
                sums[(image, slice(None), *place)] += answer * weight
                total[(image, 0, *place)] += weight
        assert sums is not None, "every map has a window"
        assert total is not None
        return sums.div_(total)


def corners(spatial: Sequence[int], window: Sequence[int], overlap: float) -> list[tuple[int, ...]]:
    """Return the first corner of every window, in reading order; the last one of an axis ends where the axis does.

    Args:
        spatial: sides of the map.
        window: sides of a window, each no longer than the map's.
        overlap: share of its side that a window has in common with the next one.
    """
    steps = [max(1, int(side * (1 - overlap))) for side in window]
    starts = [[*range(0, long - side, step), long - side] for long, side, step in zip(spatial, window, steps, strict=True)]
    return list(product(*starts))


def window_weights(window: Sequence[int], kind: str) -> Tensor:
    """Return the weight of each place of a window, float64 of the window's shape."""
    if kind == "flat":
        return torch.ones(tuple(window), dtype=torch.float64)
    sides = [torch.arange(side, dtype=torch.float64).sub_((side - 1) / 2).div_(SIGMA * side).square_().mul_(-0.5).exp_() for side in window]
    return reduce(lambda weights, side: weights[..., None] * side, sides).clamp_(min=LEAST_WEIGHT)


def mirrored_mean(network: Mapped, axes: Sequence[int]) -> Mapped:
    """Return a network whose map is the mean over all 2^k mirrored copies of its images, each map mirrored back.

    The network should give probabilities: the mean of logits is not that of what they stand for.

    Args:
        network: what is called on each copy.
        axes: the k axes of (N, C, *spatial) to mirror: (3,) left and right of an image, (2, 3) also top and bottom. None gives the network.
    """
    mirrors = [chosen for count in range(len(axes) + 1) for chosen in combinations(axes, count)]

    def mean(images: Tensor) -> Tensor:
        found = network(images)
        for mirror in mirrors[1:]:
            found = found + network(images.flip(mirror)).flip(mirror)
        return found / len(mirrors) if len(mirrors) > 1 else found

    return mean


def _slices(corner: Sequence[int], window: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(start, start + side) for start, side in zip(corner, window, strict=True))


def _checked(answers: Tensor, images: Tensor) -> Tensor:
    if answers.shape[:1] + answers.shape[2:] != images.shape[:1] + images.shape[2:]:
        raise UsageError(
            f"the network gives {tuple(answers.shape)} for images of {tuple(images.shape)}: a map of masks has the size of its images"
        )
    return answers
