"""Images read once and laid on a device, or the reason why they stay on the host."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.utils.data import default_collate

from senet.data.augment import Store
from senet.data.source import ArrayImages, ImageSet, UnreadableImageError
from senet.data.transforms import CHANNEL_SLICES, MODES
from senet.spec import InputSpec

Fit = Callable[[Image.Image], Image.Image]
"""What is done to an image once, before it is stored."""

LOOKED_INTO = 32
"""Images, evenly spread, whose sizes say whether it is worth reading all."""


class StaysOnHostError(Exception):
    """Reason why images do not go to the device; with `damaged`, that one of them cannot be read."""

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


@dataclass(frozen=True)
class Room:
    """Place for images.

    Args:
        device: where it is.
        limit: bytes that may be taken; None = any number.
    """

    device: torch.device
    limit: int | None

    def check(self, needed: int) -> None:
        """Raise StaysOnHostError if so many bytes are too many."""
        if self.limit is not None and needed > self.limit:
            raise StaysOnHostError(f"they would take {needed / 1e6:.0f} MB of {self.device}, and {self.limit / 1e6:.0f} MB may be taken")


def store_images(images: ImageSet, indices: np.ndarray, spec: InputSpec, fit: Fit | None, room: Room) -> Store:
    """Read images and lay them on a device.

    Args:
        images: the set.
        indices: (N,) which of them.
        spec: channels, and for `fit` the size, of what the network sees.
        fit: makes an image a square of the spec's size; None = images stay as they are, smaller ones in the upper left of the largest's
            size.
        room: where they go.

    Raises:
        StaysOnHostError: if they do not fit, one cannot be read or has other channels, or the targets are no array of numbers.
    """
    targets = _targets(images, indices, room.device)
    if type(images) is ArrayImages and (fit is None or images.pixels.shape[1:3] == (spec.size, spec.size) == (spec.resize,) * 2):
        pixels = images.pixels if images.pixels.ndim == 4 else images.pixels[..., None]
        if pixels.dtype != np.uint8 or pixels.shape[3] != spec.channels:
            raise StaysOnHostError(f"they hold {pixels.dtype} of {pixels.shape[3]} channels, and the network takes {spec.channels}")
        sizes = np.tile([[pixels.shape[2]], [pixels.shape[1]]], (1, len(indices)))
        room.check(len(indices) * int(np.prod(pixels.shape[1:])))
        chosen = pixels[indices][..., CHANNEL_SLICES[spec.order]].transpose(0, 3, 1, 2)
        return Store(torch.from_numpy(chosen.copy()).to(room.device), targets, sizes)
    return _read(images, indices, spec, fit, room, targets)


def _read(images: ImageSet, indices: np.ndarray, spec: InputSpec, fit: Fit | None, room: Room, targets: torch.Tensor) -> Store:
    if spec.channels not in MODES:
        raise StaysOnHostError(f"the network takes {spec.channels} channels")

    def read(index: int) -> np.ndarray:
        try:
            image = images.read(index)
            fitted = image if fit is None else fit(image)
        except UnreadableImageError as error:
            raise StaysOnHostError(f"{images.describe(index)} cannot be read", damaged=True) from error
        if fitted.mode != MODES[spec.channels]:
            raise StaysOnHostError(f"{images.describe(index)} is of mode {fitted.mode}, and the network takes {MODES[spec.channels]}")
        pixels = np.asarray(fitted)
        return pixels.reshape(*pixels.shape[:2], spec.channels)[..., CHANNEL_SLICES[spec.order]].transpose(2, 0, 1)

    each = spec.channels * spec.size**2
    if fit is not None:
        room.check(len(indices) * each)
    elif room.limit is not None:
        looked_at = [read(int(index)) for index in indices[:: -(-len(indices) // LOOKED_INTO)]]
        room.check(len(indices) * sum(pixels.size for pixels in looked_at) // len(looked_at))
    arrays: list[np.ndarray] = []
    highest = widest = 0
    for pixels in _in_order(read, indices, threads=not images.in_memory):
        arrays.append(pixels)
        highest, widest = max(highest, pixels.shape[1]), max(widest, pixels.shape[2])
        room.check(len(indices) * spec.channels * highest * widest)
    laid = torch.zeros((len(arrays), spec.channels, highest, widest), dtype=torch.uint8, device=room.device)
    for place, pixels in enumerate(arrays):
        laid[place, :, : pixels.shape[1], : pixels.shape[2]] = torch.from_numpy(pixels.copy())
    return Store(laid, targets, np.array([pixels.shape[:0:-1] for pixels in arrays], np.int64).reshape(-1, 2).T)


def _in_order(read: Callable[[int], np.ndarray], indices: np.ndarray, *, threads: bool) -> Iterator[np.ndarray]:
    if not threads:
        yield from map(read, indices.tolist())
        return
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:  # Pillow decodes beside other threads
        try:
            yield from pool.map(read, indices.tolist())
        finally:
            pool.shutdown(cancel_futures=True)


def _targets(images: ImageSet, indices: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return targets as the loaders' batches have them."""
    targets = images.targets
    if not isinstance(targets, np.ndarray) or targets.dtype.kind not in "iufb" or not len(targets):
        raise StaysOnHostError("their targets are no array of numbers")
    like = default_collate([targets[0]])
    return torch.from_numpy(np.ascontiguousarray(targets[indices])).to(device, like.dtype)
