"""Importance of channels, against loops and autograd written out."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import senet
from senet.compression.pruning.channels import Channels
from senet.compression.pruning.coupling import couple
from senet.compression.pruning.importance import Evidence, Importance, importance
from senet.errors import UsageError

pytest.importorskip("torch_pruning", reason="Torch-Pruning is not installed: pip install torch-pruning")


class Recalibrated(nn.Module):
    """Two branches that are added, one of which a gate rescales, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.between = nn.Conv2d(6, 7, 1)
        self.second = nn.Conv2d(7, 6, 1)
        self.up = nn.ConvTranspose2d(6, 4, 1)
        self.se = senet.ChannelSE(6, hidden=3)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = torch.relu(x + self.se(self.second(torch.relu(self.between(x)))))
        return self.head(self.up(x).mean((2, 3)))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


BATCHES = [(drawn(4, 3, 7, 5, seed=1), torch.tensor([0, 1, 0, 4])), (drawn(3, 3, 7, 5, seed=2), torch.tensor([1, 1, 0]))]


@pytest.fixture
def model() -> Recalibrated:
    torch.manual_seed(0)
    return Recalibrated().double().eval()


def ranked(model: nn.Module, rank: str, **evidence: Any) -> dict[str, tuple[Channels, Importance]]:
    sets = couple(model, drawn(1, 3, 7, 5))
    found = importance(model, sets, rank, Evidence(**evidence))
    assert all((score is None) == bool(own.fixed) for own, score in zip(sets, found, strict=True))
    return {own.name: (own, score) for own, score in zip(sets, found, strict=True) if score is not None}


def relative(values: Any) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return values / values.mean()


def close(found: Importance, want: np.ndarray) -> None:
    np.testing.assert_allclose(found.values.numpy(), want, rtol=1e-12)


@pytest.mark.parametrize(("rank", "order"), [("l1", 1), ("l2", 2)])
def test_norms_are_of_the_weights_that_give_a_channel(model: Recalibrated, rank: str, order: int) -> None:
    found = ranked(model, rank)
    assert found.keys() == {"first", "between", "up"}  # the head's outputs and the hidden units stay

    def norms(layer: nn.Conv2d) -> np.ndarray:
        weight = layer.weight.detach().numpy()
        return np.array([(np.abs(row) ** order).sum() ** (1 / order) for row in weight])

    close(found["between"][1], relative(norms(model.between)))
    close(found["first"][1], (relative(norms(model.first)) + relative(norms(model.second))) / 2)
    close(found["up"][1], relative((model.up.weight.detach().abs().numpy() ** order).sum((0, 2, 3)) ** (1 / order)))
    assert {score.measure for _, score in found.values()} == {rank}


def test_gradients_are_summed_over_batches_and_weights(model: Recalibrated) -> None:
    sums = {name: np.zeros(getattr(model, name).out_channels) for name in ("first", "second", "between")}
    for images, labels in BATCHES:
        weights = [getattr(model, name).weight for name in sums]
        for name, gradient in zip(sums, torch.autograd.grad(cross_entropy(model(images), labels), weights), strict=True):
            for out in range(len(sums[name])):
                sums[name][out] += abs((getattr(model, name).weight[out] * gradient[out]).detach().numpy()).sum()
    found = ranked(model, "taylor", batches=BATCHES)
    close(found["between"][1], relative(sums["between"]))
    close(found["first"][1], (relative(sums["first"]) + relative(sums["second"])) / 2)
    assert all(p.grad is None for p in model.parameters())


def test_a_loss_of_ones_own_is_used(model: Recalibrated) -> None:
    found = ranked(model, "taylor", batches=BATCHES, loss=lambda outputs, labels: outputs[:, 0].square().sum())
    assert not torch.equal(found["between"][1].values, ranked(model, "taylor", batches=BATCHES)["between"][1].values)


def gates_and_maps(model: Recalibrated) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return gates (N, C), the maps that they rescale (N, C, H, W) and labels (N,) of all batches."""
    gates, maps = [], []
    for images, _ in BATCHES:
        with torch.no_grad():
            x = model.second(torch.relu(model.between(model.first(images))))
            hidden = torch.relu(x.mean((2, 3)) @ model.se.fc1.weight.T + model.se.fc1.bias)
            gates.append(torch.sigmoid(hidden @ model.se.fc2.weight.T + model.se.fc2.bias).numpy())
            maps.append(x.numpy())
    return np.concatenate(gates), np.concatenate(maps), np.concatenate([labels.numpy() for _, labels in BATCHES])


def test_gates_rank_what_they_rescale_and_weights_the_rest(model: Recalibrated) -> None:
    gates, maps, labels = gates_and_maps(model)
    mean = gates.mean(0)
    spread = np.stack([gates[labels == label].mean(0) for label in np.unique(labels)]).std(0)
    strength = np.sqrt((gates[:, :, None, None] * maps) ** 2).reshape(*gates.shape, -1)
    want = {"gate": mean, "gate_spread": mean * spread, "gate_activation": np.sqrt((strength**2).mean(2)).mean(0)}
    plain = ranked(model, "l1")
    for rank, values in want.items():
        found = ranked(model, rank, batches=BATCHES)
        close(found["first"][1], relative(values))
        assert [found[name][1].measure for name in ("first", "between")] == [rank, "l1"]
        assert torch.equal(found["between"][1].values, plain["between"][1].values)


def test_chance_is_drawn_by_the_seed(model: Recalibrated) -> None:
    first, again, other = (ranked(model, "random", seed=seed)["first"][1].values for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("rank", "batches", "said"),
    [
        ("gate", None, "needs batches"),
        ("taylor", [], "hold none"),
        ("gate_activation", [], "no channel gates|no images"),
        ("gate_spread", [(drawn(2, 3, 7, 5), torch.tensor([1, 1]))], "two classes"),
        ("gate", [(torch.full((2, 3, 7, 5), torch.nan).double(), torch.tensor([0, 1]))], "'gate' is not finite at se"),
        ("taylor", [(torch.full((2, 3, 7, 5), torch.nan).double(), torch.tensor([0, 1]))], "'taylor' is not finite at first"),
    ],
)
def test_what_is_missing_is_said(model: Recalibrated, rank: str, batches: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ranked(model, rank, batches=batches)


def test_outputs_of_a_transposed_convolution_with_groups_are_summed_as_they_lie() -> None:
    torch.manual_seed(1)
    layer = nn.ConvTranspose2d(6, 4, 3, groups=2).double()
    from senet.compression.pruning.importance import _by_output

    images, want = torch.zeros(1, 6, 3, 3, dtype=torch.float64), np.zeros(4)
    for channel in range(6):
        one = images.clone()
        one[0, channel, 1, 1] = 1
        with torch.no_grad():
            map_ = nn.functional.conv_transpose2d(one, layer.weight.abs(), groups=2)
        want += map_[0].sum((1, 2)).numpy()
    np.testing.assert_allclose(_by_output(layer, layer.weight.detach().abs()).numpy(), want, rtol=1e-12)
