"""What trained networks predict of image files, one after the other, however many there are."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from senet.data.given_images import GivenImages, ListedImage
from senet.data.image_file import ImageReading
from senet.data.image_tree import LeftOut, image_files
from senet.data.loaders import DataError, stream_loader
from senet.data.source import UnreadableImageError
from senet.data.video import FrameStep, Moment
from senet.data.volumes.nifti import is_volume
from senet.errors import UsageError
from senet.tasks.answers import log_once
from senet.tasks.task import Prediction, Task
from senet.text import printable
from senet.training.gate_sheets import GateSheets
from senet.training.predict_volumes import VolumePredictor, volume_name
from senet.training.prediction_files import PredictionFiles
from senet.training.prediction_records import PredictionRecords
from senet.training.predictor import Predictor, Prepared, alone, fingerprints, groups, load_predictor

NO_WORKERS_UP_TO = 8
"""Files that are read without worker processes: to start those takes longer."""


@dataclass(frozen=True)
class ImagePrediction:
    """Prediction for an image, or why it could not be read.

    Args:
        image: path of the image; of a video's frame with its time behind, "clip.mp4#t=12.480".
        prediction: the task's prediction; None if the image could not be read.
        error: what was wrong with the image, in one line.
        files: what was written of it -> where: "out", "overlay", "gates".
        moment: place of a frame in its video.
    """

    image: str
    prediction: Prediction | None = None
    error: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    moment: Moment | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON; what the task predicts stands beside the other fields."""
        moment = {} if self.moment is None else asdict(self.moment)
        predicted = {} if self.prediction is None else self.prediction.to_dict()
        files = {"files": dict(self.files)} if self.files else {}
        return {"image": self.image, **moment, **predicted, **files, "error": self.error}


@dataclass(frozen=True)
class PredictionPace:
    """Pace of a prediction: how many images are taken at a time, and which.

    Args:
        batch_size: images of one size that are predicted together; None = 32, fewer of large ones. Detectors take one at a time.
        workers: loader processes; None = none for a few files, else what cores can spare.
        step: which frames of videos are taken.
        strict: whether an image that cannot be read ends the prediction.
        watch: passes the images on, e.g. to show progress; they have a length hint if their number is known.
    """

    batch_size: int | None = None
    workers: int | None = None
    step: FrameStep = FrameStep()  # noqa: RUF009 - frozen
    strict: bool = False
    watch: Callable[[Iterable[ListedImage]], Iterable[ListedImage]] = iter

    def __post_init__(self) -> None:
        for name, low in (("batch_size", 1), ("workers", 0)):
            if (value := getattr(self, name)) is not None and value < low:
                raise UsageError(f"{name} must be at least {low}, got {value}")


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
    pace: PredictionPace = PredictionPace(),
    records: PredictionRecords | None = None,
) -> Generator[ImagePrediction, None, None]:
    """Yield what is predicted of each image, in order, as soon as it is there; memory does not grow with their number.

    Args:
        models: weights files or run folders; several are averaged.
        images: image files, colour or grey, of any size; of a folder, all images in and below it, as in training; patterns, videos, lists,
            standard input, see `senet.data.given_images.GivenImages`.
        task: what they predict, as a task or its name; None = the task that their files name.
        top_k: how many answers to give, where the task ranks several.
        crops: "centre" or "ten".
        device: where to compute; None = a GPU if there is one.
        reading: how files are read; the range of deep images is the one that the networks were trained with, if it says none.
        changes: fields of the task's own part of the recipe, as dotted or short names, instead of those that the networks were trained
            with: {"segmentation.flips": True}.
        files: where predictions, and pictures of them and of the network's gates, are written.
        pace: how many images are taken at a time, and which.
        records: file of one line an image; images that it has are left out.

    Raises:
        UsageError: if a folder has no images, a file of weights cannot be read or does not say what images it expects, the networks differ
            in that, weights name a task of a user's file, the device is not there, a file that is to be written is, gates cannot be
            shown, or the records are of other images, weights or options.
        DataError: for an image that cannot be read, where the pace is strict.
    """
    predictor = load_predictor(models, task=task, top_k=top_k, crops=crops, device=device, reading=reading, changes=changes)
    volumes = predictor.volumes
    patch = None if volumes is None else volumes.reading.recipe.patch
    sheets = None if files.gates is None else GateSheets.of(predictor.members, crops, patch)
    given = GivenImages(images, _in_folder(volumes), _in_file(volumes), pace.step, reading.max_pixels)
    given.check()
    about = {}
    if records is not None:
        chosen = {"crops": crops, "top_k": top_k, "task": task if isinstance(task, str) else None, "changes": dict(changes or {})}
        read = {"range": predictor.reading.value_range, "max_pixels": reading.max_pixels}
        taken = {"batch_size": pace.batch_size, "step": asdict(pace.step)}
        places = {name: None if place is None else str(place) for name, place in files.places.items()}
        about = {"weights": fingerprints(models), **chosen, **read, **taken, **places}
    if files.folders:
        given = replace(given, held=list(given.files()))
        files = files.planned(given.held or (), () if records is None else records.known(about))
    if records is not None:
        records.begin(about)
    return _predictions(predictor, given, files, pace, records, sheets)


