import numpy as np
import pytest
import torch

from senet.analysis.moments import ClassMoments


@pytest.mark.parametrize("batch", [1, 7, 64, 200])
def test_batches_merge_to_the_whole(batch):
    values = torch.randn(200, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(200) % 3 * 2  # classes 0, 2, 4
    moments = ClassMoments(5)
    for start in range(0, 200, batch):
        moments.update(values[start : start + batch], labels[start : start + batch])
    assert moments.count.tolist() == [67, 0, 67, 0, 66]
    for label in (0, 2, 4):
        torch.testing.assert_close(moments.mean[label], values[labels == label].mean(0), rtol=1e-13, atol=1e-15)
        torch.testing.assert_close(moments.std[label], values[labels == label].std(0, correction=0), rtol=1e-13, atol=0.0)


def test_a_large_mean_does_not_cancel_the_spread():
    # The textbook mean(x^2) - mean(x)^2 returns 0 or noise here.
    values = torch.tensor([1e9 - 1, 1e9, 1e9 + 1], dtype=torch.float64)[:, None]
    moments = ClassMoments(1)
    for value in values:
        moments.update(value[None], torch.tensor([0]))
    assert moments.std.item() == pytest.approx((2 / 3) ** 0.5, rel=1e-6)


def test_sums_in_float64_whatever_comes_in():
    moments = ClassMoments(1)
    for _ in range(3000):
        moments.update(torch.full((1, 1), 0.1, dtype=torch.float16), torch.tensor([0]))
    assert moments.mean.item() == pytest.approx(torch.tensor(0.1, dtype=torch.float16).item(), rel=1e-12)
    assert moments.std.item() < 1e-12


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_weighted_batches_merge_to_the_whole(batch):
    generator = torch.Generator().manual_seed(0)
    values = 5 + torch.randn(40, 5, dtype=torch.float64, generator=generator)
    weights = torch.randint(0, 900, (40, 4), generator=generator)
    weights[:, 2] = 0
    weights[::3, 0] = 0
    moments = ClassMoments(5)
    for start in range(0, 40, batch):
        part = weights[start : start + batch]
        moments.update_weighted(values[start : start + batch], part[:, : 2 if not part[:, 2:].any() else 4])
    assert moments.count.tolist() == weights.sum(0).tolist()
    x = values.numpy()
    for label in (0, 1, 3):
        w = weights[:, label].numpy()
        mean = np.average(x, axis=0, weights=w)
        np.testing.assert_allclose(moments.mean[label], mean, rtol=1e-13)
        np.testing.assert_allclose(moments.std[label], np.sqrt(np.average((x - mean) ** 2, axis=0, weights=w)), rtol=1e-12)


def test_weights_of_one_are_labels():
    values = torch.randn(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 4
    by_label, by_weight = ClassMoments(3), ClassMoments(3)
    for part in torch.arange(30).split(8):
        by_label.update(values[part], labels[part])
        by_weight.update_weighted(values[part], torch.nn.functional.one_hot(labels[part], 4))
    assert torch.equal(by_label.count, by_weight.count)
    torch.testing.assert_close(by_label.mean, by_weight.mean, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(by_label.std, by_weight.std, rtol=1e-13, atol=0.0)


def test_weights_alone_of_nothing_add_nothing():
    moments = ClassMoments(2)
    moments.update_weighted(torch.ones(3, 2), torch.zeros(3, 0, dtype=torch.int64))
    moments.update_weighted(torch.ones(3, 2), torch.zeros(3, 2, dtype=torch.int64))
    assert not moments.count.any()
