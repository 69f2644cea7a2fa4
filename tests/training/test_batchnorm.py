"""Frozen BatchNorm stands still in every way, and the rest goes on learning."""

import pytest
import torch
from torch import nn

from senet.models.create import create_model
from senet.training.batchnorm import broadcast_buffers, freeze_batchnorm


def test_a_step_moves_everything_but_batchnorm() -> None:
    torch.manual_seed(0)
    model = create_model("se_preresnet20", num_classes=3)
    model(torch.randn(4, 3, 16, 16)).sum().backward()  # leaves gradients, which must not be used later
    optimizer = torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.1)
    model.train()
    freeze_batchnorm(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model(torch.randn(4, 3, 16, 16)).square().sum().backward()
    optimizer.step()
    for name, module in model.named_modules():
        for key, tensor in module.state_dict(prefix=f"{name}.").items() if isinstance(module, nn.BatchNorm2d | nn.Conv2d) else ():
            assert torch.equal(tensor, before[key]) == isinstance(module, nn.BatchNorm2d), key


def test_train_wakes_the_statistics_and_freezing_again_stops_them() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    model.train()
    freeze_batchnorm(model)
    assert [module.training for module in model] == [False, True]
    model.train()
    assert model[0].training
    freeze_batchnorm(model)
    assert not model[0].training


@pytest.mark.parametrize("processes", [1, 2])
def test_buffers_are_those_of_the_first_process(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """Several processes get every buffer from the first; a single one has nothing to ask, and no group to ask in."""
    sources = []

    def receive(tensor: torch.Tensor, src: int) -> None:
        sources.append(src)
        tensor.fill_(7)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: processes > 1)
    monkeypatch.setattr(torch.distributed, "broadcast", receive)
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2), nn.BatchNorm1d(3))
    broadcast_buffers(model)
    assert sources == [0] * (6 if processes > 1 else 0)
    assert all((buffer == 7).all() == (processes > 1) for buffer in model.buffers())
    assert not (model[1].weight == 7).any()
