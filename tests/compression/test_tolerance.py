"""Blocks are folded in the order of their harm until the tolerance is used up, and what is reported did not decide."""

import json
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import senet
from oracles.frozen import frozen
from oracles.optimized import distance, network
from senet.analysis.gate_statistics import record_gates
from senet.compression.fold_curve import CompressionReport
from senet.compression.tolerance import compress_within
from senet.errors import UsageError
from senet.measuring.scores import Scores
from senet.terminal import as_text

PATHS = tuple(f"layer{stage}.{unit}.se" for stage in (1, 2, 3) for unit in (0, 1, 2))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return network("se_preresnet20")


def batches(count: int = 4, size: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(size, 3, 16, 16, generator=generator), torch.randint(0, 10, (size,), generator=generator)) for _ in range(count)]


class Costs:
    """Measure by which each block that is frozen or gone costs what it is said to; it counts how often it is asked."""

    def __init__(self, harm: dict[str, float]) -> None:
        self.harm = harm
        self.asked = 0

    def __call__(self, model: nn.Module) -> Scores:
        self.asked += 1
        lost = 0.0
        for path in PATHS:
            unit: Any = model.get_submodule(path.removesuffix(".se"))
            lost += self.harm[path] if unit.se is None or "forward" in vars(unit.se) else 0.0
        return Scores(90.0 - lost)


HARM = MappingProxyType(dict(zip(PATHS, (0.5, 0.02, 0.3, -0.1, 0.04, 2.0, 0.0, 0.11, 0.7), strict=True)))


def folded(report: CompressionReport) -> list[str]:
    return [step.path for step in report.steps if step.taken]


@pytest.mark.parametrize(("tolerance", "count"), [(0.0, 4), (0.07, 5), (0.37, 6), (float("inf"), 9)])
def test_what_a_tolerance_allows(model: nn.Module, tolerance: float, count: int) -> None:
    order = sorted(PATHS, key=HARM.__getitem__)
    totals = [round(sum(HARM[path] for path in {*order[: min(index, count)], order[index]}), 9) for index in range(9)]
    decision, held_out = Costs(dict(HARM)), Costs({path: 2 * harm for path, harm in HARM.items()})
    report = compress_within(model, decision, held_out, batches(), tolerance)
    assert folded(report) == order[:count]
    assert [step.decision.points for step in report.steps] == pytest.approx(totals)
    assert [step.held_out.points for step in report.steps] == pytest.approx([2 * total for total in totals])
    assert len(report.steps) == 9  # those that were refused are told
    assert report.lost.points == pytest.approx(2 * totals[count - 1])
    assert report.kept.keys() == set(order[count:])
    assert decision.asked == 1 + 9 + len(report.steps)
    assert held_out.asked == 1 + len(report.steps)
    assert [fold.path for fold in report.folds] == [path for path in PATHS if path in order[:count]]
    blocks = [module for module in report.model.modules() if isinstance(module, senet.ChannelSE)]
    assert len(blocks) == 9 - count
    assert json.loads(json.dumps(report.to_dict()))["steps"][0]["path"] == order[0]
    assert f"{count} of 9 blocks folded" in str(report)


def test_nothing_can_go(model: nn.Module) -> None:
    costs = Costs(dict.fromkeys(PATHS, 1.0))
    report = compress_within(model, costs, costs, batches(), 0.5)
    assert folded(report) == []
    assert report.lost.points == 0
    assert "none of 9 blocks can be folded within 0.5 points" in str(report)
    assert report.kept["layer1.0.se"] == "with it the loss is 1.00 points, over the tolerance of 0.5"
    assert report.kept.keys() == {*PATHS}
    assert report.model is model


def test_a_block_behind_one_that_costs_too_much_is_tried(model: nn.Module) -> None:
    class Together(Costs):
        def __call__(self, network: nn.Module) -> Scores:
            scores, both = super().__call__(network), [network.get_submodule(f"layer1.{unit}") for unit in (0, 1)]
            return Scores(scores.value - 5.0 * all(getattr(unit, "se") is None for unit in both))  # noqa: B009 - any module has attributes

    harm = dict.fromkeys(PATHS, 3.0) | {"layer1.0.se": 0.0, "layer1.1.se": 0.1, "layer1.2.se": 0.2}
    report = compress_within(model, Together(harm), Costs(harm), batches(), 1.0)
    assert folded(report) == ["layer1.0.se", "layer1.2.se"]
    assert report.kept["layer1.1.se"] == "with it the loss is 5.10 points, over the tolerance of 1"
    assert str(report).count(" stays: with it the loss is ") == 7


