"""Metrics of masks against loops over pixels and torchmetrics; what is absent; sums over batches and processes."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_jaccard_index

from senet.data.batch import Batch
from senet.data.masks import IGNORE
from senet.errors import UsageError
from senet.recipe import SegmentationRecipe
from senet.tasks.segmentation.boundary import boundary_score
from senet.tasks.segmentation.evaluator import MaskScores
from senet.tasks.segmentation.regions import REGION_COUNTS, count_regions, size_table

CLASSES = ("background", "cell", "nucleus")
SIZES = ((9, 12), (14, 7), (9, 12))


def predictions(seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    """Return log-probabilities and masks of images of several sizes, with patches of all classes and ignored pixels."""
    random = np.random.default_rng(seed)
    logs, masks = [], []
    for height, width in SIZES:
        coarse = random.integers(len(CLASSES), size=(height // 3 + 1, width // 3 + 1))
        mask = coarse.repeat(3, 0).repeat(3, 1)[:height, :width].astype(np.uint8)
        likely = np.where(random.random(mask.shape) < 0.3, random.integers(len(CLASSES), size=mask.shape), mask)
        values = torch.from_numpy(random.normal(size=(len(CLASSES), height, width)))
        values += 3 * functional.one_hot(torch.from_numpy(likely), len(CLASSES)).movedim(-1, 0)
        mask[random.random(mask.shape) < 0.1] = IGNORE
        logs.append(values.log_softmax(0))
        masks.append(torch.from_numpy(mask))
    return logs, masks


def scores(logs: list[Tensor], masks: list[Tensor], plan: SegmentationRecipe = SegmentationRecipe(), names=CLASSES) -> MaskScores:  # noqa: B008
    made = MaskScores(names, plan, torch.device("cpu"))
    for one, mask in zip(logs, masks, strict=True):
        made.update([one], Batch(one[None], [mask], []))
    return made


def test_overlaps_are_those_of_torchmetrics():
    logs, masks = predictions()
    likely, truth = (torch.cat([values.flatten() for values in parts]).long() for parts in ([one.argmax(0) for one in logs], masks))
    made = scores(logs, masks)
    found, table = made.compute(), made.tables()["class"]
    options = {"num_classes": 3, "average": "none", "ignore_index": IGNORE}
    for name, theirs in (("dice", multiclass_f1_score), ("iou", multiclass_jaccard_index)):
        wanted = 100 * theirs(likely, truth, **options).double()
        assert found[name] == pytest.approx(wanted[1:].mean().item(), rel=1e-6), "background is in no mean"
        assert [table[label][name] for label in CLASSES] == pytest.approx(wanted.tolist(), rel=1e-6)
    counts = [(truth == label).sum().item() for label in range(3)]
    assert [table[label]["pixels"] for label in CLASSES] == counts


def test_overlaps_and_loss_are_those_of_a_loop():
    logs, masks = predictions(1)
    hits = truths = guesses = pixels = 0
    nll = 0.0
    for one, mask in zip(logs, masks, strict=True):
        for row, column in product(*map(range, mask.shape)):
            label, guess = int(mask[row, column]), int(one[:, row, column].argmax())
            if label == IGNORE:
                continue
            pixels += 1
            nll -= one[label, row, column].item()
            hits += label == guess != 0
            truths += label != 0
            guesses += guess != 0
    found = scores(logs, masks).compute()
    assert found["global_dice"] == pytest.approx(200 * hits / (truths + guesses), abs=1e-12)
    assert found["loss"] == pytest.approx(nll / pixels, abs=1e-12)


def test_sums_of_batches_in_any_order_are_the_same():
    logs, masks = predictions()
    whole = MaskScores(CLASSES, SegmentationRecipe(), torch.device("cpu"))
    whole.update(logs, Batch(logs, masks, []))
    parts = scores(logs[::-1], masks[::-1])
    assert parts.compute() == pytest.approx(whole.compute(), abs=1e-12)
    ours, theirs = parts.tables(), whole.tables()
    assert ours["region size"] == theirs["region size"]
    for label in CLASSES:
        assert ours["class"][label] == pytest.approx(theirs["class"][label], abs=1e-12)


def test_a_class_that_is_nowhere_has_no_part_and_one_that_is_only_predicted_has_none_right():
    mask = torch.zeros(4, 4, dtype=torch.uint8)
    mask[0] = 1
    right = functional.one_hot(mask.long(), 3).movedim(-1, 0).double()
    found = scores([right], [mask])
    assert found.compute()["dice"] == 100
    assert found.compute()["boundary_f"] == 100
    assert found.tables()["class"]["nucleus"] == {"dice": None, "iou": None, "boundary_f": None, "pixels": 0}
    wrong = right.clone()
    wrong[2, 3, 3] = 2
    found = scores([wrong], [mask])
    assert found.compute()["dice"] == 50
    assert found.tables()["class"]["nucleus"]["dice"] == 0
    nothing = scores([right], [torch.full_like(mask, IGNORE)]).compute()
    assert np.isnan([nothing[name] for name in ("loss", "dice", "iou", "global_dice", "boundary_f")]).all()


def test_without_a_background_all_classes_have_a_part():
    logs, masks = predictions()
    made = scores(logs, masks, names=("road", "sky", "tree"))
    assert made.compute()["dice"] == pytest.approx(np.mean([row["dice"] for row in made.tables()["class"].values()]))


def test_a_label_that_is_no_class_is_named():
    logs, masks = predictions()
    masks[0][0, 0] = 7
    with pytest.raises(UsageError, match="label 7, and there are 3 classes"):
        scores(logs, masks)


def slow_boundary_score(truth: np.ndarray, predicted: np.ndarray, known: np.ndarray, tolerance: float) -> float:
    height, width = truth.shape
    edges = []
    for region in (truth, predicted):
        edge = []
        for row, column in np.argwhere(region):
            beside = [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
            edge += [(row, column)] * any(0 <= r < height and 0 <= c < width and known[r, c] and not region[r, c] for r, c in beside)
        edges.append(edge)
    if not all(edges):
        return float(not any(edges))
    near = [
        np.mean([any((r - p) ** 2 + (c - q) ** 2 <= tolerance**2 for p, q in other) for r, c in edge])
        for edge, other in zip(edges, edges[::-1], strict=True)
    ]
    return 2 * near[0] * near[1] / sum(near) if sum(near) else 0.0


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_boundaries_are_those_of_a_loop(tolerance, seed):
    logs, masks = predictions(seed)
    for one, mask in zip(logs, masks, strict=True):
        known = mask.numpy() != IGNORE
        truth, predicted = mask.numpy() == 1, (one.argmax(0).numpy() == 1) & known
        wanted = slow_boundary_score(truth, predicted, known, tolerance)
        assert boundary_score(truth, predicted, known, tolerance) == pytest.approx(wanted, abs=1e-12)


def test_a_boundary_that_is_off_counts_within_the_tolerance():
    truth, off = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    truth[5:15, 5:15], off[5:15, 7:17] = True, True
    known = np.ones_like(truth)
    assert boundary_score(truth, off, known, 2) == 1
    assert boundary_score(truth, off, known, 1) < 1
    assert boundary_score(known, known, known, 1) == 1, "two regions without boundary"
    assert boundary_score(truth, known, known, 1) == 0


def slow_regions(region: np.ndarray) -> list[set[tuple[int, int]]]:
    left, found = {tuple(place) for place in np.argwhere(region).tolist()}, []
    while left:
        grown, edge = set(), [left.pop()]
        while edge:
            row, column = place = edge.pop()
            grown.add(place)
            beside = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & left
            left -= beside
            edge += beside
        found.append(grown)
    return found


def slow_counts(truth: np.ndarray, predicted: np.ndarray, small: int, medium: int) -> np.ndarray:
    def size(region) -> int:
        return (len(region) > small) + (len(region) > medium)

    counts = np.zeros((3, len(REGION_COUNTS)), np.int64)
    regions = slow_regions(truth)
    for region in regions:
        hits = sum(predicted[place] for place in region)
        counts[size(region)] += 1, 2 * hits >= len(region), hits, len(region) - hits, 0
    for row, column in np.argwhere(predicted & ~truth):
        near = [min((row - p) ** 2 + (column - q) ** 2 for p, q in region) for region in regions]
        counts[size(regions[int(np.argmin(near))]), 4] += 1
    return counts


@pytest.mark.parametrize("seed", range(20))
def test_regions_are_those_of_a_loop(seed):
    random = np.random.default_rng(seed)
    truth = np.zeros((17, 23), bool)
    for row, column, height, width in random.integers(1, 8, (4, 4)) * [2, 2, 1, 1]:
        truth[row : row + height, column : column + width] = True
    predicted = truth ^ (random.random(truth.shape) < 0.15)
    ours, wanted = count_regions(truth, predicted, np.array([8, 25])), slow_counts(truth, predicted, 8, 25)
    assert (ours[:, :4] == wanted[:, :4]).all()
    assert ours[:, 4].sum() == wanted[:, 4].sum()
    if len({(len(region) > 8) + (len(region) > 25) for region in slow_regions(truth)}) == 1:
        assert (ours == wanted).all(), "with several sizes, pixels between two regions may be held against either"


def test_wrong_pixels_are_held_against_the_nearest_region():
    truth = np.zeros((10, 40), bool)
    truth[2:4, 2:4], truth[0:8, 20:30] = True, True
    predicted = truth.copy()
    predicted[5, 3], predicted[9, 25] = True, True
    counts = count_regions(truth, predicted, np.array([10, 20]))
    assert counts.tolist() == [[1, 1, 4, 0, 1], [0] * 5, [1, 1, 80, 0, 1]]
    alone = count_regions(np.zeros_like(truth), truth, np.array([10, 20]))
    assert alone[:, 4].tolist() == [4, 0, 80], "without truth, each predicted region counts by its own size"


def test_small_regions_can_be_lost_while_dice_hardly_falls():
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[2:4, 2:4] = mask[2:4, 8:10] = 1
    mask[20:60, 20:60] = 1
    predicted = mask.clone()
    predicted[:10] = 0
    logs = functional.one_hot(predicted.long(), 2).movedim(-1, 0).double()
    made = scores([logs], [mask], SegmentationRecipe(region_sizes=(10, 100)), ("background", "cell"))
    assert made.compute()["dice"] > 99
    table = made.tables()["region size"]
    assert table["small"] == {"dice": 0, "recall": 0, "found": 0, "regions": 2, "up to pixels": 10}
    assert table["medium"] == {"dice": None, "recall": None, "found": None, "regions": 0, "up to pixels": 100}
    assert table["large"] == {"dice": 100, "recall": 100, "found": 100, "regions": 1, "up to pixels": None}


def test_thirds_of_the_regions_are_small_medium_and_large():
    mask = np.zeros((40, 400), bool)
    for place in range(12):
        mask[:3, 10 * place : 10 * place + place % 6 + 1] = True  # 3, 6, ... 18 pixels, each twice
    bounds = np.arange(1, 50)
    table = size_table(count_regions(mask, mask, bounds), bounds, None)
    assert [row["regions"] for row in table.values()] == [4, 4, 4]
    assert [row["up to pixels"] for row in table.values()] == [6, 12, None]
