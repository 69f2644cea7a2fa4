import numpy as np
import pytest
import torch

from senet.analysis.covariance import GateCovariance


@pytest.mark.parametrize("batch", [1, 4, 11])
def test_batches_merge_to_the_whole_whatever_the_mean(batch: int) -> None:
    values = 1e6 + torch.randn(11, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = GateCovariance(5)
    for part in values.split(batch):
        found.update(part)
    rows = values.transpose(1, 2).flatten(0, 1).numpy()
    np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-15)
    np.testing.assert_allclose(found.covariance, np.cov(rows.T, bias=True), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found.deviation, rows.std(0), rtol=1e-8)
    assert found.count == 11


def test_an_image_counts_once_however_many_positions_it_has() -> None:
    few, many = torch.tensor([[[0.0, 1.0]]]).double(), torch.tensor([[[0.5] * 8]]).double()
    found = GateCovariance(1)
    found.update(few)
    found.update(many)
    assert found.mean.item() == pytest.approx(0.5)
    assert found.covariance.item() == pytest.approx(0.125)


@pytest.mark.parametrize("directions", [1, 2, 3])
def test_equal_directions_count_as_many(directions: int) -> None:
    axes = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0][:directions]
    found = GateCovariance(5)
    found.update(torch.cat([axes, -axes])[..., None])
    assert found.effective_rank == pytest.approx(directions, rel=1e-9)


def test_what_does_not_vary_has_no_rank() -> None:
    found = GateCovariance(3)
    found.update(torch.full((4, 3, 2), 0.25, dtype=torch.float64))
    assert found.effective_rank == 0
    assert GateCovariance(2).effective_rank == 0
