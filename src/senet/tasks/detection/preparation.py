"""From images with boxes to batches: resized, cropped and mirrored together; lists, as images keep sizes of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from senet.data.batch import Batch, Sample, indices_of
from senet.data.boxes import Boxes
from senet.data.preparation import EvalPair, TrainPair
from senet.data.source import UnreadableImageError
from senet.data.transforms import MODES, network_image, normalise_pixels
from senet.data.views import Views
from senet.errors import UsageError
from senet.recipe import DataRecipe, DetectionRecipe
from senet.spec import InputSpec

LEAST_VISIBLE = 1.0
"""Pixels of the width and of the height that a crop must leave of a box, else it is dropped."""

NO_OUTLINES = (
    "detection.outlines is true, and nothing says the outlines of these boxes; set it to false, or take COCO's outlines or YOLO's polygons"
)
"""What is said where outlines are asked for, and a source has boxes alone."""

STANDING = {"crop": "none", "rotation": 0.0, "cutout": 0}
"""Fields of the data that augment images alone, boxes not -> the value at which they do nothing."""


@dataclass(frozen=True)
class Picture:
    """Image with its objects, which move together.

    Args:
        image: of 8 bits.
        boxes: (n, 4) tv_tensors.BoundingBoxes, left, top, right, bottom.
        labels: (n,) int64.
        outlines: (n, H, W) tv_tensors.Mask; None where nobody asks for them.
    """

    image: Image.Image
    boxes: Any
    labels: Tensor
    outlines: Any = None

    def moved(self, function: Any, *values: Any, **options: Any) -> "Picture":
        """Return what a function of torchvision.transforms.v2.functional makes of image, boxes and outlines."""
        outlines = None if self.outlines is None else function(self.outlines, *values, **options)
        return Picture(function(self.image, *values, **options), function(self.boxes, *values, **options), self.labels, outlines)

    def resized(self, size: tuple[int, int]) -> "Picture":
        """Return image, boxes and outlines at a height and width.

        A pixel of an outline is the one that its middle lies in: torchvision's v2 takes the one of its upper left corner, by which outlines
        lie up to a pixel beside their boxes.
        """
        from torchvision import tv_tensors
        from torchvision.transforms.v2 import functional

        picture = replace(self, outlines=None).moved(functional.resize, list(size), antialias=True)
        if self.outlines is None:
            return picture
        masks = torch.as_tensor(self.outlines)
        scaled = interpolate(masks[None], size, mode="nearest-exact")[0] if len(masks) else masks.new_zeros(0, *size)
        return replace(picture, outlines=tv_tensors.Mask(scaled))

    def chosen(self, which: Tensor) -> "Picture":
        """Return the image with some of its objects: (n,) bool."""
        from torchvision import tv_tensors

        def kept(values: Any) -> Any:
            return tv_tensors.wrap(values[which], like=values)  # pyright: ignore[reportCallIssue] - its kinds differ in what they keep

        return Picture(self.image, kept(self.boxes), self.labels[which], None if self.outlines is None else kept(self.outlines))

    def target(self) -> dict[str, Tensor]:
        """Return what a network learns: boxes (n, 4) float32, labels (n,) int64, and masks (n, H, W) uint8 if outlines are there."""
        from torchvision.transforms.v2 import functional

        boxes = torch.as_tensor(functional.clamp_bounding_boxes(self.boxes))  # rounding may take them a hair beyond the edge
        masks = {} if self.outlines is None else {"masks": torch.as_tensor(self.outlines).contiguous()}
        return {"boxes": boxes.clone(), "labels": self.labels, **masks}


def opened_picture(image: Any, boxes: Boxes, spec: InputSpec, *, outlines: bool) -> Picture:
    """Return an image with its objects, crowd left out.

    Raises:
        UnreadableImageError: if the image is not of the size that its boxes are for, an outline cannot be drawn, or nothing says which
            values are black and white.
        UsageError: if outlines are asked for, and are not known.
    """
    from torchvision import tv_tensors

    picture, objects = checked_image(image, spec), boxes.objects
    size = (picture.height, picture.width)
    if size != tuple(boxes.size):
        raise UnreadableImageError(
            f"the image has {picture.width} x {picture.height} pixels, and its boxes are for {boxes.size[1]} x {boxes.size[0]}"
        )
    known = None
    if outlines:
        if boxes.masks is None:
            raise UsageError(NO_OUTLINES)
        try:
            drawn = boxes.masks.pixels(*size)  # crowd too, by which evaluation judges
        except ValueError as error:
            raise UnreadableImageError(f"the outline of an object cannot be drawn: {error}") from error
        known = tv_tensors.Mask(torch.from_numpy(drawn[~boxes.crowd].astype(np.uint8)))
    rectangles = tv_tensors.BoundingBoxes(torch.from_numpy(objects.xyxy.copy()), format="XYXY", canvas_size=size)  # pyright: ignore
    return Picture(picture, rectangles, torch.from_numpy(objects.labels.copy()), known)


def checked_image(image: Any, spec: InputSpec) -> Image.Image:
    """Return an image in 8 bits with the channels that the network sees.

    Raises:
        UnreadableImageError: if it has more bits, and nothing says which of its values are black and white.
        UsageError: if it is no image of 1 or 3 channels.
    """
    if not isinstance(image, Image.Image) or spec.channels not in MODES:
        raise UsageError(f"detection takes images of {' or '.join(map(str, MODES))} channels, and no arrays or volumes")
    return network_image(image, spec)


def resized_size(height: int, width: int, shorter: int, longest: int) -> tuple[int, int]:
    """Return height and width of an image whose shorter side has `shorter` pixels, or fewer so that the longer has `longest` at most.

    It rounds as Detectron2's `ResizeShortestEdge` does.
    """
    scale = shorter / min(height, width)
    sides = (shorter, scale * width) if height < width else (scale * height, shorter)
    if max(sides) > longest:
        scale = longest / max(sides)
        sides = (sides[0] * scale, sides[1] * scale)
    return max(1, int(sides[0] + 0.5)), max(1, int(sides[1] + 0.5))


@dataclass(frozen=True)
class BoxTransform:
    """Augmentation of a training image together with its boxes.

    Args:
        data: flip and jitter.
        plan: sizes, crop, photometric changes.
        spec: channels and normalisation.
    """

    data: DataRecipe
    plan: DetectionRecipe
    spec: InputSpec

    def __call__(self, image: Any, boxes: Boxes, random: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return (C, h, w) float32, and the boxes in its pixels, see `Picture.target`."""
        from torchvision.transforms.v2 import functional

        plan = self.plan
        picture = opened_picture(image, boxes, self.spec, outlines=plan.outlines)
        if plan.crop_share < 1:
            picture = random_crop(picture, plan.crop_share, random)
        shorter = plan.shorter_sides[int(random.integers(len(plan.shorter_sides)))]
        size = resized_size(picture.image.height, picture.image.width, shorter, plan.longest_side)
        if size != (picture.image.height, picture.image.width):
            picture = picture.resized(size)
        if self.data.flip and random.random() < 0.5:
            picture = picture.moved(functional.horizontal_flip)
        if plan.photometric:
            picture = replace(picture, image=recoloured(picture.image, plan.photometric, random))
        jitter = random.uniform(-self.data.jitter, self.data.jitter, self.spec.channels) if self.data.jitter else None
        return torch.from_numpy(normalise_pixels(picture.image, self.spec, jitter)), picture.target()


