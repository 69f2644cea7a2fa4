"""Which views of an image are evaluated: crops, scales, another size than the network was trained at."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from senet.data.transforms import EvalTransform, eval_transform
from senet.errors import UsageError
from senet.spec import InputSpec


@dataclass(frozen=True)
class Views:
    """Views of an image over which outputs are averaged.

    Args:
        crops: "centre", or "ten": corners and centre, each mirrored too.
        scales: shorter sides, in pixels, to which the image is resized before it is cropped; None = the network's own.
        size: side of the crop, in pixels; None = the network's. Another size keeps the share of the image that the crop sees.
    """

    crops: str = "centre"
    scales: tuple[int, ...] | None = None
    size: int | None = None

    def values(self, spec: InputSpec) -> int:
        """Return how many numbers all views of one image are."""
        return (10 if self.crops == "ten" else 1) * len(self.scales or (0,)) * spec.channels * (self.size or spec.size) ** 2


@dataclass(frozen=True)
class AllViews:
    """All views of an image: the crops at each scale."""

    transforms: tuple[EvalTransform, ...]

    def __call__(self, image: Image.Image) -> Tensor:
        """Return (views, C, size, size) float32."""
        views = [transform(image) for transform in self.transforms]
        return torch.cat([view if view.ndim == 4 else view[None] for view in views])


def view_transform(spec: InputSpec, views: Views) -> Callable[[Image.Image], Tensor]:
    """Return image -> (C, size, size) float32 for one view, (views, C, size, size) for more.

    Raises:
        UsageError: for an unknown name of crops, a size below 1, or a scale below the size of the crop.
    """
    if views.size is not None and views.size < 1:
        raise UsageError(f"the crop's size must be at least 1 pixel, got {views.size}")
    side = views.size or spec.size
    scales = views.scales or (max(side, round(spec.resize * side / spec.size)),)
    for scale in scales:
        if scale < side:
            raise UsageError(f"scale {scale} is below the crop's size {side}; give larger scales, or a smaller size")
    transforms = tuple(eval_transform(replace(spec, size=side, resize=scale), views.crops) for scale in scales)
    return transforms[0] if len(transforms) == 1 else AllViews(transforms)
