"""Groups partition the parameters, and each trains at its own rate: as a loop of one's own does, in float64 bit for bit."""

from typing import Any

import pytest
import torch
from torch import nn

from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.models.create import create_model
from senet.recipe import OptimRecipe, PartRates
from senet.training.optim import build_optimizer, set_rate
from senet.training.rates import parameter_groups, rate_factors

RECIPES = {
    "none": OptimRecipe(),
    "spared": OptimRecipe(decay_norm_and_bias=False),
    "parts": OptimRecipe(groups=PartRates(head=10.0, blocks=5.0, host=0.1)),
    "layers": OptimRecipe(layer_decay=0.75, decay_norm_and_bias=False),
    "all": OptimRecipe(groups=PartRates(head=10.0, host=0.5), layer_decay=0.5, decay_norm_and_bias=False),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["se_preresnet20", "cmpe_se_preresnet20", "scse_unet"])
def test_groups_partition_the_parameters(name: str, recipe: str) -> None:
    model = create_model(name)
    groups = parameter_groups(model, RECIPES[recipe])
    members = [parameter for group in groups for parameter in group["params"]]
    assert len(members) == len(set(members))
    assert set(members) == set(model.parameters())
    assert len({(group["factor"], group["weight_decay"]) for group in groups}) == len(groups)


def test_each_part_has_its_factor() -> None:
    model = create_model("se_preresnet20")
    found = rate_factors(model, RECIPES["parts"])
    blocks = {f"{path}.{name}" for path, module in model.named_modules() if is_block(module) for name, _ in module.named_parameters()}
    assert blocks
    for name, factor in found.items():
        assert factor == (10.0 if name.startswith("fc.") else 5.0 if name in blocks else 0.1), name


def test_the_rate_decays_from_stage_to_stage() -> None:
    found = rate_factors(create_model("se_resnet50"), OptimRecipe(layer_decay=0.5))
    assert [found[name] for name in ("fc.weight", "layer4.2.bn3.weight", "layer4.0.se.fc1.weight", "layer3.0.conv1.weight")] == [
        1,
        0.5,
        0.5,
        0.25,
    ]
    assert (found["layer1.0.conv1.weight"], found["conv1.weight"], found["bn1.bias"]) == (0.5**4, 0.5**5, 0.5**5)


def by_hand(model: nn.Module, recipe: OptimRecipe, rates: list[float], images: torch.Tensor) -> None:
    """Train by the formulas, parameter by parameter."""
    factors, kept = rate_factors(model, recipe), {}
    for step, base in enumerate(rates, 1):
        model.zero_grad()
        model(images).square().mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            weight, gradient, rate = parameter.detach().clone(), parameter.grad.clone(), base * factors[name]
            decay = recipe.weight_decay if recipe.decay_norm_and_bias or parameter.ndim > 1 else 0.0
            if recipe.name == "sgd":
                gradient += decay * weight
                kept[name] = gradient if step == 1 else recipe.momentum * kept[name] + gradient
                change = gradient + recipe.momentum * kept[name] if recipe.nesterov else kept[name]
                weight -= rate * change
            else:
                one, two = recipe.betas
                mean, square = kept.get(name, (torch.zeros_like(weight), torch.zeros_like(weight)))
                mean, square = one * mean + (1 - one) * gradient, two * square + (1 - two) * gradient**2
                kept[name] = mean, square
                root = (square / (1 - two**step)).sqrt() + recipe.eps
                weight = weight * (1 - rate * decay) - rate * (mean / (1 - one**step)) / root
            parameter.data.copy_(weight)


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return create_model("se_preresnet20", num_classes=3).double().eval(), torch.randn(3, 3, 9, 11, dtype=torch.float64)


FORMULAS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.8, "nesterov": False},
    "nesterov": {},
    "adamw": {"name": "adamw", "betas": (0.8, 0.95), "eps": 1e-6},
}


@pytest.mark.parametrize("options", FORMULAS)
def test_steps_are_those_of_a_loop_by_hand(options: str) -> None:
    recipe = OptimRecipe(
        **FORMULAS[options],
        weight_decay=0.01,
        decay_norm_and_bias=False,
        groups=PartRates(head=10.0, blocks=3.0, host=0.5),
        layer_decay=0.7,
    )
    rates = [1e-3, 5e-4, 2e-3, 1e-3]
    (wanted, images), (found, _) = network(), network()
    by_hand(wanted, recipe, rates, images)
    optimizer = build_optimizer(found, recipe)
    for rate in rates:
        set_rate(optimizer, rate)
        optimizer.zero_grad()
        found(images).square().mean().backward()
        optimizer.step()
    for (name, one), other in zip(found.named_parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12, msg=name)


def test_a_head_that_is_not_known_is_said_where_it_should_have_a_rate() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    assert len(parameter_groups(model, OptimRecipe(groups=PartRates(blocks=2.0)))) == 1
    with pytest.raises(UsageError, match=r"optim\.groups\.head needs to know the head of Sequential"):
        parameter_groups(model, OptimRecipe(groups=PartRates(head=2.0)))
