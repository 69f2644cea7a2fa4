"""Pictures of single images that a task gives: taken as they are, or refused in one line that says what came."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from senet.data.batch import Batch
from senet.errors import UsageError
from senet.tasks.classification import Classification
from senet.tasks.pictured import pictured, pictures_of, scored, scores_of
from senet.tasks.task import ImagePictures

BATCH = Batch(torch.zeros(2, 1, 4, 4), torch.zeros(2), [], [5, 3])
PICTURE = Image.new("RGB", (4, 4))
GOOD = ImagePictures({"image": PICTURE}, [{}, {"boxes": PICTURE}], {"gained": (0, 128, 255)}, "slice 2")


class Answering:
    """Task that answers one thing to everything."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def image_scores(self, *arguments: Any) -> Any:
        return self.answer

    def pictures(self, *arguments: Any, **options: Any) -> Any:
        return self.answer


def pictures_from(answer: Any) -> ImagePictures:
    return pictures_of(Answering(answer), None, BATCH, [SimpleNamespace(), SimpleNamespace()], (), side=8)  # pyright: ignore[reportArgumentType]


def test_a_task_shows_single_images_if_it_has_both_methods() -> None:
    both = Answering(None)
    assert pictured(both) is both  # pyright: ignore[reportArgumentType] - only what is used
    assert pictured(Classification()) is None


def test_a_task_that_draws_images_and_does_not_score_them_is_told() -> None:
    with pytest.raises(UsageError, match=r"^SimpleNamespace has pictures and no image_scores: "):
        pictured(SimpleNamespace(pictures=print))  # pyright: ignore[reportArgumentType] - only what is used


def test_a_task_may_score_images_without_drawing_them() -> None:
    judge, blind = SimpleNamespace(image_scores=print), SimpleNamespace()
    assert scored(judge) is judge  # pyright: ignore[reportArgumentType] - only what is used
    assert (pictured(judge), pictured(blind), scored(blind)) == (None, None, None)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("answer", [[1.0, float("nan")], (1, np.float32("nan")), torch.tensor([1.0, torch.nan]), np.array([1.0, np.nan])])
def test_scores_are_those_of_the_images_by_index(answer: Any) -> None:
    scores = scores_of(Answering(answer), None, BATCH, ())
    assert scores[5] == 1
    assert np.isnan(scores[3])
    assert set(map(type, scores.values())) == {float}


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (None, "NoneType"),
        (3.0, "float"),
        ("ab", "str"),
        ([1.0], "1 of float"),
        ([1.0, "high"], "2 of float, str"),
        ([], "0 of nothing"),
        (torch.ones(2, 2), r"a tensor of shape \(2, 2\)"),
        (torch.ones(()), r"a tensor of shape \(\)"),
        ({0: 1.0, 1: 2.0}, "dict"),
    ],
)
def test_scores_of_another_kind_are_refused(answer: Any, got: str) -> None:
    with pytest.raises(UsageError, match=f"^Answering's image_scores must return 2 numbers, one an image, got {got}$"):
        scores_of(Answering(answer), None, BATCH, ())


def test_a_batch_that_does_not_say_which_images_it_holds_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^Answering's collate must return a Batch with the indices of its images, .*, got none of 2$"):
        scores_of(Answering([1.0, 2.0]), None, BATCH._replace(indices=()), ())


def test_pictures_are_returned_as_they_are() -> None:
    assert pictures_from(GOOD) is GOOD


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (None, "NoneType"),
        ({"image": PICTURE}, "{'image': Image}"),
        (ImagePictures({}, [{}, {}]), "shared: no picture"),
        (ImagePictures({"image": np.zeros((4, 4))}, [{}, {}]), "shared: {'image': ndarray}"),  # pyright: ignore[reportArgumentType]
        (ImagePictures({"image": PICTURE}, [{}]), "networks: 1 of dict"),
        (ImagePictures({"image": PICTURE}, None), "networks: NoneType"),  # pyright: ignore[reportArgumentType]
        (ImagePictures({"image": PICTURE}, [{}, {"boxes": None}]), "networks: {'boxes': NoneType}"),  # pyright: ignore[reportArgumentType]
        (ImagePictures({"image": PICTURE}, [{}, PICTURE]), "networks: Image"),  # pyright: ignore[reportArgumentType]
        (ImagePictures({"image": PICTURE}, [{}, {}], {"gained": (0, 0, 256)}), r"legend: {'gained': \(0, 0, 256\)}"),
        (ImagePictures({"image": PICTURE}, [{}, {}], {"gained": "blue"}), "legend: {'gained': 'blue'}"),  # pyright: ignore[reportArgumentType]
        (ImagePictures({"image": PICTURE}, [{}, {}], {}, None), "note: NoneType"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_pictures_of_another_kind_are_refused(answer: Any, got: str) -> None:
    wanted = "ImagePictures with pictures by name, those of 2 networks, and a legend of colours"
    with pytest.raises(UsageError, match=f"^Answering's pictures must return {wanted}, got {got}$"):
        pictures_from(answer)
