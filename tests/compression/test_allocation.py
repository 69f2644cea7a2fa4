"""Which hidden units a budget leaves."""

import json
from typing import Any

import pytest
import torch

import senet
from oracles.masked_units import images, trained
from senet.compression import latency_budget
from senet.compression.allocation import allocate_hidden
from senet.compression.block_records import by_stage
from senet.compression.budget import Budget
from senet.compression.hidden_units import measure_hidden_units
from senet.compression.latency_budget import fewest_removed
from senet.errors import UsageError
from senet.recipe import load_recipe, override


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_budget, "TIMED_ROUNDS", 3)


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("text", "amount"), [("0.9", 0.9), ("1.5M", 1.5e6), ("900k", 9e5), ("12345", 12345), (".5", 0.5)])
def test_budgets_are_read(text: str, amount: float) -> None:
    assert Budget.parse(text).amount == amount


@pytest.mark.parametrize(("text", "cost", "words"), [("much", "params", "got 'much'"), ("0", "params", "got 0"), ("2", "latency", "got 2")])
def test_impossible_budgets_say_what_is_allowed(text: str, cost: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Budget.parse(text, cost)


@pytest.mark.parametrize("budget", [Budget(0.985), Budget(275_000), Budget(0.4, "block params")], ids=str)
def test_the_weakest_units_of_the_whole_network_go(budget: Budget) -> None:
    model, x = trained("preactivated"), images()
    allocation = allocate_hidden(model, [(x,)], budget)
    strengths = [units.importance[0].tolist() for units in measure_hidden_units(model, [(x,)])]
    kept = [
        [own[index] for index in block.units.strongest(block.width)[0]] for own, block in zip(strengths, allocation.blocks, strict=True)
    ]
    gone = [value for own in strengths for value in own]
    for own in kept:
        for value in own:
            gone.remove(value)
    assert gone
    assert max(gone) <= min(min(own) for own in kept if len(own) > 1)  # every block keeps one unit, whatever it is worth
    assert min(map(len, kept)) >= 1
    blocks = sum(block.parameters[0] for block in allocation.blocks)
    limit = budget.limit(blocks if budget.cost == "block params" else parameters(model))
    after = allocation.parameters[1] - (parameters(model) - blocks if budget.cost == "block params" else 0)
    dead = sum(block.units.dead for block in allocation.blocks)
    assert after <= limit
    assert len(gone) == dead or limit < after + max(block.units.costs[0] for block in allocation.blocks)


def test_recipes_name_the_widths(tmp_path: Any) -> None:
    allocation = allocate_hidden(trained("preactivated"), [(images(),)], Budget(0.5, "block params"))
    assert allocation.spec is not None
    recipe = override(load_recipe("digits"), {"model.name": "preresnet20", "model.block": allocation.spec})
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    block: Any = load_recipe(tmp_path / "recipe.yaml").model.block
    fresh = senet.create_model("preresnet20", block=block)
    assert parameters(fresh) == allocation.parameters[1]
    hidden = {path: module.hidden for path, module in fresh.named_modules() if isinstance(module, senet.ChannelSE)}
    assert hidden == allocation.widths
    inserted = allocate_hidden(trained("inserted"), [(images(),)], Budget(0.5, "block params"))
    assert inserted.spec is not None
    host = senet.create_model("cifar_resnet20", num_classes=3)
    senet.insert(host, inserted.spec, example_input=images().float())
    assert [module.hidden for module in host.modules() if isinstance(module, senet.ChannelSE)] == list(inserted.widths.values())


@pytest.mark.parametrize("name", ["preactivated", "scse", "cmpe_se", "inserted"])
def test_the_nearest_single_ratio(name: str) -> None:
    model: Any = trained(name)
    allocation = allocate_hidden(model, [(images(),)], Budget(0.4, "block params"))

    def uniform(ratio: int) -> int:
        if name == "inserted":
            host = senet.create_model("cifar_resnet20", num_classes=3)
            senet.insert(host, senet.BlockSpec("se", reduction=ratio), example_input=images().float())
            return parameters(host)
        return parameters(senet.create_model(model.config.name, reduction=ratio, device="meta"))

    found = allocation.uniform
    assert uniform(found.reduction) == found.parameters
    for other in {max(1, found.reduction - 1), found.reduction + 1}:
        assert abs(uniform(other) - allocation.parameters[1]) >= abs(found.parameters - allocation.parameters[1])


def test_blocks_of_one_unit_keep_as_many_hidden_units_each() -> None:
    allocation = allocate_hidden(trained("branches"), [(images(),)], Budget(0.5, "block params"))
    widths = list(allocation.widths.items())
    assert len(widths) == 24
    assert all(one[1] == other[1] for one, other in zip(widths[::2], widths[1::2], strict=True))


def test_stages_of_one_width_are_written_as_one() -> None:
    assert by_stage({(1, 1): 2, (1, 2): 2, (2, 1): 3, (2, 2): 4}) == {1: 2, "2_1": 3, "2_2": 4}


def test_what_cannot_be_met_is_refused() -> None:
    model, x = trained("preactivated"), images()
    with pytest.raises(UsageError, match=r"the budget is 100 parameters, and 273,299 is the least .*drop lets whole blocks go"):
        allocate_hidden(model, [(x,)], 100)
    with pytest.raises(UsageError, match=r"the budget is 100 parameters, and 272,282 is the least that narrower blocks leave$"):
        allocate_hidden(model, [(x,)], 100, drop=True)
    with pytest.raises(UsageError, match=r"cannot be dropped: only networks of senet.create_model"):
        allocate_hidden(trained("inserted"), [(x,)], 0.9, drop=True)
    with pytest.raises(UsageError, match="no hidden unit was seen"):
        allocate_hidden(model, [], 0.9)


def test_plain_data_and_table() -> None:
    allocation = allocate_hidden(trained("preactivated"), [(images(),)], Budget(0.4, "block params"))
    tree = json.loads(json.dumps(allocation.to_dict()))
    assert tree["parameters"]["after"] == allocation.parameters[1]
    assert sum(block["importance"]["share"] for block in tree["blocks"]) == pytest.approx(1)
    assert [block["hidden"]["after"] for block in tree["blocks"]] == list(allocation.widths.values())
    assert "SE_3_3" in str(allocation)
    assert f"nearest single ratio: {allocation.uniform.reduction}" in str(allocation)


def test_latency_is_measured_by_halving(few_rounds: None) -> None:
    """A network of which each removal saves a fixed amount of work."""

    class Work(torch.nn.Module):
        def __init__(self, rounds: int) -> None:
            super().__init__()
            self.rounds, self.weight = rounds, torch.nn.Parameter(torch.eye(160))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(self.rounds):
                x = x @ self.weight
            return x

    count, tried = fewest_removed(Work(64), lambda removed: Work(64 - removed), torch.ones(160, 160), 0, 56, 0.5, drop=False)
    assert tried[-1].removed == count
    assert tried[-1].share <= 0.5
    assert 16 < count < 56
    with pytest.raises(UsageError, match=r"with the narrowest blocks the network takes .* of its time on this device, not 0.5; drop lets"):
        fewest_removed(Work(64), lambda removed: Work(64 - removed), torch.ones(160, 160), 0, 2, 0.5, drop=False)


def test_a_budget_of_latency_may_drop_blocks(few_rounds: None) -> None:
    model, x = trained("preactivated").float(), images().float()
    allocation = allocate_hidden(model, [(x,)], Budget(1.0, "latency"), drop=True)
    assert allocation.tried
    assert "measured on this device" in " ".join(str(allocation).split())
