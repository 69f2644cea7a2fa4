"""Pruning a network from end to end: what is left equals the masked original, is found, saved, rebuilt, trained and exported."""

import copy
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import senet
from oracles.masked_channels import masked_output, shake_
from senet.compression.pruning import proof
from senet.compression.pruning.prune import prune
from senet.compression.pruning.target import Target
from senet.errors import UsageError
from senet.measuring.timing import Ratio
from senet.weights.store import find_config

pytest.importorskip("torch_pruning", reason="Torch-Pruning is not installed: pip install torch-pruning")

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
BATCHES = [(torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(seed)), torch.arange(6) % 3) for seed in (2, 3)]
RANKS = ("gate", "gate_spread", "gate_activation", "l1", "l2", "taylor", "random")


def network(name: str = "se_preresnet20", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return shake_(senet.create_model(name, num_classes=4, **options)).eval()


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def widths(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def equal_states(first: nn.Module, second: nn.Module) -> bool:
    mine, theirs = first.state_dict(), second.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("rank", RANKS)
def test_what_is_left_equals_the_network_with_these_channels_at_zero(rank: str) -> None:
    model = network()
    before = state_of(model)
    pruned = prune(model, IMAGES, rank=rank, ratio=0.4, batches=BATCHES)
    assert pruned.after.macs < 0.8 * pruned.before.macs
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()), "the original was changed"
    want = masked_output(model, pruned.kept, IMAGES)
    with torch.no_grad(), senet.backend("reference"):
        torch.testing.assert_close(pruned.model(IMAGES), want, rtol=0, atol=1e-6 * max(1, float(want.abs().max())))
        want = masked_output(model.double(), pruned.kept, IMAGES.double())
        torch.testing.assert_close(pruned.model.double()(IMAGES.double()), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["macs", "params", "memory"])
def test_a_target_is_met_and_not_by_much(kind: str) -> None:
    model = network()
    pruned = prune(model, IMAGES, rank="l1", target=Target(kind, 0.6))
    assert 0.45 < pruned.shares[kind] <= 0.6
    assert {trial.share <= 0.6 for trial in pruned.trials} == {True, False}


@pytest.mark.slow
def test_the_latency_is_measured_and_what_was_tried_is_told() -> None:
    model = network("se_wrn16_8")
    pruned = prune(model, IMAGES, rank="l1", target=Target("latency", 0.6))
    trials = pruned.to_dict()["trials"]
    assert min(trial["share"] for trial in trials) <= 0.6 < max(trial["share"] for trial in trials)
    assert pruned.latency.median < 0.9
    assert "of the MACs" in pruned.sentence()
    again = prune(model, IMAGES, rank="l1", ratio=pruned.ratios)
    assert equal_states(pruned.model, again.model)


def test_a_measured_latency_that_falls_late_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time falls more slowly than work does, and is not the same twice."""
    measured: list[int] = []

    def latency(before: nn.Module, after: nn.Module, images: Tensor) -> Ratio:
        share = sum(p.numel() for p in after.parameters()) / sum(p.numel() for p in before.parameters())
        measured.append(1)
        value = 0.5 + 0.6 * share + 0.001 * len(measured)
        return Ratio(value, value, value, value)

    monkeypatch.setattr("senet.compression.pruning.target.latency_ratio", latency)
    pruned = prune(network(), IMAGES, rank="l1", target=Target("latency", 0.8))
    assert min(trial.share for trial in pruned.trials if trial.ratio <= pruned.ratio) <= 0.8
    assert max(trial.share for trial in pruned.trials if trial.ratio < pruned.ratio) > 0.8
    assert len(measured) <= 8
    with pytest.raises(UsageError, match=r"cannot come to 0\.4"):
        prune(network(), IMAGES, rank="l1", target=Target("latency", 0.4))


def test_a_time_that_falls_between_two_steps_brings_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = [False]

    def latency(before: nn.Module, after: nn.Module, images: Tensor) -> Ratio:
        value = 0.1 if quick[0] else sum(p.numel() for p in after.parameters()) / sum(p.numel() for p in before.parameters())
        return Ratio(value, value, value, value)

    monkeypatch.setattr("senet.compression.pruning.target.latency_ratio", latency)
    found = {"rank": "l1", "steps": 2, "between": lambda _: quick.__setitem__(0, True)}
    pruned = prune(network(), IMAGES, target=Target("latency", 0.5), **found)
    assert pruned.ratios[0] == pruned.ratios[1]
    again = prune(network(), IMAGES, ratio=pruned.ratios, **found)
    assert equal_states(pruned.model, again.model)


def test_widths_are_multiples_and_never_less_than_one() -> None:
    for least in (4, 8, 16):
        pruned = prune(network(), IMAGES, rank="random", ratio=1.0, round_to=least)
        assert {len(sides["outputs"]) for sides in pruned.kept.values() if "outputs" in sides} == {least}


def test_a_ratio_is_of_every_set_or_of_the_whole_network() -> None:
    by_layer = prune(network(), IMAGES, rank="l1", ratio=0.5, scope="layer")
    assert {row.after / row.before for row in by_layer.rows if row.measure} == {0.5}
    over_all = prune(network(), IMAGES, rank="taylor", ratio=0.5, batches=BATCHES)
    assert len({row.after / row.before for row in over_all.rows if row.measure}) > 1


def test_a_pruned_network_is_saved_rebuilt_optimised_trained_and_exported(tmp_path: Any) -> None:
    pruned = prune(network(), IMAGES, rank="gate", ratio=0.4, batches=BATCHES).model
    senet.save_weights(pruned, tmp_path / "pruned.safetensors")
    rebuilt = senet.from_pretrained(tmp_path / "pruned.safetensors").eval()
    with torch.no_grad():
        want = pruned(IMAGES)
        assert torch.equal(rebuilt(IMAGES), want)
        torch.testing.assert_close(senet.optimize(rebuilt)(IMAGES), want, rtol=1e-4, atol=1e-4)
    senet.export_onnx(rebuilt, tmp_path / "pruned.onnx", IMAGES)
    loss = rebuilt.train()(IMAGES).square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.shape == p.shape and p.grad.abs().sum() >= 0 for p in rebuilt.parameters())


def test_it_is_the_same_whoever_asks() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        for rank in ("taylor", "random"):
            first, second = (prune(network(), IMAGES, rank=rank, ratio=0.4, batches=BATCHES) for _ in range(2))
            assert first.kept == second.kept
            assert equal_states(first.model, second.model)
    finally:
        torch.use_deterministic_algorithms(False)
    assert prune(network(), IMAGES, rank="random", ratio=0.4, seed=1).kept != first.kept


def test_steps_train_in_between_and_are_repeated_by_their_ratios() -> None:
    def train(model: nn.Module) -> None:
        model.train()
        model(BATCHES[0][0]).square().mean().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        model.zero_grad()
        model.eval()
        seen.append(sum(p.numel() for p in model.parameters()))

    seen: list[int] = []
    model = network()
    pruned = prune(model, IMAGES, rank="taylor", target=Target("macs", 0.5), batches=BATCHES, steps=3, between=train)
    assert len(seen) == 2
    assert pruned.before.params > seen[0] > seen[1] > pruned.after.params
    assert pruned.shares["macs"] <= 0.5
    again = prune(model, IMAGES, rank="taylor", ratio=pruned.ratios, batches=BATCHES, steps=3, between=train)
    assert equal_states(pruned.model, again.model)
    assert len(find_config(pruned.model).options["reduced"]) == 3
    assert widths(senet.create_model("se_preresnet20", num_classes=4)) != widths(pruned.model)


def test_what_several_steps_leave_is_told_by_indices_of_the_original() -> None:
    model = network()
    pruned = prune(model, IMAGES, rank="random", ratio=0.6, steps=2)
    want = masked_output(model, pruned.kept, IMAGES)
    with torch.no_grad(), senet.backend("reference"):
        torch.testing.assert_close(pruned.model(IMAGES), want, rtol=0, atol=1e-6 * max(1, float(want.abs().max())))
    assert {path: len(sides["outputs"]) for path, sides in pruned.kept.items() if "outputs" in sides} == {
        path: outputs for path, (_, outputs, _) in pruned.widths.items() if outputs
    }


def test_a_network_that_was_pruned_is_pruned_further(tmp_path: Any) -> None:
    once = prune(network(), IMAGES, rank="l1", ratio=0.2).model
    twice = prune(once, IMAGES, rank="l1", ratio=0.3)
    want = masked_output(once, twice.kept, IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(twice.model(IMAGES), want, rtol=1e-5, atol=1e-6)
        senet.save_weights(twice.model, tmp_path / "twice.safetensors")
        assert torch.equal(senet.from_pretrained(tmp_path / "twice.safetensors").eval()(IMAGES), twice.model(IMAGES))


def test_the_original_keeps_its_mode_gradients_and_frozen_weights() -> None:
    model = network().train()
    senet.freeze_host(model)
    model.get_submodule("layer2").train()
    before = copy.deepcopy(model)
    pruned = prune(model, IMAGES, rank="gate", ratio=0.3, batches=BATCHES)
    for other in (model, pruned.model):
        assert [module.training for module in other.modules()] == [module.training for module in before.modules()]
    assert equal_states(model, before)
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    assert [p.requires_grad for p in pruned.model.parameters()] == [p.requires_grad for p in before.parameters()]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rank": "gates", "ratio": 0.5}, "did you mean 'gate'"),
        ({"rank": "gate", "ratio": 0.5}, "needs batches"),
        ({"rank": "l1"}, "either ratio"),
        ({"rank": "l1", "ratio": 0.5, "target": Target("macs", 0.5)}, "either ratio"),
        ({"rank": "l1", "ratio": 0.0}, "between 0 and 1"),
        ({"rank": "l1", "ratio": (0.3, 0.2), "steps": 2}, "rising"),
        ({"rank": "l1", "ratio": (0.3,), "steps": 2}, "2"),
        ({"rank": "l1", "ratio": "0.5"}, "such as 0.5, or one a step, got '0.5'"),
        ({"rank": "l1", "target": Target("macs", 0.01)}, "cannot come to 0.01"),
        ({"rank": "taylor", "ratio": 0.5, "batches": iter(BATCHES), "steps": 2}, "several times"),
        ({"rank": "l1", "ratio": 0.5, "ignored": ("layer9",)}, "layer9"),
        ({"rank": "l1", "ratio": 0.5, "round_to": 0}, "round_to"),
        ({"rank": "l1", "ratio": 0.5, "scope": "net"}, "scope"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        prune(network(), IMAGES, **settings)
    assert "\n" not in str(caught.value)


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(UsageError, match=r"pip install 'senet\[compress\]'"):
        prune(network(), IMAGES, rank="l1", ratio=0.5)


def test_images_that_it_does_not_take_and_fused_layers_are_refused() -> None:
    with pytest.raises(UsageError, match=r"on images \(2, 1, 8, 8\)"):
        prune(network(), torch.zeros(2, 1, 8, 8), rank="l1", ratio=0.5)
    for example, said in ((None, "got NoneType"), (torch.zeros(0, 3, 8, 8), r"got Tensor of shape \(0, 3, 8, 8\)")):
        with pytest.raises(UsageError, match=said):
            prune(network(), example, rank="l1", ratio=0.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="prune it first"):
        prune(senet.optimize(network()), IMAGES, rank="l1", ratio=0.5)


def test_blocks_that_were_inserted_are_pruned_saved_and_rebuilt(tmp_path: Any) -> None:
    model = network("preresnet20")
    senet.insert(model, "se", placement="identity")
    pruned = prune(model, IMAGES, rank="gate", ratio=0.4, batches=BATCHES).model
    senet.save_weights(pruned, tmp_path / "pruned.safetensors")
    with torch.no_grad():
        assert torch.equal(senet.from_pretrained(tmp_path / "pruned.safetensors").eval()(IMAGES), pruned.eval()(IMAGES))


class Finder(nn.Module):
    """Detector of one box an image, as large as its maps say; its backbone shows the configuration of the network that it holds."""

    class Backbone(nn.Sequential):
        config = property(lambda self: self[0].config)

    def __init__(self) -> None:
        super().__init__()
        self.backbone = self.Backbone(network())

    def forward(self, images: Any) -> list[dict[str, torch.Tensor]]:
        return [{"boxes": maps[None, :4], "scores": maps[:1]} for maps in self.backbone(images)]


def test_a_detector_is_refused_at_once_and_its_backbone_is_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Finder()
    with monkeypatch.context() as patch:
        patch.setattr(proof, "couple", None)  # nothing is followed for it
        with pytest.raises(UsageError, match=r"^Finder finds boxes, .* alone, model\.backbone = senet\.prune\(") as caught:
            prune(detector, IMAGES, rank="l1", ratio=0.5)
    assert "\n" not in str(caught.value)
    pruned = prune(detector.backbone, IMAGES, rank="l1", ratio=0.5).model
    assert sum(weight.numel() for weight in pruned.parameters()) < 0.6 * sum(weight.numel() for weight in detector.backbone.parameters())
    detector.backbone = pruned
    assert [list(found) for found in detector(IMAGES)] == [["boxes", "scores"]] * len(IMAGES)


@pytest.mark.parametrize(("kind", "share"), [("time", 0.5), ("macs", 1.0), ("macs", 0)])
def test_a_target_is_a_share_of_a_known_cost(kind: str, share: float) -> None:
    with pytest.raises(UsageError):
        Target(kind, share)


def test_what_is_ignored_stays_whole() -> None:
    pruned = prune(network(), IMAGES, rank="l1", ratio=0.5, ignored=("layer1.0.conv1", "layer3"))
    assert not {path for path in pruned.kept if path.startswith("layer3")} - {"layer3.0.conv1", "layer3.0.bn1", "layer3.0.downsample"}
    assert "outputs" not in pruned.kept.get("layer1.0.conv1", {})
    assert any("is ignored" in row.fixed for row in pruned.rows)


def test_a_network_without_gates_is_ranked_by_weights_only() -> None:
    with pytest.raises(UsageError, match=r"no blocks|no channel gates"):
        prune(network("preresnet20"), IMAGES, rank="gate", ratio=0.3, batches=BATCHES)
    assert prune(network("preresnet20"), IMAGES, rank="l1", ratio=0.3).rows