def test_a_lower_metric_may_be_the_better_one(model: nn.Module) -> None:
    def measure(network: nn.Module) -> Scores:
        return Scores(Costs(dict(HARM))(network).value, higher_is_better=False, metric="error")

    report = compress_within(model, measure, measure, batches(), 0.0)
    assert folded(report) == sorted(PATHS, key=HARM.__getitem__, reverse=True)[:9]


def test_what_loses_nothing_is_told_in_the_unit_of_the_metric(model: nn.Module) -> None:
    def measure(network: nn.Module) -> Scores:
        return Scores(Costs(dict.fromkeys(PATHS, 1.0))(network).value, metric="F1", unit="")

    report = compress_within(model, measure, measure, batches(), 0.5)
    assert (report.lost.unit, report.lost.low) == ("", None)
    assert report.to_dict()["lost"] == {"points": 0.0, "low": None, "high": None, "unit": ""}
    assert "within 0.5" in report.sentence()
    assert "…" not in as_text(report.table(), 80)


def test_constants_are_the_mean_gates_of_what_decides(model: nn.Module) -> None:
    images = batches()
    report = senet.compress(model, images, tolerance=float("inf"))
    means = {block.path: block.mean for block in record_gates(model, images[::2]).blocks}
    x = images[1][0]
    with torch.no_grad(), frozen(model, means):
        assert distance(report.model(x), model(x)) < 1e-6
    right = [model(x).argmax(1) == labels for x, labels in images[1::2]]
    assert report.held_out.value == pytest.approx(100 * torch.cat(right).double().mean().item())
    after = [report.model(x).argmax(1) == labels for x, labels in images[1::2]]
    assert report.lost.points == pytest.approx(100 * (torch.cat(right).double() - torch.cat(after).double()).mean().item())


def test_counts_are_those_of_a_network_without_blocks(model: nn.Module) -> None:
    report = senet.compress(model, batches(), tolerance=float("inf"))
    plain = senet.profile(senet.create_model("preresnet20"), (1, 3, 16, 16), latency=False)
    assert (report.steps[-1].params, report.steps[-1].macs) == (plain.params, plain.macs)
    assert report.before.macs > plain.macs


def test_it_is_deterministic_and_leaves_the_network_alone() -> None:
    model = network("se_preresnet20", stages=(2,))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one, other = (senet.compress(model, batches(), tolerance=10.0) for _ in range(2))
    assert one.to_dict() == other.to_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    state = other.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in one.model.state_dict().items())


@pytest.mark.parametrize("name", ["scse_preresnet20", "sse_preresnet20", "cmpe_se_preresnet20"])
def test_other_blocks(name: str) -> None:
    model = network(name, stages=(3,))
    report = senet.compress(model, batches(2), tolerance=float("inf"))
    assert len(report.folds) == 3
    assert report.kept == {}


def test_blocks_without_a_constant_form_stay() -> None:
    model = network("preresnet20", block=senet.BlockSpec("scse", combine="max"), stages=(1,))
    report = senet.compress(model, batches(2), tolerance=float("inf"))
    assert report.steps == ()
    assert all("takes the larger of two products" in reason for reason in report.kept.values())
    joined = network("preresnet20", block=senet.BlockSpec("scse", combine="concat"), stages=(1,))
    assert all("combines its halves by 'concat'" in reason for reason in senet.compress(joined, batches(2)).kept.values())


def test_a_measure_of_ones_own() -> None:
    def loss(network: nn.Module, given: Any) -> Scores:
        with torch.no_grad():
            values = torch.cat([network(x).square().mean(1) for x, *_ in given]).double()
        return Scores(values.mean().item(), values, higher_is_better=False, metric="mean square", unit="")

    report = senet.compress(network("se_preresnet20", stages=(1,)), [(x, None) for x, _ in batches()], tolerance=float("inf"), measure=loss)
    assert report.held_out.metric == "mean square"
    assert len(report.steps) == 3


@pytest.mark.parametrize("tolerance", [-0.1, float("nan")])
def test_a_tolerance_is_not_negative(model: nn.Module, tolerance: float) -> None:
    with pytest.raises(UsageError, match="tolerance must be 0 or more, in points of the metric"):
        senet.compress(model, batches(2), tolerance=tolerance)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("preresnet20", batches(2), "has no blocks to fold"),
        ("se_preresnet20", [], "give two batches or more, got 0"),
        ("se_preresnet20", batches(1), "give two batches or more, got 1"),
        ("se_preresnet20", [(x[:0], y[:0]) for x, y in batches(2)], "give two batches or more, got 0"),
        ("se_preresnet20", [(x, torch.rand(6, 4)) for x, _ in batches(2)], "labels must be whole numbers"),
    ],
)
def test_what_cannot_be_compressed(name: str, given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        senet.compress(network(name), given)