def _predictions(
    predictor: Predictor,
    given: GivenImages,
    files: PredictionFiles,
    pace: PredictionPace,
    records: PredictionRecords | None,
    sheets: GateSheets | None,
) -> Generator[ImagePrediction, None, None]:
    with ExitStack() as ending:
        if records is not None:
            ending.enter_context(closing(records))
        images = ending.enter_context(closing(image for image in pace.watch(given)))  # and with it an open video, and what shows progress
        most, most_bytes = predictor.limits(pace.batch_size)
        again = [] if records is None else _behind(images, records, most)  # a batch as a whole: rounding may depend on its size
        skipped = len(again)
        few = not given.many and len(given.words) <= NO_WORKERS_UP_TO
        workers = 0 if few and pace.workers is None else pace.workers
        with closing(_prepared(predictor, chain(again, images), workers, keep=files.overlay is not None)) as prepared:
            for group in groups(prepared, most, most_bytes):
                done, skipped = min(skipped, len(group)), max(0, skipped - len(group))
                names = [str(image.listed) for image in group[done:]]
                found = predictor.predict([image for image in group if image.views is not None])
                noting = records.noted(names) if records is not None and files.folders and names else nullcontext()
                with noting:
                    for place, image in enumerate(group):
                        prediction = None if image.views is None else next(found)
                        if place < done:
                            continue
                        made = _finished(predictor, image, prediction, files, sheets)
                        if pace.strict and made.error is not None:
                            raise DataError(f"cannot read {made.error}; --strict (in Python: strict=True) ends there")
                        if records is not None:
                            records.add(made.to_dict())
                        yield made


def _prepared(predictor: Predictor, images: Iterator[ListedImage], workers: int | None, *, keep: bool) -> Generator[Prepared, None, None]:
    """Yield images as they are read, in order."""
    underway: deque[ListedImage] = deque()

    def noted() -> Iterator[ListedImage]:
        for image in images:
            underway.append(image.without_frame())
            yield image

    with closing(stream_loader(predictor.samples(keep=keep), noted(), alone, workers=workers, values=predictor.values)) as loader:
        for batch in loader:
            target, original = batch.targets or (None, None)
            yield Prepared(underway.popleft(), batch.images, target, original, next(iter(batch.corrupt), None))


def _finished(
    predictor: Predictor, image: Prepared, prediction: Prediction | None, files: PredictionFiles, sheets: GateSheets | None
) -> ImagePrediction:
    """Return an image's prediction, with its files written."""
    listed, original = image.listed, image.original
    made = ImagePrediction(str(listed), error=image.error, moment=listed.moment)
    if image.error is not None:
        return made
    seen: list[Tensor] = [] if image.views is None else [image.views]
    if prediction is None:
        try:
            prediction, original = predictor.predict_volume(listed.path, seen.append if sheets is not None else id)
        except UnreadableImageError as error:
            return replace(made, error=str(error))
    sheet = None if sheets is None else sheets.draw(seen[len(seen) // 2])  # of a volume, the slice in its middle
    return replace(made, prediction=prediction, files=files.write(listed, prediction, original, sheet))


def _behind(images: Iterator[ListedImage], records: PredictionRecords, most: int) -> list[ListedImage]:
    """Pass over the images that records have; return those of them that are of the batch in which the first new one is.

    Raises:
        UsageError: if the records are of other images.
    """
    batch: list[ListedImage] = []
    for place, name in enumerate(records.done()):
        image = next(images, None)
        if image is None or str(image) != name:
            there = "there is none any more" if image is None else f"now it is {printable(image, None)}"
            raise UsageError(
                f"{printable(records.path, None)}: image {place + 1} was {printable(name, None)}, and {there}; give the same images in the "
                "same order, or name another file"
            )
        batch = batch if place % most else []
        batch.append(image)
    return batch if len(batch) < most else []


def _in_folder(volumes: VolumePredictor | None) -> Callable[[Path], Iterator[ListedImage]]:
    """Return what lists the images in and below a folder, or the volumes in it where networks were trained on volumes."""

    def images(folder: Path) -> Iterator[ListedImage]:
        left_out, found = LeftOut(), False
        for file in image_files(folder, left_out):
            found = True
            yield ListedImage(file, Path(file).relative_to(folder))
        notes = [f"{folder}: {note}" for note in left_out.notes()]
        if not found:
            raise UsageError("; ".join([f"{folder}: there are no images in this folder", *notes]))
        for note in notes:
            log_once(note)

    in_file = _in_file(volumes)
    return images if volumes is None else lambda folder: map(in_file, volumes.listed(folder))


def _in_file(volumes: VolumePredictor | None) -> Callable[[str | Path], ListedImage]:
    """Return what lists a file by itself."""

    def file(path: str | Path) -> ListedImage:
        if not is_volume(path):
            return ListedImage(path, Path(Path(path).name))
        if volumes is None:
            raise UsageError(f"{path} is a volume, and these weights were not trained on volumes (data.name volumes)")
        return ListedImage(path, volume_name(path))

    return file
