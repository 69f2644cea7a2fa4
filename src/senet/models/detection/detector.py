"""What every detector is: a backbone, and heads of torchvision that find boxes in its maps."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet.errors import UsageError
from senet.models.detection.backbone import DetectionBackbone
from senet.models.detection.exact_boxes import HALF_PRECISION, autocast_of
from senet.models.detection.freezing import Freezing
from senet.models.network import Network

BESIDE_WEIGHTS = (
    *("frozen_stages", "frozen_bn", "frozen_blocks", "proposals_train", "proposals_test", "regions"),
    *("score_threshold", "nms_threshold", "detections_per_image"),
)
"""Options that say how a detector learns or what it keeps of what it finds, whichever weights it has."""

Detections = list[dict[str, Tensor]]
"""Of each image: "boxes" (k, 4) as x1, y1, x2, y2 in its pixels, "scores" (k,), "labels" (k,) from 0; "masks" (k, h, w)."""

BATCH_MULTIPLE = 32
"""Sides of a batch are multiples of this, in pixels, whatever the strides of the maps."""

SAMPLER_SEED = 0
"""Seed of the samplers where losses are measured in evaluation."""


class Detector(Network):
    """Network from images to boxes around objects.

    Called in training with targets it returns the losses by name; in evaluation the detections; in evaluation with targets both, from one
    pass of the backbone, with what is drawn at random seeded. Images are normalised and have the size in which they are to be seen: it
    resizes none. Images of several sizes are padded by zeros, right and below; boxes lie inside their own image.

    Sub-classes make the `parts` that are not the backbone's network, and give losses and detections.

    Attributes:
        backbone: the network without its head, and its neck.
        freezing: what of it stands still.
        masks: whether it finds outlines of objects, and learns them.
        beside_weights: options in which a file of weights may differ from the network.
        containers: paths of what a reader knows by the layers inside it.
        counted_for: what its costs are counted for, in a sentence, where they depend on what is in an image; "" where they do not.
    """

    beside_weights = BESIDE_WEIGHTS
    containers = ("backbone", "backbone.body", "rpn", "roi_heads", "dense")
    counted_for = ""

    backbone: DetectionBackbone
    freezing: Freezing
    classes: int
    masks: bool = False

    @abstractmethod
    def parts(self, num_classes: int) -> dict[str, nn.Module]:
        """Make all but the backbone's network, with fresh weights: path -> module."""

    @abstractmethod
    def losses(self, images: Any, maps: Mapping[str, Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses of a batch; its labels count from 0."""

    @abstractmethod
    def detections(self, images: Any, maps: Mapping[str, Tensor]) -> Detections:
        """Return what is found in the images of a batch; labels count from 0."""

    @abstractmethod
    def head_pass(self, maps: list[Tensor]) -> list[Tensor]:
        """Pass maps (N, C, h, w), and as many regions as `counted_for` says, through all layers of the heads; return what the last give."""

    def nominal_pass(self, x: Tensor) -> None:
        """Pass images (N, in_channels, H, W) through all layers; whatever they show, it does the same work: what it costs is counted."""
        self.head_pass(self.maps(to_batch(x).tensors))

    @property
    def stages(self) -> dict[int, nn.Module]:
        """The stages of the backbone's network, by number."""
        return self.backbone.body.stages

    def freeze(self) -> None:
        """Take what stands still out of training."""
        self.freezing.apply(self.backbone.body)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Detector":
        """Set training or evaluation mode; frozen batch norms stay in evaluation."""
        super().train(mode)
        for norm in self.freezing.still_norms(self.backbone.body):
            norm.eval()
        return self

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the maps in which boxes are looked for, those of `feature_info`, for images (N, in_channels, H, W)."""
        return list(self.backbone(x).values())

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to the coarsest map."""
        return self.maps(x)[-1]

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - boxes are no logits
        self, images: Sequence[Tensor] | Tensor, targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | Detections | tuple[dict[str, Tensor], Detections] | list[Tensor]:
        """Return losses in training, detections in evaluation, and of images with targets in evaluation both.

        On the meta device, where nothing can be found, all layers are called as by `nominal_pass`, and what the last ones give is
        returned, so that sites of blocks are found there.

        Args:
            images: of any sizes, each (in_channels, h, w) and normalised, or one tensor (N, in_channels, H, W).
            targets: of each image "boxes" (n, 4) as x1, y1, x2, y2 in its pixels, "labels" (n,) from 0, of mask_rcnn "masks" (n, h, w).

        Raises:
            UsageError: in training without targets, or for a box without area.
        """
        batch = to_batch(images)
        with autocast_of(batch.tensors):
            return self._found(batch, targets)

    def _found(
        self, batch: Any, targets: Sequence[Mapping[str, Tensor]] | None
    ) -> dict[str, Tensor] | Detections | tuple[dict[str, Tensor], Detections] | list[Tensor]:
        """Return what `forward` does, of a batch."""
        checked = None if targets is None else check_targets(targets, batch.tensors.dtype)
        maps = self.backbone(batch.tensors)
        if batch.tensors.is_meta:
            return self.head_pass(list(maps.values()))
        if self.training:
            if checked is None:
                raise UsageError("a detector in training needs targets: call model(images, targets), or model.eval() first")
            return self.losses(batch, maps, checked)
        found = self.detections(batch, maps)
        if checked is None:
            return found
        with seeded(batch.tensors.device):
            return self.losses(batch, maps, checked), found

    def reset_parameters(self) -> None:
        """Initialise the backbone as its network does, and the rest as torchvision does."""
        self.backbone.body.reset_parameters()
        with torch.device(next(self.parameters()).device), torch.no_grad():
            for path, fresh in self.parts(self.classes).items():
                for own, made in zip(self.get_submodule(path).parameters(), fresh.parameters(), strict=True):
                    own.copy_(made)

    def replace_head(self, num_classes: int) -> None:
        """Put new layers for `num_classes` classes where the last layers of the heads are."""
        self.classes = num_classes
        like = next(self.parameters())
        with torch.device(like.device):
            made = self.parts(num_classes)
        for path in self.class_layers:
            part = max((name for name in made if path.startswith(name)), key=len)
            fresh = made[part].get_submodule(path.removeprefix(part).removeprefix("."))
            old = self.get_submodule(path)
            self.set_submodule(path, fresh.to(dtype=next(old.parameters()).dtype))

    class_layers: tuple[str, ...] = ()
    """Paths of the layers whose width is that of the classes."""


def to_batch(images: Sequence[Tensor] | Tensor) -> Any:
    """Return images (C, h, w) as one tensor, padded to the largest sides, which are multiples of 32, with their own sizes.

    Raises:
        UsageError: for no image, or one that is not (C, h, w).
    """
    from torchvision.models.detection.image_list import ImageList

    images = list(images)
    if not images or any(image.ndim != 3 for image in images):
        raise UsageError(f"a detector takes images (C, h, w), one at least, got shapes {[tuple(image.shape) for image in images]}")
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    height, width = (-(-max(sides) // BATCH_MULTIPLE) * BATCH_MULTIPLE for sides in zip(*sizes, strict=True))
    padded = [F.pad(image, (0, width - w, 0, height - h)) for image, (h, w) in zip(images, sizes, strict=True)]
    return ImageList(torch.stack(padded), sizes)


def check_targets(targets: Sequence[Mapping[str, Tensor]], dtype: torch.dtype) -> list[dict[str, Tensor]]:
    """Return targets with boxes of a type, float32 instead of half precision.

    Raises:
        UsageError: for a box whose right or lower side is not beyond its left or upper one.
    """
    checked = [
        {**target, "boxes": target["boxes"].reshape(-1, 4).to(torch.float32 if dtype in HALF_PRECISION else dtype)} for target in targets
    ]
    for index, target in enumerate(checked):
        empty = (target["boxes"][:, 2:] <= target["boxes"][:, :2]).any(1)
        if empty.any():
            box = target["boxes"][empty][0].tolist()
            raise UsageError(f"target {index} has a box without area, {box} as x1, y1, x2, y2: leave it out")
    return checked


def check_number(what: str, value: object, highest: float = math.inf, *, above_zero: bool = False) -> float:
    """Return a number as Python's; raise UsageError unless it is finite, from 0, or above it, up to `highest`."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)  # pyright: ignore[reportArgumentType] - which is the question
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= highest or number == math.inf or (above_zero and not number):
        allowed = "above 0" if above_zero else "of at least 0"
        raise UsageError(f"{what} must be a number {allowed if highest == math.inf else f'from 0 to {highest:g}'}, got {value!r}")
    return number


@contextmanager
def seeded(device: torch.device) -> Iterator[None]:
    """Draw from a fixed seed inside; torch's random state is afterwards what it was."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(SAMPLER_SEED)
        yield
