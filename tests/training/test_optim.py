"""SGD does what its formula says, and decays what it should."""

import pytest
import torch
from torch import nn

from senet.errors import UsageError
from senet.models.create import create_model
from senet.recipe import OptimRecipe
from senet.training.optim import build_sgd, parameter_groups, set_rate


def test_everything_decays_unless_told_otherwise() -> None:
    model = create_model("se_preresnet20")
    (group,) = parameter_groups(model, OptimRecipe(weight_decay=0.01))
    assert group["weight_decay"] == 0.01
    assert len(group["params"]) == len(list(model.parameters()))


def test_batchnorm_and_biases_can_be_spared() -> None:
    model = create_model("se_preresnet20")
    decayed, spared = parameter_groups(model, OptimRecipe(weight_decay=0.01, decay_norm_and_bias=False))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    batchnorm = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    wanted = batchnorm | {name for name in names.values() if name.endswith("bias")}
    assert {names[id(parameter)] for parameter in spared["params"]} == wanted
    assert {names[id(parameter)] for parameter in decayed["params"]} == set(names.values()) - wanted
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)


def test_two_steps_follow_the_formula_of_nesterov_momentum() -> None:
    weight, bias, lr, momentum, decay = 2.0, 1.0, 0.1, 0.9, 0.01
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, weight)
    nn.init.constant_(layer.bias, bias)
    optimizer = build_sgd(layer, OptimRecipe(lr=5.0, momentum=momentum, weight_decay=decay, decay_norm_and_bias=False))
    velocity_weight = velocity_bias = 0.0
    for step in range(2):
        set_rate(optimizer, lr)
        optimizer.zero_grad()
        layer(torch.tensor([[3.0]])).sum().backward()
        optimizer.step()
        gradient = 3.0 + decay * weight
        velocity_weight = gradient if step == 0 else momentum * velocity_weight + gradient
        velocity_bias = 1.0 if step == 0 else momentum * velocity_bias + 1.0
        weight -= lr * (gradient + momentum * velocity_weight)
        bias -= lr * (1.0 + momentum * velocity_bias)
    assert layer.weight.item() == pytest.approx(weight, rel=1e-6)
    assert layer.bias.item() == pytest.approx(bias, rel=1e-6)


def test_nesterov_without_momentum_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"optim\.nesterov needs optim\.momentum above 0"):
        build_sgd(nn.Linear(1, 1), OptimRecipe(momentum=0.0))
