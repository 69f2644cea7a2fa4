"""Counting that agrees with counting at once."""

import math
from dataclasses import replace

import pytest
import torch

from senet.training.tally import Figures, Tally


def step(loss: float, hits: float, images: int) -> tuple[Figures, int]:
    losses = {"loss": torch.tensor(loss), "part": torch.tensor(loss / 2)}
    return Figures.of(losses, {"accuracy": torch.tensor(100 * hits)}), images


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


def test_what_is_collected_on_the_way_changes_no_sum() -> None:
    on_the_way, at_once = Tally(), Tally()
    for number in range(5):
        for tally in (on_the_way, at_once):
            tally.add(*step(number / 2, number, 3))
        if number % 2:
            assert on_the_way.collect() is None
            assert on_the_way.waiting == 0
    assert on_the_way.waiting == 1
    on_the_way.flush()
    at_once.flush()
    assert on_the_way.state_dict() == at_once.state_dict()


class Copy:
    """Copy to the host that is done when it is told to be, or waited for."""

    def __init__(self) -> None:
        self.is_done = False

    def query(self) -> bool:
        return self.is_done

    def synchronize(self) -> None:
        self.is_done = True


def test_figures_on_their_way_are_not_waited_for_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    tally, copies = Tally(), []
    send = Tally._send

    def slowly(self: Tally) -> None:
        before = self._on_the_way
        send(self)
        if self._on_the_way is not before:
            copies.append(Copy())
            self._on_the_way = replace(self._on_the_way, copied=copies[-1])

    monkeypatch.setattr(Tally, "_send", slowly)
    for loss in (1.0, 2.0):
        tally.add(*step(loss, 0, 3))
        assert tally.collect() is None
    assert (tally.waiting, tally.images, len(copies)) == (2, 0, 1)
    copies[0].is_done = True
    tally.collect()
    assert (tally.waiting, tally.images, len(copies)) == (1, 3, 1)
    tally.add(*step(math.nan, 0, 3))
    assert tally.flush() == 1
    assert (tally.waiting, tally.images, len(copies)) == (0, 9, 2)


def test_only_the_loss_must_be_finite() -> None:
    tally = Tally()
    tally.add(Figures.of({"loss": torch.tensor(1.0), "part": torch.tensor(math.nan)}, {}), 1)
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
