"""Recommendations for a network whose blocks cost a known number of points while they are frozen."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from senet.analysis.advice import recommend
from senet.analysis.block_statistics import GateStatistics
from senet.analysis.frozen import BlockEffect, block_effects
from senet.analysis.gate_statistics import record_gates
from senet.blocks.channel import ChannelSE
from senet.errors import UsageError
from senet.measuring.scores import Scores

MINUS = "\N{MINUS SIGN}"


class Row(nn.Sequential):
    """Blocks in a row, the first of them constant."""

    def __init__(self, blocks: int = 4) -> None:
        torch.manual_seed(0)
        super().__init__(*(ChannelSE(6, 2) for _ in range(blocks)))
        nn.init.zeros_(self[0].get_parameter("fc2.weight"))
        for block in [*self][1:]:
            nn.init.ones_(block.get_parameter("fc1.bias"))


IMAGES = torch.rand(20, 6, 3, 3, generator=torch.Generator().manual_seed(1))


class Priced:
    """Measure of 1000 images, of which a frozen block makes as many wrong as it costs.

    Args:
        costs: path -> images that are lost while it is frozen; further ones for pairs of paths.
        unit: of the metric.
        wrong: images that are wrong anyway.
    """

    def __init__(self, costs: Mapping[str | frozenset[str], int], unit: str = "%", wrong: int = 0) -> None:
        self.costs, self.unit, self.wrong, self.calls = costs, unit, wrong, []

    def __call__(self, model: nn.Module) -> Scores:
        frozen = {path for path, block in model.named_children() if "forward" in vars(block)}
        self.calls.append(sorted(frozen))
        lost = sum(cost for key, cost in self.costs.items() if (key <= frozen if isinstance(key, frozenset) else key in frozen))
        full = 100.0 if self.unit else 1.0
        images = torch.full((1000,), full, dtype=torch.float64)
        images[: self.wrong + lost] = 0
        return Scores(images.mean().item(), images, unit=self.unit, metric="top-1" if self.unit else "Dice")


def advised(
    measure: Priced, tolerance: float | None = None, blocks: int = 4
) -> tuple[dict[str, tuple[str, ...]], list[str], GateStatistics]:
    model = Row(blocks)
    statistics = record_gates(model, [(IMAGES, None)])
    effects = block_effects(model, measure, statistics)
    measure.calls.clear()
    found = recommend(model, measure, statistics, effects, tolerance=tolerance)
    assert json.loads(json.dumps([advice.to_dict() for advice in found]))[0]["blocks"] == ["0"]
    return {f"{advice.action} {len(advice.blocks)}": advice.blocks for advice in found}, [advice.text for advice in found], statistics


def test_what_costs_nothing_is_folded_and_what_costs_is_kept() -> None:
    actions, texts, statistics = advised(Priced({"1": 1, "2": 0, "3": 80}))
    assert actions == {"fold 1": ("0",), "fold 2": ("2", "1"), "keep 1": ("3",)}
    distance = max(statistics[path].distance for path in "12")
    assert texts[0] == "0: gates are the same for every image: fold it, at no cost"
    assert texts[1].startswith(
        f"1, 2: gates vary by up to {distance:.3f}, freezing them at their channel means costs 0.10 points (0.00 to "
    )
    assert texts[1].endswith(": fold them; the interval goes beyond the tolerance of 0.10, which more images may settle")
    assert texts[2].startswith("freezing gates at their means costs: 3 8.00 points (")
    assert texts[2].endswith(": keep it")


def test_what_is_harmless_alone_but_not_together_is_not_folded_together() -> None:
    measure = Priced({frozenset({"1", "2"}): 50, "3": 1})
    actions, texts, _ = advised(measure)
    first, second = sorted("12", key=lambda path: path not in actions["fold 2"])
    assert actions == {"fold 1": ("0",), "fold 2": (first, "3"), "keep 1": (second,)}
    assert measure.calls[1] == ["0", "1", "2", "3"]
    assert "freezing them at their channel means costs 0.10 points" in texts[1]
    costs = f"{second} 0.00 points (0.00 to 0.00)"
    assert texts[2] == (
        f"folded beside the others, it is over the tolerance of 0.10, though alone freezing gates at their means costs: {costs}: keep it"
    )


def test_a_harmless_block_behind_one_that_is_too_dear_with_others_is_folded() -> None:
    """Alone 1 and 2 seem to do good, but not with each other; 3 and 4 do nothing."""
    measure = Priced({"1": -3, "2": -2, frozenset({"1", "2"}): 40, "3": 1, "4": 0, "5": 1}, wrong=10)
    actions, texts, _ = advised(measure, blocks=6)
    assert actions["fold 4"][:2] == ("1", "4")
    assert {*actions["fold 4"]} == {"1", "3", "4", "5"}
    assert actions["keep 1"] == ("2",)
    assert f"costs {MINUS}0.10 points" in texts[1]


def test_what_the_images_do_not_tell_is_to_be_measured_on_more() -> None:
    actions, texts, _ = advised(Priced({"1": 2, "2": 80, "3": 0}))
    assert actions == {"fold 1": ("3",), "keep 1": ("2",), "measure 1": ("1",)}
    assert texts[1].endswith("costs 0.00 points (0.00 to 0.00): fold it")
    assert texts[3].endswith("1 0.20 points (0.00 to 0.50): measure it on more images")


def test_the_tolerance_is_the_metrics() -> None:
    loose, texts, _ = advised(Priced({"1": 30, "2": 80, "3": 0}), tolerance=5)
    assert loose == {"fold 1": ("0",), "fold 2": ("3", "1"), "keep 1": ("2",)}
    assert "costs 3.00 points" in texts[1]
    _, texts, _ = advised(Priced({"1": 1, "2": 30, "3": 40}, unit=""))
    assert "1: gates vary by" in texts[1]
    assert "costs 0.0010 (0.0000 to 0.00" in texts[1]


@pytest.mark.parametrize("tolerance", [-0.1, float("nan")])
def test_a_tolerance_below_0_is_refused(tolerance: float) -> None:
    with pytest.raises(UsageError, match="tolerance must be 0 or more"):
        advised(Priced({}), tolerance)


def test_units_that_never_fire_and_saturated_gates_are_named() -> None:
    model = Row()
    model[3].get_parameter("fc1.bias").data[1] = -100
    model[2].get_parameter("fc2.bias").data[:] = 6
    statistics = record_gates(model, [(IMAGES, None)])
    measure = Priced({"1": 80, "2": 80, "3": 80})
    found = recommend(model, measure, statistics, block_effects(model, measure, statistics))
    pruned = next(advice for advice in found if advice.action == "prune")
    assert pruned.text.startswith("hidden units that fire for none of the 20 images can go without a change: ")
    assert f"{statistics['3'].dead} of 3 in 3" in pruned.text
    assert [advice.text for advice in found if advice.action == "note"] == ["2: 100 % of its gates are above 0.95: the block is saturated"]


def test_without_the_mode_nothing_is_said_of_folding_what_moves() -> None:
    model, measure = Row(), Priced({"1": 80})
    statistics = record_gates(model, [(IMAGES, None)])
    effects = block_effects(model, measure, statistics, modes=("none",))
    assert [advice.action for advice in recommend(model, measure, statistics, effects)] == ["fold"]


@pytest.mark.parametrize("blocks", [2, 3, 7, 8])
def test_as_many_are_folded_as_fit(blocks: int) -> None:
    """Together they cost a point each, so that exactly the tolerance's number fits."""
    model = Row(blocks + 1)
    statistics = record_gates(model, [(IMAGES, None)])
    effects = [BlockEffect(str(index), str(index), {}) for index in range(blocks + 1)]
    effects = [replace(one, losses=block_effects(model, Priced({}), statistics)[0].losses) for one in effects]
    for fitting in range(1, blocks + 1):
        measure = Priced({str(index): 10 for index in range(1, blocks + 1)})
        found = recommend(model, measure, statistics, effects, tolerance=fitting)
        assert len(found[1].blocks) == fitting
        trials = [tuple(call) for call in measure.calls[1:]]
        assert len(trials) == len(set(trials)) < 2 * blocks


def test_the_network_is_as_it_was() -> None:
    model, x = Row(), IMAGES[:2]
    before: Tensor = model(x)
    statistics = record_gates(model, [(IMAGES, None)])
    recommend(model, Priced({}), statistics, block_effects(model, Priced({}), statistics))
    assert torch.equal(model(x), before)
