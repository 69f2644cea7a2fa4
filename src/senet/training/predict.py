"""What trained networks predict of image files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from senet.data.folder import read_image
from senet.data.source import UnreadableImageError
from senet.data.views import Views
from senet.errors import UsageError
from senet.surgery.preserve import evaluating
from senet.tasks.task import Prediction, Task
from senet.training.members import choose_device, common_input, common_task, load_members


@dataclass(frozen=True)
class ImagePrediction:
    """Prediction for an image file, or why it could not be read.

    Args:
        image: path of the image.
        prediction: the task's prediction; None if the image could not be read.
        error: what was wrong with the image, in one line.
    """

    image: str
    prediction: Prediction | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON; what the task predicts stands beside the other fields."""
        predicted = {} if self.prediction is None else self.prediction.to_dict()
        return {"image": self.image, **predicted, "error": self.error}


def predict(
    models: str | Path | Sequence[str | Path],
    images: Sequence[str | Path],
    *,
    task: str | Task | None = None,
    top_k: int = 5,
    crops: str = "centre",
    device: torch.device | str | None = None,
) -> Iterator[ImagePrediction]:
    """Yield what is predicted of each image, in order.

    Args:
        models: weights files or run folders; several are averaged.
        images: image files, colour or grey, of any size.
        task: what they predict, as a task or its name; None = the task that their files name.
        top_k: how many answers to give, where the task ranks several.
        crops: "centre" or "ten".
        device: where to compute; None = a GPU if there is one.

    Raises:
        UsageError: if a file of weights cannot be read or does not say what images it expects, the networks differ in that, or weights
            name a task of a user's file.
    """
    if top_k < 1:
        raise UsageError(f"top_k must be at least 1, got {top_k}")
    device = choose_device(models, device)
    members = load_members(models, device)
    task = common_task(members, task)
    transform = task.eval_transform(common_input(members), Views(crops))
    networks = [member.model for member in members]

    def predict_one(image: str | Path) -> ImagePrediction:
        try:
            views, _ = transform(read_image(image), None)
        except UnreadableImageError as error:
            return ImagePrediction(str(image), error=str(error))
        with evaluating(nn.ModuleList(networks)), torch.inference_mode():
            outputs = task.average(networks, views[None].to(device))
        return ImagePrediction(str(image), task.predict(outputs, members[0].classes, top_k=top_k))

    return map(predict_one, images)
