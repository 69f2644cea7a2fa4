import numpy as np
import pytest
import torch
from torch import Tensor

from senet.measuring import scores as module
from senet.measuring.scores import Loss, Scores, points_lost


def of_images(images: Tensor, *, higher_is_better: bool = True) -> Scores:
    return Scores(float(images.mean()), images, higher_is_better)


def right(share: float, images: int, seed: int) -> Tensor:
    return (torch.rand(images, generator=torch.Generator().manual_seed(seed)) < share).double() * 100


def slow_bootstrap(differences: np.ndarray, resamples: int) -> np.ndarray:
    draw = np.random.default_rng(7)
    means = [draw.choice(differences, len(differences)).mean() for _ in range(resamples)]
    return np.quantile(means, (0.025, 0.975))


@pytest.mark.parametrize("kind", ["right or wrong", "continuous"])
def test_interval_is_that_of_images_drawn_with_replacement(kind: str) -> None:
    if kind == "continuous":
        before = torch.rand(257, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        after = before - 0.1 * torch.rand(257, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) ** 2
    else:
        before, after = right(0.8, 501, 1), right(0.7, 501, 2)
    loss = points_lost(of_images(before), of_images(after))
    differences = (before - after).numpy()
    deviation = differences.std() / len(differences) ** 0.5
    assert loss.points == pytest.approx(differences.mean(), abs=1e-9)
    np.testing.assert_allclose([loss.low, loss.high], slow_bootstrap(differences, 4000), atol=0.25 * deviation)


def test_a_lower_metric_that_should_be_low_is_a_gain() -> None:
    before, after = of_images(right(0.5, 99, 1), higher_is_better=False), of_images(right(0.5, 99, 1) / 2, higher_is_better=False)
    loss = points_lost(before, after)
    assert loss.points == pytest.approx(after.value - before.value)
    assert loss.low is not None
    assert loss.high is not None
    assert loss.low < loss.points < loss.high < 0


def test_the_same_images_give_the_same_interval_in_any_order_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = torch.rand(83, dtype=torch.float64), torch.rand(83, dtype=torch.float64)
    loss = points_lost(of_images(before), of_images(after))
    order = torch.randperm(83)
    assert points_lost(of_images(before), of_images(after)) == loss
    shuffled = points_lost(of_images(before[order]), of_images(after[order]))
    assert [shuffled.low, shuffled.high] == pytest.approx([loss.low, loss.high], abs=1e-12)
    monkeypatch.setattr(module, "DRAWN_TOGETHER", 83 * 100)
    apart = points_lost(of_images(before), of_images(after))
    assert [apart.low, apart.high] == pytest.approx([loss.low, loss.high], abs=1e-12)


def test_no_change_loses_nothing() -> None:
    images = right(0.6, 50, 5)
    assert points_lost(of_images(images), of_images(images.clone())) == Loss(0.0, 0.0, 0.0)


def test_a_metric_without_images_has_no_interval() -> None:
    loss = points_lost(Scores(0.75, metric="mIoU", unit=""), Scores(0.5, metric="mIoU", unit=""))
    assert loss == Loss(0.25, None, None, "")
    assert loss.text(3) == "0.250"
    assert points_lost(Scores(80.0), of_images(torch.tensor([100.0, 0.0]))) == Loss(30.0)


def test_losses_read_with_their_interval() -> None:
    assert Loss(0.02, -0.05, 0.09).text() == "0.02 points (\N{MINUS SIGN}0.05 to 0.09)"
    assert Loss(-0.001, -0.001, 0.0).text() == "0.00 points (0.00 to 0.00)"
    assert Loss(0.02, -0.05, 0.09).to_dict() == {"points": 0.02, "low": -0.05, "high": 0.09, "unit": "points"}


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="mean of the 2 images is 50, and the metric 80"):
        Scores(80.0, torch.tensor([0.0, 100.0]))
    with pytest.raises(ValueError, match="top-1 cannot be compared with Dice"):
        points_lost(Scores(80.0), Scores(80.0, metric="Dice"))
    with pytest.raises(ValueError, match="3 images cannot be compared with 4"):
        points_lost(of_images(torch.ones(3)), of_images(torch.ones(4)))


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Loss(0.02, -0.05, 0.09), ("0.02", "(\N{MINUS SIGN}0.05 to 0.09)")),
        (Loss(-1.0), ("\N{MINUS SIGN}1.00", "")),
        (Loss(0.5, 0.25, 0.75, unit=""), ("0.50", "(0.25 to 0.75)")),
    ],
)
def test_loss_and_interval_are_told_apart(loss: Loss, words: tuple[str, str]) -> None:
    assert loss.words() == words
