"""A single image with its mask: its Dice against a slow form, and its pictures pixel by pixel."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from senet.data.masks import IGNORE
from senet.tasks.segmentation.colours import CONFUSED, ERRORS, FALSE, MISSED
from senet.tasks.segmentation.image_case import image_dice, mask_pictures
from senet.tasks.segmentation.prediction import PredictedMask
from senet.tasks.task import ImagePictures

CLASSES = ("Background", "a", "b")


def slow_dice(mask: np.ndarray, found: np.ndarray) -> float:
    scores = []
    for index in (1, 2):
        true = {place for place in np.ndindex(mask.shape) if mask[place] == index}
        said = {place for place in np.ndindex(mask.shape) if found[place] == index and mask[place] != IGNORE}
        if true or said:
            scores.append(200 * len(true & said) / (len(true) + len(said)))
    return sum(scores) / len(scores) if scores else float("nan")


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (3, 4, 5)])
@pytest.mark.parametrize("labels", [(0,), (0, 1), (0, 1, 2), (0, 1, IGNORE), (IGNORE,)])
def test_dice_of_one_image(shape: tuple[int, ...], labels: tuple[int, ...]) -> None:
    for seed in range(5):
        random = np.random.default_rng(seed)
        mask = random.choice(np.array(labels, np.uint8), shape)
        logs = torch.from_numpy(random.normal(size=(3, *shape)))
        found = image_dice(logs, torch.from_numpy(mask), CLASSES)
        assert found == pytest.approx(slow_dice(mask, logs.argmax(0).numpy()), abs=1e-12, nan_ok=True)


def test_dice_is_nothing_where_nothing_is_and_nothing_is_predicted() -> None:
    logs = torch.tensor([0.0, -1.0, -2.0])[:, None, None].expand(3, 2, 2)
    assert np.isnan(image_dice(logs, torch.zeros(2, 2, dtype=torch.uint8), CLASSES))
    assert image_dice(logs, torch.ones(2, 2, dtype=torch.uint8), CLASSES) == 0


def drawn(image: Any, mask: np.ndarray, *found: np.ndarray, classes: tuple[str, ...] = CLASSES, side: int = 64) -> ImagePictures:
    return mask_pictures(image, mask, [PredictedMask(one, classes) for one in found], classes, side)


def test_pictures_show_image_truth_predictions_and_errors() -> None:
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    mask = np.array([[0, 0, 1, 1], [2, 2, 0, 0], [1, IGNORE, 0, 0]], np.uint8)
    found = np.array([[0, 1, 0, 1], [1, 2, 0, 0], [1, 1, 0, 2]], np.uint8)
    pictures = drawn(image, mask, mask, found)

    assert list(pictures.shared) == ["image", "truth"]
    assert np.array_equal(np.asarray(pictures.shared["image"])[..., 0], np.asarray(image))
    assert pictures.shared["truth"].tobytes() == PredictedMask(mask, CLASSES).draw(image).tobytes()
    right, other = pictures.networks
    assert list(right) == list(other) == ["prediction", "difference"]
    assert right["prediction"].tobytes() == pictures.shared["truth"].tobytes()
    assert other["prediction"].tobytes() == PredictedMask(found, CLASSES).draw(image).tobytes()
    shown = np.asarray(other["difference"])
    errors = {
        colour: {(row, column) for row, column in np.ndindex(3, 4) if tuple(shown[row, column]) == colour} for colour in ERRORS.values()
    }
    assert errors == {MISSED: {(0, 2)}, FALSE: {(0, 1), (2, 3)}, CONFUSED: {(1, 0)}}
    assert not set(ERRORS.values()) & {tuple(pixel) for pixel in np.asarray(right["difference"]).reshape(-1, 3).tolist()}


def test_the_legend_has_the_colours_that_can_be_seen() -> None:
    image, mask, one = Image.new("RGB", (2, 2)), np.array([[0, 0], [0, 2]], np.uint8), np.zeros((2, 2), np.uint8)
    assert list(drawn(image, mask, one).legend) == ["b", *ERRORS]
    assert list(drawn(image, one, one).legend) == list(ERRORS)
    assert list(drawn(image, mask // 2, one, classes=("background", "nucleus")).legend) == ["nucleus", *list(ERRORS)[:2]]
    assert list(drawn(image, mask // 2, one, classes=("sky", "sea")).legend) == ["sea", "another class"]
    assert drawn(image, mask, one).legend["b"] == PredictedMask(mask, CLASSES).colours[2]


def test_large_images_are_shown_smaller_and_outlines_stay_sharp() -> None:
    mask = np.zeros((50, 100), np.uint8)
    mask[10:40, 20:60] = 1
    pictures = drawn(Image.new("RGB", (100, 50)), mask, mask, side=20)
    assert {picture.size for group in (pictures.shared, *pictures.networks) for picture in group.values()} == {(20, 10)}
    outline = np.asarray(pictures.shared["truth"]).reshape(-1, 3)
    assert PredictedMask(mask, CLASSES).colours[1] in {tuple(pixel) for pixel in outline.tolist()}


def test_of_a_volume_the_slice_with_the_most_of_objects_is_shown() -> None:
    volume = np.random.default_rng(0).normal(size=(3, 4, 5, 1)).astype(np.float32)
    mask = np.zeros((3, 4, 5), np.uint8)
    mask[0] = IGNORE
    mask[2, 1:3] = 1
    mask[1, 0, 0] = 2
    pictures = drawn(volume, mask, np.zeros_like(mask))
    assert pictures.note == "slice 3 of 3"
    assert pictures.shared["image"].size == (5, 4)
    low, high = np.asarray(pictures.shared["image"])[..., 0].argmin(), np.asarray(pictures.shared["image"])[..., 0].argmax()
    assert (low, high) == (volume[2].argmin(), volume[2].argmax())
    missed = (np.asarray(pictures.networks[0]["difference"]) == MISSED).all(-1)
    assert np.array_equal(missed, mask[2] == 1)
