"""Counting that agrees with counting at once."""

import math

import pytest
import torch

from senet.training.tally import Tally


def step(loss: float, hits: float, images: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], int]:
    return {"loss": torch.tensor(loss), "part": torch.tensor(loss / 2)}, {"accuracy": torch.tensor(100 * hits)}, images


def test_means_weigh_every_image_alike_whenever_they_are_flushed() -> None:
    often, once = Tally(), Tally()
    for entry in (step(0.5, 2, 3), step(2.0, 1, 2)):
        often.add(*entry)
        often.flush()
        once.add(*entry)
    once.flush()
    loss = (3 * 0.5 + 2 * 2.0) / 5
    assert often.means() == once.means() == {"train_loss": loss, "train_part": loss / 2, "train_accuracy": 100 * 3 / 5}


def test_the_first_loss_that_is_not_finite_is_named() -> None:
    tally = Tally()
    for loss in (1.0, math.inf, math.nan, 1.0):
        tally.add(*step(loss, 0, 3))
    assert tally.flush() == 1
    assert tally.flush() is None


def test_only_the_loss_must_be_finite() -> None:
    tally = Tally()
    tally.add({"loss": torch.tensor(1.0), "part": torch.tensor(math.nan)}, {}, 1)
    assert tally.flush() is None


def test_counts_carry_over() -> None:
    tally = Tally()
    tally.add(*step(0.5, 2, 3))
    tally.flush()
    tally.seconds = 2.5
    state = tally.state_dict()
    assert state == {"sums": {"loss": 1.5, "part": 0.75, "accuracy": 200.0}, "images": 3, "seconds": 2.5}
    assert Tally.restored(state, "accuracy").state_dict() == state


def test_the_first_format_of_checkpoints_counted_hits() -> None:
    old = {"loss": 1.5, "hits": 2, "images": 3, "seconds": 2.5}
    assert Tally.restored(old, "top1").means() == pytest.approx({"train_loss": 0.5, "train_top1": 200 / 3})
