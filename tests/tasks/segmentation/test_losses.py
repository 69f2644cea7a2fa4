"""Losses of masks against NumPy, torch and MONAI, value and gradient, with pixels that are ignored."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from senet.data.masks import IGNORE
from senet.errors import UsageError
from senet.tasks.segmentation.losses import MaskLoss, label_edges, loss_parts

WEIGHTS = (0.5, 2.0, 1.5)


def sample(classes: int = 3, size: tuple[int, ...] = (7, 5), ignored: bool = True) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(0)
    logits = torch.tensor(random.normal(size=(2, classes, *size)), requires_grad=True)
    targets = random.integers(classes, size=(2, *size)).astype(np.uint8)
    if ignored:
        targets[random.random(targets.shape) < 0.2] = IGNORE
    return logits, torch.from_numpy(targets)


def value_and_gradient(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    (gradient,) = torch.autograd.grad(loss, logits)
    return loss.detach(), gradient


def assert_equal(loss: Tensor, wanted: Tensor, logits: Tensor) -> None:
    for ours, theirs in zip(value_and_gradient(loss, logits), value_and_gradient(wanted, logits), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("size", [(7, 5), (3, 4, 5)])
def test_cross_entropy_is_torchs_weighted_mean(weights, size):
    logits, targets = sample(size=size)
    by_class = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    wanted = functional.cross_entropy(logits, targets.long(), by_class, ignore_index=IGNORE)
    assert_equal(MaskLoss(("ce",), weights)(logits, targets)["loss"], wanted, logits)


def test_pixels_on_edges_count_more():
    logits, targets = sample()
    truth = targets.numpy()
    logs = logits.detach().log_softmax(1).numpy()
    total = weight = 0.0
    for image in range(2):
        known = np.where(truth[image] == IGNORE, -1, truth[image].astype(int))
        for row, column in np.argwhere(known >= 0):
            across = [known[row, place] for place in (max(column - 1, 0), min(column + 1, 4))]
            down = [known[place, column] for place in (max(row - 1, 0), min(row + 1, 6))]
            edge = any(one != other and -1 not in (one, other) for one, other in (across, down))
            label = known[row, column]
            own = WEIGHTS[label] + 2 * edge
            total -= own * logs[image, label, row, column]
            weight += own
    assert MaskLoss(("ce",), WEIGHTS, edge_weight=2.0)(logits, targets)["loss"].item() == pytest.approx(total / weight, abs=1e-12)


def test_edges_are_those_of_the_authors_gradient():
    labels = np.random.default_rng(1).integers(2, size=(9, 11))
    gradients = np.gradient(labels.astype(float))
    assert (label_edges(torch.from_numpy(labels)[None])[0].numpy() == (gradients[0] ** 2 + gradients[1] ** 2 > 0)).all()


def test_dice_is_monais_over_the_batch():
    from monai.losses import DiceLoss

    logits, targets = sample(ignored=False)
    wanted = DiceLoss(softmax=True, to_onehot_y=True, batch=True, smooth_nr=0, smooth_dr=0)(logits, targets[:, None].long())
    assert_equal(MaskLoss(("dice",))(logits, targets)["loss"], wanted, logits)


def test_dice_leaves_out_ignored_pixels_and_classes_that_are_not_there():
    logits, targets = sample(classes=4)
    targets[targets == 2] = 1  # class 2 is absent
    known = (targets != IGNORE).numpy()
    shares = logits.detach().softmax(1).numpy()
    scores = []
    for label in (0, 1, 3):
        own, truth = shares[:, label][known], targets.numpy()[known] == label
        scores.append(2 * own[truth].sum() / (own.sum() + truth.sum()))
    assert MaskLoss(("dice",))(logits, targets)["loss"].item() == pytest.approx(1 - np.mean(scores), abs=1e-12)


def test_focal_is_its_definition_and_monais():
    from monai.losses import FocalLoss

    logits, targets = sample()
    logs, truth = logits.detach().log_softmax(1).numpy(), targets.numpy()
    known = truth != IGNORE
    of_truth = np.take_along_axis(logs, np.where(known, truth, 0)[:, None].astype(int), 1)[:, 0][known]
    weights = np.array(WEIGHTS)[truth[known]]
    wanted = -(weights * (1 - np.exp(of_truth)) ** 3 * of_truth).sum() / weights.sum()
    assert MaskLoss(("focal",), WEIGHTS, focal_gamma=3.0)(logits, targets)["loss"].item() == pytest.approx(wanted, abs=1e-12)
    logits, targets = sample(ignored=False)
    theirs = FocalLoss(use_softmax=True, to_onehot_y=True, gamma=2.0)(logits, targets[:, None].long())  # float32, a mean over classes, too
    assert MaskLoss(("focal",))(logits, targets)["loss"].item() == pytest.approx(3 * theirs.item(), rel=1e-6)


@pytest.mark.parametrize("part", ["ce", "dice", "focal"])
def test_ignored_pixels_have_no_gradient_and_none_known_no_loss(part):
    logits, targets = sample()
    _, gradient = value_and_gradient(MaskLoss((part,), WEIGHTS, 1.0)(logits, targets)["loss"], logits)
    ignored = (targets == IGNORE)[:, None].expand_as(gradient)
    assert (gradient[ignored] == 0).all()
    assert (gradient[~ignored] != 0).any()
    loss, gradient = value_and_gradient(MaskLoss((part,))(logits, torch.full_like(targets, IGNORE))["loss"], logits)
    assert loss == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("part", ["ce", "dice", "focal"])
def test_gradients_are_those_of_differences(part):
    logits, targets = sample(size=(2, 3))
    assert torch.autograd.gradcheck(lambda values: MaskLoss((part,), WEIGHTS, 0.5, 3.0)(values, targets)["loss"], logits)


def test_a_sum_tells_its_parts_in_float32():
    logits, targets = sample()
    losses = MaskLoss(("ce", "dice"))(logits.to(torch.bfloat16), targets)
    assert losses.keys() == {"loss", "ce_loss", "dice_loss"}
    assert losses["loss"] == losses["ce_loss"] + losses["dice_loss"]
    assert losses["loss"].dtype == torch.float32


def test_certain_predictions_have_finite_gradients():
    _, targets = sample(ignored=False)
    certain = (1e4 * functional.one_hot(targets.long(), 3).movedim(-1, 1)).double().requires_grad_()
    _, gradient = value_and_gradient(MaskLoss(("ce", "dice", "focal"))(certain, targets)["loss"], certain)
    assert gradient.isfinite().all()


def test_parts_are_named():
    assert loss_parts("focal + dice") == ("focal", "dice")
    with pytest.raises(UsageError, match=r"part of segmentation\.loss"):
        loss_parts("ce+dicee")
    with pytest.raises(UsageError, match="more than once"):
        loss_parts("ce+ce")
