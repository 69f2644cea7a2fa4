"""SGD does what its formula says, and decays what it should."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from senet.errors import UsageError
from senet.models.create import create_model
from senet.recipe import OptimRecipe
from senet.training.optim import FusedAdamW, FusedSGD, build_optimizer, parameter_groups, set_rate


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
    optimizer = build_optimizer(layer, OptimRecipe(lr=5.0, momentum=momentum, weight_decay=decay, decay_norm_and_bias=False))
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
        build_optimizer(nn.Linear(1, 1), OptimRecipe(momentum=0.0))


def stepped(kind: Callable[..., torch.optim.SGD], steps: int = 4, **options: Any) -> tuple[torch.Tensor, torch.optim.SGD]:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(6, 4, 1, 1).to(memory_format=torch.channels_last))
    sgd = kind([{"params": [weight], "weight_decay": 1e-3}], lr=0.5, **options)
    for step in range(steps):
        set_rate(sgd, 0.1 / (1 + step))
        weight.grad = torch.randn(6, 4, 1, 1)
        sgd.step()
    return weight.detach(), sgd


@pytest.mark.parametrize("options", [{"momentum": 0.9, "nesterov": True}, {"momentum": 0.9}, {}], ids=str)
def test_fused_sgd_is_sgd_with_its_rate_on_the_device(options: dict) -> None:
    found, fused = stepped(FusedSGD, **options)
    wanted, plain = stepped(torch.optim.SGD, **options)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
    assert fused.param_groups[0]["lr"] == plain.param_groups[0]["lr"] == 0.1 / 4
    assert type(fused.state_dict()["param_groups"][0]["lr"]) is float


def test_a_first_step_that_fp16_skips_leaves_momentum_at_zero() -> None:
    weight = nn.Parameter(torch.ones(3))
    sgd = FusedSGD([{"params": [weight]}], lr=0.1, momentum=0.9)
    set_rate(sgd, 0.1)
    sgd.grad_scale, sgd.found_inf = torch.tensor(2.0), torch.tensor(1.0)  # pyright: ignore[reportAttributeAccessIssue]
    weight.grad = torch.full((3,), torch.inf)
    sgd.step()
    assert torch.equal(weight.detach(), torch.ones(3))
    assert torch.equal(sgd.state[weight]["momentum_buffer"], torch.zeros(3))


def test_momentum_that_was_saved_in_another_layout_takes_the_parameters() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
    sgd = FusedSGD([{"params": [weight]}], lr=0.1, momentum=0.9)
    saved = torch.randn(4, 3, 2, 2)
    sgd.state[weight]["momentum_buffer"] = saved
    set_rate(sgd, 0.1)
    weight.grad = torch.zeros_like(weight)
    sgd.step()
    found = sgd.state[weight]["momentum_buffer"]
    assert found.stride() == weight.stride()
    torch.testing.assert_close(found, 0.9 * saved)


def fused_steps(kind: Callable[..., torch.optim.Optimizer], **options: Any) -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(6, 4, 1, 1).to(memory_format=torch.channels_last)) for _ in range(3)]
    factors = (1.0, 0.25, 10.0)
    groups = [{"params": [weight], "weight_decay": 0.1, "factor": factor} for weight, factor in zip(weights, factors, strict=True)]
    optimizer = kind(groups, lr=0.5, **options)
    for step in range(4):
        set_rate(optimizer, 0.01 / (1 + step))
        for weight in weights:
            weight.grad = torch.randn(6, 4, 1, 1)
        optimizer.step()
    return [weight.detach() for weight in weights], optimizer


ADAMW = {"betas": (0.8, 0.95), "eps": 1e-6}


@pytest.mark.parametrize(
    ("fused", "plain", "options"),
    [(FusedAdamW, torch.optim.AdamW, ADAMW), (FusedSGD, torch.optim.SGD, {"momentum": 0.9})],
    ids=["adamw", "sgd"],
)
def test_fused_steps_go_by_each_group_s_own_rate(fused: Any, plain: Any, options: dict) -> None:
    (found, one), (wanted, other) = fused_steps(fused, **options), fused_steps(plain, **options)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)
    rates = [group["lr"] for group in one.param_groups]
    assert rates == [group["lr"] for group in other.param_groups] == [0.01 / 4, 0.01 / 4 * 0.25, 0.01 / 4 * 10]


def test_a_first_step_of_adamw_that_fp16_skips_counts_for_nothing() -> None:
    weight = nn.Parameter(torch.ones(3))
    adamw = FusedAdamW([{"params": [weight]}], lr=0.1)
    set_rate(adamw, 0.1)
    adamw.grad_scale, adamw.found_inf = torch.tensor(2.0), torch.tensor(1.0)  # pyright: ignore[reportAttributeAccessIssue]
    weight.grad = torch.full((3,), torch.inf)
    adamw.step()
    assert torch.equal(weight.detach(), torch.ones(3))
    assert adamw.state[weight]["step"] == 0
    assert torch.equal(adamw.state[weight]["exp_avg_sq"], torch.zeros(3))


def test_averages_that_were_saved_in_another_layout_take_the_parameters() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
    adamw = FusedAdamW([{"params": [weight]}], lr=0.1, betas=(0.5, 0.5))
    mean, square = torch.randn(4, 3, 2, 2), torch.rand(4, 3, 2, 2)
    adamw.state[weight] = {"step": torch.tensor(3.0), "exp_avg": mean.clone(), "exp_avg_sq": square.clone()}
    set_rate(adamw, 0.1)
    weight.grad = torch.zeros_like(weight)
    adamw.step()
    for name, saved in (("exp_avg", mean), ("exp_avg_sq", square)):
        assert adamw.state[weight][name].stride() == weight.stride()
        torch.testing.assert_close(adamw.state[weight][name], 0.5 * saved)
