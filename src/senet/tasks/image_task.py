"""What tasks have in common that say something about an image as a whole: a class, a number. A task of this kind begins here."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from senet.data.batch import Batch
from senet.data.preparation import ImagePreparation
from senet.data.source import DataSource, open_data
from senet.errors import UsageError
from senet.measuring.exhaustion import is_out_of_memory
from senet.models.create import model_from_recipe
from senet.recipe import DataRecipe, ModelRecipe
from senet.text import message_line
from senet.userfile import place_in_user_file

LINE = 12
"""Height of a line of text below an image, in pixels."""


class ImageTask(ImagePreparation):
    """Part of a task whose target no augmentation changes and whose network gives one row of outputs an image.

    A task adds `metrics`, `loss`, `evaluator`, `predict` and `noise`, and `num_outputs` unless they are the source's classes.
    """

    def open(self, recipe: DataRecipe) -> DataSource:
        """Return the images and targets that a recipe names, see `senet.data.source.open_data`."""
        return open_data(recipe)

    def num_outputs(self, source: DataSource) -> int:
        """Return how many outputs the network needs."""
        return len(source.classes)

    def build(self, recipe: ModelRecipe, source: DataSource, device: torch.device | str | None = None) -> nn.Module:
        """Return the recipe's network for the source's channels, with as many outputs as `num_outputs` says."""
        return model_from_recipe(recipe, num_classes=self.num_outputs(source), in_channels=source.input.channels, device=device)

    def counts(self, outputs: Any, targets: Any) -> Mapping[str, Tensor]:
        """Count nothing beside the loss."""
        return {}

    def image_classes(self, batch: Batch) -> Tensor | None:
        """Return None: images have no class."""
        return None

    def average(self, models: Sequence[nn.Module], images: Tensor) -> Tensor:
        """Return the mean outputs over networks and views: (N, outputs) float32."""
        return all_outputs(models, images).mean((0, 2))


def all_outputs(models: Sequence[nn.Module], images: Tensor) -> Tensor:
    """Return what each network says of each view of images (N, C, H, W) or (N, views, C, H, W): (models, N, views, outputs) float32.

    Raises:
        UsageError: if a network does not take images of this size.
    """
    views = images[:, None] if images.ndim == 4 else images
    flat = views.flatten(0, 1)
    return torch.stack([network_outputs(model, flat).float().unflatten(0, views.shape[:2]) for model in models])


def network_outputs(model: nn.Module, images: Tensor) -> Tensor:
    """Return what a network says of images.

    Raises:
        UsageError: if it does not take images of this size.
    """
    try:
        return model(images)
    except RuntimeError as error:
        if is_out_of_memory(error) or place_in_user_file(error) is not None:
            raise
        size = " x ".join(map(str, images.shape[1:]))
        raise UsageError(message_line(f"{type(model).__name__} refuses images of {size}: {error}")) from error


def noise_images(source: DataSource, count: int) -> Tensor:
    """Return (N, C, H, W) float32 of normal noise, (N, C, D, H, W) of patches, as large as the network's images and always the same."""
    size = (count, source.input.channels, *(source.patch or (source.input.size,) * 2))
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


def captioned(image: Image.Image, lines: Sequence[str]) -> Image.Image:
    """Return an image in RGB with lines of text below it."""
    drawn = Image.new("RGB", (image.width, image.height + LINE * len(lines)), "white")
    drawn.paste(image.convert("RGB"))
    pen = ImageDraw.Draw(drawn)
    for place, line in enumerate(lines):
        pen.text((2, image.height + LINE * place), line, fill="black")
    return drawn
