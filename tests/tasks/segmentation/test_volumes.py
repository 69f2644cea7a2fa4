"""A volume's slices give the volume's Dice, in whatever order, batches and processes they come."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from senet.data.batch import Batch
from senet.data.masks import IGNORE
from senet.recipe import SegmentationRecipe
from senet.tasks.segmentation.evaluator import MaskScores
from senet.tasks.segmentation.volumes import MEAN_ROW, ImageGroups, mean_volume_dice, volume_table

CLASSES = ("background", "organ", "lesion")


@pytest.fixture
def volumes() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Truth and logits (K, D, H, W) of three volumes of their own depths and sizes; the lesion is missing in one, some is ignored."""
    numbers = np.random.default_rng(0)
    truth, logits = [], []
    for shape, classes in (((5, 6, 7), 3), ((3, 9, 4), 3), ((4, 6, 7), 2)):
        mask = numbers.integers(0, classes, shape).astype(np.uint8)
        mask[numbers.random(shape) < 0.1] = IGNORE
        truth.append(mask)
        guess = numbers.normal(size=(3, *shape)).astype(np.float32)
        guess[2] -= 9 if classes == 2 else 0
        logits.append(guess)
    return truth, logits


def slow_dice(truth: np.ndarray, logits: np.ndarray, index: int) -> float:
    """Return the Dice of a class of one volume by a loop over all of its voxels."""
    hits = size = 0
    for place in np.ndindex(truth.shape):
        if truth[place] != IGNORE:
            predicted = int(np.argmax(logits[(slice(None), *place)]))
            hits += predicted == truth[place] == index
            size += int(predicted == index) + int(truth[place] == index)
    return 100 * 2 * hits / size if size else float("nan")


def scores(truth, logits, order: np.ndarray, groups: ImageGroups) -> MaskScores:
    """Judge slices in an order, in batches of three where sizes agree."""
    slices = [(case, place) for case, mask in enumerate(truth) for place in range(len(mask))]
    evaluator = MaskScores(CLASSES, SegmentationRecipe(), torch.device("cpu"), groups)
    for first in range(0, len(order), 3):
        chosen = order[first : first + 3].tolist()
        logs = [torch.from_numpy(logits[slices[index][0]][:, slices[index][1]]).log_softmax(0) for index in chosen]
        masks = [torch.from_numpy(truth[slices[index][0]][slices[index][1]]) for index in chosen]
        evaluator.update(logs, Batch(torch.zeros(len(chosen)), masks, [], chosen))
    return evaluator


def test_slices_give_the_dice_of_volumes(volumes) -> None:
    truth, logits = volumes
    numbers = np.repeat(np.arange(3), [len(mask) for mask in truth])
    groups = ImageGroups(numbers, ["a", "b", "c"])
    evaluator = scores(truth, logits, np.random.default_rng(1).permutation(len(numbers)), groups)
    want = np.array([[slow_dice(mask, logs, index) for index in (1, 2)] for mask, logs in zip(truth, logits, strict=True)])
    assert evaluator.compute()["volume_dice"] == pytest.approx(np.nanmean(np.nanmean(want, 1)), abs=1e-9)
    table = evaluator.tables()["volume"]
    assert list(table) == ["a", "b", "c", MEAN_ROW]
    for name, row in zip("abc", want, strict=True):
        assert table[name]["dice organ"] == pytest.approx(row[0], abs=1e-9)
        assert table[name]["dice"] == pytest.approx(np.nanmean(row), abs=1e-9)
    assert table["c"]["dice lesion"] is None, "neither in the truth nor predicted"
    assert table[MEAN_ROW]["dice lesion"] == pytest.approx(np.nanmean(want[:, 1]), abs=1e-9)


def test_what_processes_saw_adds_up_whoever_saw_which_slice(volumes) -> None:
    truth, logits = volumes
    numbers = np.repeat(np.arange(3), [len(mask) for mask in truth])
    groups, order = ImageGroups(numbers, ["a", "b", "c"]), np.random.default_rng(2).permutation(len(numbers))
    parts = [scores(truth, logits, order[rank::2], groups) for rank in range(2)]
    sums = parts[0]._sums["volumes"] + parts[1]._sums["volumes"]
    whole = scores(truth, logits, np.arange(len(numbers)), groups)
    assert np.array_equal(sums, whole._sums["volumes"])
    assert mean_volume_dice(sums, [1, 2]) == whole.compute()["volume_dice"]
    assert volume_table(sums, groups.names, CLASSES, [1, 2]) == whole.tables()["volume"]


def test_images_that_are_no_slices_have_no_volume() -> None:
    assert ImageGroups.of(SimpleNamespace()) is None
    evaluator = MaskScores(CLASSES, SegmentationRecipe(), torch.device("cpu"))
    mask = torch.zeros(4, 4, dtype=torch.uint8)
    evaluator.update([torch.zeros(3, 4, 4).log_softmax(0)], Batch(torch.zeros(1), [mask], []))
    assert "volume_dice" not in evaluator.compute()
    assert "volume" not in evaluator.tables()
