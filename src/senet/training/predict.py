"""What is in an image: the likeliest classes, by name."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from senet.data.folder import read_image
from senet.data.source import UnreadableImageError
from senet.data.transforms import eval_transform
from senet.errors import UsageError
from senet.training.ensemble import Ensemble, choose_device, common_input, load_members


@dataclass(frozen=True)
class Guess:
    """One class and its probability."""

    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """Hold the likeliest classes of an image, or why it could not be read.

    Args:
        image: path of the image.
        guesses: classes by falling probability; none if the image could not be read.
        error: what was wrong with the image, in one line.
    """

    image: str
    guesses: tuple[Guess, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def predict(
    models: str | Path | Sequence[str | Path],
    images: Sequence[str | Path],
    *,
    top_k: int = 5,
    crops: str = "centre",
    device: torch.device | str | None = None,
) -> Iterator[Prediction]:
    """Yield the likeliest classes of each image, in order.

    Args:
        models: weights files or run folders; several are averaged.
        images: image files, colour or grey, of any size.
        top_k: how many classes to name.
        crops: "centre" or "ten".
        device: where to compute; None = a GPU if there is one.

    Raises:
        UsageError: if a file of weights cannot be read or does not say what images it expects, or the networks differ in that.
    """
    if top_k < 1:
        raise UsageError(f"top_k must be at least 1, got {top_k}")
    device = choose_device(models, device)
    members = load_members(models, device)
    transform = eval_transform(common_input(members), crops)
    classes = members[0].classes
    ensemble = Ensemble([member.model for member in members])

    def predict_one(image: str | Path) -> Prediction:
        try:
            views = transform(read_image(image))
        except UnreadableImageError as error:
            return Prediction(str(image), error=str(error))
        with ensemble, torch.inference_mode():
            probabilities = ensemble(views[None].to(device))[0].exp()
        values, indices = probabilities.topk(min(top_k, len(probabilities)))
        names = [classes[index] if classes else str(index) for index in indices.tolist()]
        return Prediction(str(image), tuple(map(Guess, names, values.tolist())))

    return map(predict_one, images)
