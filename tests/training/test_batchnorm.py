"""Frozen BatchNorm stands still in every way, and the rest goes on learning."""

import torch
from torch import nn

from senet.models.create import create_model
from senet.training.batchnorm import freeze_batchnorm, share_buffers


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


def test_one_process_has_nothing_to_share() -> None:
    model = nn.BatchNorm1d(2)
    share_buffers(model)
    assert torch.equal(model.running_var, torch.ones(2))
