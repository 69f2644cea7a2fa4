"""What `TrainTransform` does to one image, done to many on a device: the same values in every bit.

A few operations on all images take the place of a worker process's work on each. Random parameters come from the host, which draws them
for many samples at once; nothing is asked of the device.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from senet.data.draws import Draws, draw
from senet.data.philox import Streams
from senet.data.resample import RowsFirst, Taps, bilinear_taps, resized, rotated, rotation_matrices, rows_first, tap_table
from senet.data.transforms import scale_and_shift, size_by_shorter
from senet.recipe import DataRecipe
from senet.spec import InputSpec


@dataclass(frozen=True)
class Store:
    """Images on a device.

    Args:
        pixels: (N, C, H, W) uint8, in the network's order of channels; an image may fill only its upper left part.
        targets: (N, ...), what is to be predicted of each.
        sizes: (2, N), width and height of each, on the host.
    """

    pixels: Tensor
    targets: Tensor
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)


class Normalisation:
    """Values of pixels as the network sees them, made by a multiplication and an addition, each rounded to float32 as on the host.

    Args:
        spec: mean, standard deviation and order of the channels.
        device: where the images are.
    """

    def __init__(self, spec: InputSpec, device: torch.device) -> None:
        self._scale, self._shift = (torch.from_numpy(values).to(device) for values in scale_and_shift(spec))

    def __call__(self, pixels: Tensor, jitter: Tensor | None = None) -> Tensor:
        """Return (N, C, H, W) uint8 as float32; jitter (N, C, 1, 1) float32 is added to each channel first."""
        shift = self._shift if jitter is None else self._shift + self._scale * jitter
        return pixels.to(torch.float32).mul_(self._scale).add_(shift)


class Augmentation:
    """Training samples by the batch.

    Args:
        recipe: what is done to them.
        spec: what the network sees.
        store: the images.
        seed: the recipe's seed.

    Raises:
        UnreadableImageError: if rotated images are so narrow that they would become too large.
    """

    def __init__(self, recipe: DataRecipe, spec: InputSpec, store: Store, seed: int) -> None:
        device = store.pixels.device
        self.recipe, self.spec, self.store, self.device = recipe, spec, store, device
        self._seed = seed % 2**64
        self._normalised = Normalisation(spec, device)
        self._places = torch.arange(spec.size, device=device)
        self._channels = torch.arange(spec.channels, device=device)[None, :, None, None]
        self._tables: tuple[Taps, Taps] | None = None
        if recipe.crop == "random_resized":
            longest = [store.pixels.shape[dim] for dim in (3, 2)]
            self._tables = tap_table(longest[0], spec.size, device), tap_table(longest[1], spec.size, device)
        self._fitting = self._fitting_taps() if recipe.rotation and not self._tables else None

    def __call__(self, epoch: int, indices: np.ndarray, repeats: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return images (N, C, size, size) float32, contiguous, and their targets.

        Args:
            epoch: the epoch, from 0.
            indices: (N,) which images.
            repeats: (N,) how often each came before in this epoch.
        """
        sizes = self.store.sizes[:, indices]
        draws = draw(self.recipe, self.spec, Streams((self._seed, epoch), np.stack([repeats, indices], 1)), sizes)
        chosen = self.sent(indices)
        pixels, targets = self.store.pixels.index_select(0, chosen), self.store.targets.index_select(0, chosen)
        if draws.angle is not None:
            pixels = rotated(pixels, self.sent(rotation_matrices(draws.angle, sizes)), self.sent(sizes))
        if draws.window is not None:
            pixels = self._cropped(pixels, draws.window)
        if self._fitting is not None:
            pixels = self._fitted(pixels, *self._fitting)
        pixels, seen = self._moved(self._centre(pixels), draws)
        jitter = None if draws.jitter is None else self.sent(draws.jitter.astype(np.float32)[:, :, None, None])
        images = self._normalised(pixels, jitter)
        return images if seen is None else torch.where(seen, images, 0.0), targets

    def sent(self, values: np.ndarray) -> Tensor:
        """Return an array on the device, without waiting for its arrival."""
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor.to(self.device)

    def _fitting_taps(self) -> tuple[Taps, Taps, bool] | None:
        """Return how images of the store's size become ones whose shorter side is as `resize_shorter` makes it; None = they are."""
        height, width = self.store.pixels.shape[2:]
        new = size_by_shorter(width, height, self.spec.resize)
        if new == (width, height):
            return None
        pairs = (bilinear_taps(length, side) for length, side in ((width, new[0]), (height, new[1])))
        across, down = (Taps(self.sent(first[None]), self.sent(weights[None])) for first, weights in pairs)
        return across, down, bool(_rows_first_rule()(np.array([width]), np.array([height]), *new).item())

    def _fitted(self, pixels: Tensor, across: Taps, down: Taps, by_rows: bool) -> Tensor:
        count = len(pixels)
        start = torch.zeros(count, dtype=torch.int64, device=self.device)
        wide, high = (Taps(*(values.expand(count, *values.shape[1:]) for values in taps)) for taps in (across, down))
        return resized(pixels, (wide, start), (high, start), start == 0 if by_rows else None)

    def _centre(self, pixels: Tensor) -> Tensor:
        """Cut the central square, as `centre_crop` does."""
        size = self.spec.size
        top, left = (round((length - size) / 2) for length in pixels.shape[2:])
        return pixels[:, :, top : top + size, left : left + size]

    def _cropped(self, pixels: Tensor, window: np.ndarray) -> Tensor:
        assert self._tables is not None
        by_rows = _rows_first_rule()(window[2], window[3], self.spec.size, self.spec.size)
        left, top, width, height = self.sent(window)
        across, down = (self._tables[0].of(width), left), (self._tables[1].of(height), top)
        return resized(pixels, across, down, self.sent(by_rows) if by_rows.any() else None)

    def _moved(self, pixels: Tensor, draws: Draws) -> tuple[Tensor, Tensor | None]:
        """Mirror the images, cut windows of their padded forms, and say which pixels (N, 1, H, W) are an image's own; None = all."""
        size, rows, columns = self.spec.size, self._places[None], self._places[None]
        holes = None if draws.hole is None else [self._reaches(start) for start in self.sent(draws.hole)]
        seen = None if holes is None else ~(holes[0][:, None, :, None] & holes[1][:, None, None, :])
        if draws.offset is not None:
            top, left = self.sent(draws.offset - self.recipe.pad)
            rows, columns = rows + top[:, None], columns + left[:, None]
            inside = [(places >= 0) & (places < size) for places in (rows, columns)]
            own = inside[0][:, None, :, None] & inside[1][:, None, None, :]
            seen = own if seen is None else own & seen
            rows, columns = rows.clamp(0, size - 1), columns.clamp(0, size - 1)
        if draws.flip is not None:
            columns = torch.where(self.sent(draws.flip)[:, None], size - 1 - columns, columns)
        if draws.offset is None and draws.flip is None:
            return pixels, seen
        samples = torch.arange(len(pixels), device=self.device)[:, None, None, None]
        return pixels[samples, self._channels, rows[:, None, :, None], columns[:, None, None, :]], seen

    def _reaches(self, start: Tensor) -> Tensor:
        after = self._places - start[:, None]
        return (after >= 0) & (after < self.recipe.cutout)


def _rows_first_rule() -> RowsFirst:
    rule = rows_first()
    assert rule is not None, "asked for before images come here"
    return rule