@dataclass(frozen=True)
class ResizedImage:
    """Transform of evaluation: an image as the network sees it, and its boxes there.

    Args:
        plan: sizes.
        spec: channels and normalisation.
    """

    plan: DetectionRecipe
    spec: InputSpec

    def __call__(self, image: Any, boxes: Boxes | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return (C, h, w) float32, and what is known of it.

        That is "size", (2,) int64 height and width as it is read, and, if its boxes are known, they as the network sees them, see
        `Picture.target`, and "truth", all of them in the pixels of the image as it is read: "boxes", "labels" and "crowd".
        """
        from torchvision.transforms.v2 import functional

        picture: Any = checked_image(image, self.spec)
        known = torch.tensor([picture.height, picture.width])
        size = resized_size(picture.height, picture.width, self.plan.shorter_side, self.plan.longest_side)
        same = size == (picture.height, picture.width)
        target = {}
        if boxes is not None:
            opened = opened_picture(picture, boxes, self.spec, outlines=self.plan.outlines)
            opened = opened if same else opened.resized(size)
            truth = {"boxes": boxes.xyxy, "labels": boxes.labels, "crowd": boxes.crowd}
            picture, target = opened.image, {**opened.target(), "truth": {name: torch.tensor(value) for name, value in truth.items()}}
        elif not same:
            picture = functional.resize(picture, list(size), antialias=True)
        return torch.from_numpy(normalise_pixels(picture, self.spec)), {**target, "size": known}


class BoxPreparation:
    """Preparation for boxes, which move with their images.

    Args:
        plan: sizes, and how training images are changed beside what the recipe's `data` says.
    """

    def __init__(self, plan: DetectionRecipe) -> None:
        self.plan = plan

    def train_transform(self, recipe: DataRecipe, spec: InputSpec) -> TrainPair:
        """Return (image, boxes, random numbers) -> ((C, h, w) float32, mapping of tensors).

        Raises:
            UsageError: if the data ask for augmentation that would move images and not their boxes.
        """
        for name, value in STANDING.items():
            if getattr(recipe, name) != value:
                raise UsageError(
                    f"data.{name} {getattr(recipe, name)} does not move boxes; leave it out: detection has data.flip, data.jitter, "
                    "detection.shorter_sides, detection.crop_share and detection.photometric"
                )
        return BoxTransform(recipe, self.plan, spec)

    def eval_transform(self, spec: InputSpec, views: Views) -> EvalPair:
        """Return (image, boxes) -> ((C, h, w) float32, mapping of tensors), the whole image.

        Raises:
            UsageError: for other views than the image itself.
        """
        if views != Views():
            raise UsageError("boxes are found in whole images, not in crops or scales; --eval_shorter_side says how large they are seen")
        return ResizedImage(self.plan, spec)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Join images and targets as lists: (C, h, w) each, and the mapping of each."""
        corrupt = [name for sample in samples for name in sample.corrupt]
        pairs = [(sample.image, sample.target) for sample in samples if sample.image is not None]
        return Batch([image for image, _ in pairs], [target for _, target in pairs], corrupt, indices_of(samples))


def random_crop(picture: Picture, least: float, random: np.random.Generator) -> Picture:
    """Cut a window with a random share of each side, from `least` to 1, at a random place; boxes are cut at its edges, or dropped.

    Where outlines are known, an object that is cut gets the box around what is left of its outline, as in Detectron2.
    """
    from torchvision.transforms.v2 import functional

    height, width = (max(1, round(side * random.uniform(least, 1))) for side in (picture.image.height, picture.image.width))
    top, left = int(random.integers(picture.image.height - height + 1)), int(random.integers(picture.image.width - width + 1))
    whole = torch.as_tensor(picture.boxes)
    cut = (whole < whole.new_tensor([left, top, 0, 0])).any(1) | (whole[:, 2:] > whole.new_tensor([left + width, top + height])).any(1)
    picture = picture.moved(functional.crop, top, left, height, width)
    boxes = functional.clamp_bounding_boxes(picture.boxes)
    if picture.outlines is not None:
        boxes[cut] = shrunk(boxes[cut], torch.as_tensor(picture.outlines)[cut])
    return replace(picture, boxes=boxes).chosen((boxes[:, 2:] - boxes[:, :2] >= LEAST_VISIBLE).all(1))


def shrunk(boxes: Tensor, masks: Tensor) -> Tensor:
    """Return the part of boxes that holds their outlines: (n, 4), without width and height where there is none.

    Args:
        boxes: (n, 4) left, top, right, bottom.
        masks: (n, H, W) uint8.
    """
    sides = []
    for dim, first, second in ((1, boxes[:, 0], boxes[:, 2]), (2, boxes[:, 1], boxes[:, 3])):
        there = masks.amax(dim).bool()
        places = torch.arange(there.shape[1], dtype=boxes.dtype)
        low = torch.where(there, places, float(there.shape[1])).amin(1).maximum(first)
        high = torch.where(there, places + 1, 0.0).amax(1).minimum(second)
        sides.append((low, high.maximum(low)))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], 1)


def recoloured(image: Image.Image, most: float, random: np.random.Generator) -> Image.Image:
    """Change brightness, contrast and, of colours, saturation by factors between 1 - most and 1 + most, in this order."""
    from torchvision.transforms.v2 import functional

    changes: list[Any] = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]
    for change in changes if image.mode == "RGB" else changes[:2]:
        image = change(image, random.uniform(1 - most, 1 + most))
    return image
