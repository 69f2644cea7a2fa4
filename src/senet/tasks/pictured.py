"""A task's scores and pictures of single images, checked where they are used: a user's task may return anything."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, cast

import numpy as np
from PIL import Image
from torch import Tensor

from senet.data.batch import Batch
from senet.errors import UsageError
from senet.measuring.numbers import plural
from senet.results.cases import LEGEND
from senet.tasks.answers import described, kind_of, wrong_answer
from senet.tasks.task import ImagePictures, Pictured, Prediction, ScoredByImage, Task
from senet.text import printable


def scored(task: Task) -> ScoredByImage | None:
    """Return a task as one that scores single images; None if it does not."""
    return cast(ScoredByImage, task) if callable(getattr(task, "image_scores", None)) else None


def pictured(task: Task) -> Pictured | None:
    """Return a task as one that shows single images; None if it does not.

    Raises:
        UsageError: if it draws images that it does not score, so that none can be chosen.
    """
    if not callable(getattr(task, "pictures", None)):
        return None
    if scored(task) is None:
        raise UsageError(f"{type(task).__name__} has pictures and no image_scores: single images are shown by a task with both")
    return cast(Pictured, task)


def scores_of(task: ScoredByImage, outputs: Any, batch: Batch, classes: Sequence[str]) -> dict[int, float]:
    """Return a task's score of each image of a batch, by the image's index in its set.

    Raises:
        UsageError: unless they are one number an image, and the batch says which images it holds.
    """
    count = len(batch.images)
    if len(batch.indices) != count:
        wanted = "a Batch with the indices of its images, see senet.data.batch.indices_of"
        raise wrong_answer(task, "collate", wanted, f"{len(batch.indices) or 'none'} of {count}")
    answer: Any = task.image_scores(outputs, batch, classes)
    scores = answer.tolist() if isinstance(answer, Tensor | np.ndarray) else answer
    if not _is_list(scores) or len(scores) != count or not all(isinstance(value, Real) for value in scores):
        raise wrong_answer(task, "image_scores", f"{plural(count, 'number')}, one an image", _listed(answer))
    return dict(zip(batch.indices, map(float, scores), strict=True))


def pictures_of(
    task: Pictured, image: Any, batch: Batch, predictions: Sequence[Prediction], classes: Sequence[str], *, side: int
) -> ImagePictures:
    """Return a task's pictures of one image.

    Raises:
        UsageError: unless they are `ImagePictures` of pictures by name, with those of each network and a legend of colours.
    """
    answer: Any = task.pictures(image, batch, predictions, classes, side=side)
    wanted = f"ImagePictures with pictures by name, those of {plural(len(predictions), 'network')}, and a legend of colours"
    if not isinstance(answer, ImagePictures):
        raise wrong_answer(task, "pictures", wanted, described(answer))
    found = {
        "shared": "no picture" if answer.shared == {} else _wrong_pictures(answer.shared),
        "networks": _wrong_networks(answer.networks, len(predictions)),
        "legend": "" if _is_legend(answer.legend) else repr(answer.legend),
        "note": "" if isinstance(answer.note, str) else kind_of(answer.note),
    }
    if wrong := next((f"{field}: {what}" for field, what in found.items() if what), None):
        raise wrong_answer(task, "pictures", wanted, printable(wrong))
    return answer


def _wrong_pictures(answer: Any) -> str:
    """Return what is given instead of pictures by name; nothing if they are."""
    named = isinstance(answer, Mapping) and all(isinstance(name, str) and isinstance(one, Image.Image) for name, one in answer.items())
    return "" if named else described(answer)


def _wrong_networks(answer: Any, count: int) -> str:
    """Return what is given instead of the pictures of so many networks; nothing if they are."""
    if not _is_list(answer) or len(answer) != count:
        return _listed(answer)
    return next(filter(None, map(_wrong_pictures, answer)), "")


def _is_legend(answer: Any) -> bool:
    try:
        LEGEND.check(answer, "legend")
    except UsageError:
        return False
    return True


def _is_list(answer: Any) -> bool:
    return isinstance(answer, Sequence) and not isinstance(answer, str)


def _listed(answer: Any) -> str:
    return f"{len(answer)} of {', '.join(dict.fromkeys(map(kind_of, answer))) or 'nothing'}" if _is_list(answer) else kind_of(answer)
