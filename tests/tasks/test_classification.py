"""The loss against its formula; counting that agrees with counting at once."""

import math

import pytest
import torch

from senet.tasks.classification import Classification, Tally


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_cross_entropy_with_the_smoothed_target(smoothing: float) -> None:
    logits = torch.randn(5, 4, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1, 1, 2])
    target = torch.full((5, 4), smoothing / 4, dtype=torch.float64)
    target[range(5), labels] += 1 - smoothing
    wanted = -(target * logits.log_softmax(1)).sum(1).mean()
    assert Classification(smoothing).loss(logits, labels).item() == pytest.approx(wanted.item(), rel=1e-12)


def steps() -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [5.0, 0.0]])
    return [
        (torch.tensor(0.5), logits, torch.tensor([0, 0, 0])),
        (torch.tensor(2.0), logits[:2], torch.tensor([1, 1])),
    ]


def test_means_weigh_every_image_alike_whenever_they_are_settled() -> None:
    often, once = Tally(), Tally()
    for step in steps():
        often.add(*step)
        often.settle()
        once.add(*step)
    once.settle()
    assert often.means() == once.means() == {"train_loss": (3 * 0.5 + 2 * 2.0) / 5, "train_top1": 100 * 3 / 5}


def test_the_first_loss_that_is_not_finite_is_named() -> None:
    tally = Tally()
    losses = (1.0, math.inf, math.nan, 1.0)
    for loss in losses:
        tally.add(torch.tensor(loss), *steps()[0][1:])
    assert tally.settle() == 1
    assert tally.settle() is None


def test_counts_carry_over() -> None:
    tally = Tally()
    tally.add(*steps()[0])
    tally.settle()
    tally.seconds = 2.5
    assert Tally(**tally.state_dict()).state_dict() == {"loss": 1.5, "hits": 2, "images": 3, "seconds": 2.5}
