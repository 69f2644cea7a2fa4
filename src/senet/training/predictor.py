"""Trained networks that predict images one after the other, several together where they are of one size."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from senet.data.batch import Batch, Sample
from senet.data.given_images import ListedImage
from senet.data.image_file import ImageReading, read_image
from senet.data.preparation import EvalPair
from senet.data.source import UnreadableImageError
from senet.data.views import Views
from senet.data.volumes.nifti import is_volume
from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.surgery.preserve import evaluating
from senet.tasks.answers import average_of_one, prediction_of, takes_targets
from senet.tasks.task import Prediction, Task
from senet.training.members import Member, choose_device, common_input, common_task, load_members
from senet.training.predict_volumes import VolumePredictor
from senet.weights.loaded import fingerprint_of_file
from senet.weights.source import Source

PREDICTED_AT_ONCE = 32
"""Images that are predicted together, unless a user says how many."""

BYTES_AT_ONCE = 2**24
"""Bytes of images that are predicted together then: 27 of 224 x 224 pixels, one of 1024 x 1024."""


class Prepared(NamedTuple):
    """Image on its way to the networks.

    Args:
        listed: which.
        views: what the networks see; None if it cannot be read, or is a volume, which is read where it is predicted.
        target: what the task made of None.
        original: the image in RGB, if it is needed afterwards.
        error: why it cannot be read.
    """

    listed: ListedImage
    views: Tensor | None
    target: Any
    original: Image.Image | None
    error: str | None

    @property
    def bytes(self) -> int:
        """How much of memory it takes."""
        original = 0 if self.original is None else 3 * self.original.width * self.original.height
        return original + getattr(self.views, "nbytes", 0)


@dataclass(frozen=True)
class ListedSamples(Dataset[Sample]):
    """Images as networks see them, by how they are listed.

    Args:
        transform: what becomes of an image.
        reading: how files are read.
        volumes: whether volumes are left to who predicts them.
        keep: whether the image itself goes along.
    """

    transform: EvalPair
    reading: ImageReading
    volumes: bool
    keep: bool

    def __getitem__(self, listed: ListedImage) -> Sample:
        """Return the image; one that cannot be read is none, with the reason."""
        if listed.error is not None or (self.volumes and is_volume(listed.path)):
            return Sample(None, None, [listed.error] if listed.error else [])
        try:
            image = read_image(listed.path, self.reading) if listed.frame is None else listed.frame
        except UnreadableImageError as error:
            return Sample(None, None, [str(error)])
        try:
            views, target = self.transform(image, None)
        except UnreadableImageError as error:  # which does not know the file
            return Sample(None, None, [f"{listed}: {error}"])
        return Sample(views, (target, image if self.keep else None), [])


def alone(samples: Sequence[Sample]) -> Batch:
    """Return one sample as it is."""
    (sample,) = samples
    return Batch(sample.image, sample.target, sample.corrupt)


def groups(images: Iterable[Prepared], most: int, most_bytes: float) -> Iterator[list[Prepared]]:
    """Yield images in order, together as long as they are of one size.

    Args:
        images: one after the other.
        most: how many there are at most; a group begins anew with each multiple of that, so that whoever begins there forms the same ones.
        most_bytes: of memory that several take together.
    """
    group: list[Prepared] = []
    shape, held = None, 0
    for place, image in enumerate(images, 1):
        own = None if image.views is None else image.views.shape
        if None not in (own, shape) and (own != shape or held + image.bytes > most_bytes):
            yield group
            group, shape, held = [], None, 0
        group.append(image)
        shape, held = own or shape, held + image.bytes
        if not place % most:  # at once: the next image may be long in coming
            yield group
            group, shape, held = [], None, 0
    if group:
        yield group


class Predictor:
    """Networks that predict together.

    Args:
        members: the networks and what their files say.
        task: what they predict.
        crops: "centre" or "ten".
        top_k: how many answers to give, where the task ranks several.
        reading: how files are read; the range of deep images is the one that the networks were trained with, if it says none.
        device: where to compute.

    Raises:
        UsageError: if the networks differ in the images that they expect, or do not say which.
    """

    def __init__(self, members: Sequence[Member], task: Task, crops: str, top_k: int, reading: ImageReading, device: torch.device) -> None:
        self.members, self.task, self.crops, self.top_k, self.device = members, task, crops, top_k, device
        self.spec = common_input(members)
        self.transform = task.eval_transform(self.spec, Views(crops))
        self.values = Views(crops).values(self.spec)
        self.reading = replace(reading, value_range=reading.value_range or self.spec.range)
        self.volumes = VolumePredictor.of(task, members[0].recipe, self.spec)
        self._networks = nn.ModuleList(member.model for member in members)
        self._together = not takes_targets(task)

    def limits(self, batch_size: int | None) -> tuple[int, float]:
        """Return how many images are predicted together, and how many bytes of them, where a user says how many or does not."""
        return (batch_size or PREDICTED_AT_ONCE, BYTES_AT_ONCE if batch_size is None else inf) if self._together else (1, inf)

    def samples(self, *, keep: bool) -> ListedSamples:
        """Return what reads images; `keep` says whether they are wanted afterwards."""
        return ListedSamples(self.transform, self.reading, self.volumes is not None, keep)

    def predict(self, images: Sequence[Prepared]) -> Iterator[Prediction]:
        """Yield what is predicted of each image that has views, which are of one size."""
        for outputs in self._outputs(images):
            yield prediction_of(self.task, outputs, self.members[0].classes, top_k=self.top_k)

    def predict_volume(self, path: str | Path, seen: Callable[[Tensor], object]) -> tuple[Prediction, Image.Image]:
        """Return what is predicted of a volume, and the slice in its middle in RGB; `seen` is told what the networks see.

        Raises:
            UnreadableImageError: if it cannot be read.
        """
        assert self.volumes is not None

        def outputs_of(image: Any) -> Any:
            views, target = self.transform(image, None)
            seen(views)
            return self._one(views, target)

        return self.volumes.predict(path, outputs_of, self.members[0].classes)

    def _outputs(self, images: Sequence[Prepared]) -> Iterable[Any]:
        """Return what `predict` of the task takes, of each image."""
        if len(images) > 1 and self._together:
            views = torch.stack([image.views for image in images if image.views is not None])
            with evaluating(self._networks), torch.inference_mode():
                outputs: Any = self.task.average(list(self._networks), views.to(self.device))
            if isinstance(outputs, Tensor) and len(outputs) == len(images):
                return outputs.split(1)
            self._together = False  # what a task of a user answers need not come apart
        return (self._one(image.views, image.target) for image in images)

    def _one(self, views: Any, target: Any) -> Any:
        with evaluating(self._networks), torch.inference_mode():
            return average_of_one(self.task, list(self._networks), views, target, self.device)


def load_predictor(
    models: str | Path | Sequence[str | Path],
    *,
    task: str | Task | None,
    top_k: int,
    crops: str,
    device: torch.device | str | None,
    reading: ImageReading,
    changes: Mapping[str, Any] | None,
) -> Predictor:
    """Return the networks of files, see `senet.training.predict.predict`."""
    if top_k < 1:
        raise UsageError(f"top_k must be at least 1, got {top_k}")
    there = choose_device(models, device)
    members = load_members(models, there)
    return Predictor(members, common_task(members, task, changes), crops, top_k, reading, there)


def fingerprints(models: str | Path | Sequence[str | Path]) -> list[str]:
    """Return the SHA-256 of each file of weights."""
    named = [models] if isinstance(models, str | Path) else models
    return [fingerprint_of_file(Source.parse(RunFolder.weights_of(model)).local()) for model in named]
