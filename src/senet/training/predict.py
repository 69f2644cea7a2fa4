"""What trained networks predict of image files."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from senet.data.image_file import ImageReading, read_image
from senet.data.image_tree import LeftOut, image_files
from senet.data.source import UnreadableImageError
from senet.data.views import Views
from senet.data.volumes.nifti import is_volume
from senet.errors import UsageError
from senet.surgery.preserve import evaluating
from senet.tasks.answers import average_of_one, prediction_of
from senet.tasks.task import Prediction, Task
from senet.training.gate_sheets import GateSheets
from senet.training.members import choose_device, common_input, common_task, load_members
from senet.training.predict_volumes import VolumePredictor, volume_name
from senet.training.prediction_files import ListedImage, PredictionFiles

log = logging.getLogger("senet")


@dataclass(frozen=True)
class ImagePrediction:
    """Prediction for an image file, or why it could not be read.

    Args:
        image: path of the image.
        prediction: the task's prediction; None if the image could not be read.
        error: what was wrong with the image, in one line.
        files: what was written of it -> where: "out", "overlay", "gates".
    """

    image: str
    prediction: Prediction | None = None
    error: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON; what the task predicts stands beside the other fields."""
        predicted = {} if self.prediction is None else self.prediction.to_dict()
        files = {"files": dict(self.files)} if self.files else {}
        return {"image": self.image, **predicted, **files, "error": self.error}


def predict(
    models: str | Path | Sequence[str | Path],
    images: Sequence[str | Path],
    *,
    task: str | Task | None = None,
    top_k: int = 5,
    crops: str = "centre",
    device: torch.device | str | None = None,
    reading: ImageReading = ImageReading(),  # noqa: B008 - frozen
    changes: Mapping[str, Any] | None = None,
    files: PredictionFiles = PredictionFiles(),  # noqa: B008 - frozen
) -> Iterator[ImagePrediction]:
    """Yield what is predicted of each image, in order.

    Args:
        models: weights files or run folders; several are averaged.
        images: image files, colour or grey, of any size; of a folder, all images in and below it, as in training.
        task: what they predict, as a task or its name; None = the task that their files name.
        top_k: how many answers to give, where the task ranks several.
        crops: "centre" or "ten".
        device: where to compute; None = a GPU if there is one.
        reading: how files are read; the range of deep images is the one that the networks were trained with, if it says none.
        changes: fields of the task's own part of the recipe, as dotted or short names, instead of those that the networks were trained
            with: {"segmentation.flips": True}.
        files: where predictions, and pictures of them and of the network's gates, are written.

    Raises:
        UsageError: if a folder has no images, a file of weights cannot be read or does not say what images it expects, the networks differ
            in that, weights name a task of a user's file, the device is not there, a file that is to be written is, or gates cannot be
            shown.
    """
    if top_k < 1:
        raise UsageError(f"top_k must be at least 1, got {top_k}")
    device = choose_device(models, device)
    members = load_members(models, device)
    task = common_task(members, task, changes)
    spec = common_input(members)
    transform = task.eval_transform(spec, Views(crops))
    reading = replace(reading, value_range=reading.value_range or spec.range)
    volumes = VolumePredictor.of(task, members[0].recipe, spec)
    sheets = None if files.gates is None else GateSheets.of(members, crops, None if volumes is None else volumes.reading.recipe.patch)
    seen: list[Tensor] = []
    listed = [file for image in images for file in _files(image, volumes)]
    files = files.planned(listed)
    networks = [member.model for member in members]

    def outputs_of(image: Any) -> Any:
        views, target = transform(image, None)
        if sheets is not None:
            seen.append(views)
        with evaluating(nn.ModuleList(networks)), torch.inference_mode():
            return average_of_one(task, networks, views, target, device)

    def drawn_gates() -> Image.Image | None:
        return None if sheets is None else sheets.draw(seen[len(seen) // 2])  # of a volume, the slice in its middle

    def predict_one(image: str | Path) -> ImagePrediction:
        seen.clear()
        try:
            if volumes is not None and is_volume(image):
                prediction, opened = volumes.predict(image, outputs_of, members[0].classes)
                return ImagePrediction(str(image), prediction, files=files.write(image, prediction, opened, drawn_gates()))
            opened = read_image(image, reading)
        except UnreadableImageError as error:
            return ImagePrediction(str(image), error=str(error))
        try:
            prediction = prediction_of(task, outputs_of(opened), members[0].classes, top_k=top_k)
        except UnreadableImageError as error:  # which does not know the file
            return ImagePrediction(str(image), error=f"{image}: {error}")
        return ImagePrediction(str(image), prediction, files=files.write(image, prediction, opened, drawn_gates()))

    return map(predict_one, (image.path for image in listed))


def _files(image: str | Path, volumes: VolumePredictor | None) -> list[ListedImage]:
    """Return an image or volume by itself, or the images of a folder, or the volumes where networks were trained on volumes."""
    if volumes is not None:
        paths = volumes.listed(Path(image)) if Path(image).is_dir() else [image]
        return [ListedImage(path, volume_name(path) if is_volume(path) else Path(Path(path).name)) for path in paths]
    if is_volume(image):
        raise UsageError(f"{image} is a volume, and these weights were not trained on volumes (data.name volumes)")
    if not Path(image).is_dir():
        return [ListedImage(image, Path(Path(image).name))]
    left_out = LeftOut()
    files = [ListedImage(file, Path(file).relative_to(image)) for file in image_files(Path(image), left_out)]
    notes = [f"{image}: {note}" for note in left_out.notes()]
    if not files:
        raise UsageError("; ".join([f"{image}: there are no images in this folder", *notes]))
    for note in notes:
        log.warning(note)
    return files
