"""What insertion does in detectors of torchvision: blocks in the backbone alone, and the same detections from identity start."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FrozenBatchNorm2d

import senet
from foreign.detectors import DETECTORS, images, targets
from senet.blocks.kinds import is_block

SAMPLES = ("fasterrcnn_mobilenet_v3_large_fpn",)
"""Detectors whose tests are quick."""
CASES = [pytest.param(name, marks=[pytest.mark.slow] * (name not in SAMPLES)) for name in DETECTORS]


@dataclass(frozen=True)
class Inserted:
    """One detector without blocks, and with SE that starts as the identity; tests do not change them."""

    name: str
    plain: nn.Module
    model: nn.Module
    plan: senet.InsertPlan


@pytest.fixture(scope="class")
def inserted(name: str) -> Inserted:
    plain = DETECTORS[name].make()
    model = copy.deepcopy(plain)
    return Inserted(name, plain, model, senet.insert(model, "se", init="identity", example_input=(images(),)))


@pytest.mark.parametrize("name", CASES, scope="class")
class TestDetection:
    def test_blocks_sit_in_the_backbone_alone(self, inserted: Inserted) -> None:
        facts = DETECTORS[inserted.name]
        found: dict[str, tuple[str, ...]] = {}
        for site in inserted.plan:
            found[site.kind] = (*found.get(site.kind, ()), site.path)
        assert found == dict(facts.sites)
        assert [note.split()[0] for note in inserted.plan.notes] == [str(facts.recalibrated)] * bool(facts.recalibrated)

    def test_detections_stay_bit_for_bit(self, inserted: Inserted) -> None:
        got, wanted = detections(inserted.model), detections(inserted.plain)
        assert all(len(found["boxes"]) for found in wanted)
        assert same(got, wanted)

    def test_removal_restores_the_network(self, inserted: Inserted) -> None:
        model = copy.deepcopy(inserted.model)
        opened(model)
        senet.remove(model)
        assert list(starmap(pair, model.named_modules())) == list(starmap(pair, inserted.plain.named_modules()))
        assert same(detections(model), detections(inserted.plain))

    def test_a_saved_plan_and_state_make_a_new_detector(self, inserted: Inserted) -> None:
        model, other = copy.deepcopy(inserted.model), DETECTORS[inserted.name].make()
        opened(model)
        assert (
            senet.insert(other, senet.InsertPlan.from_json(inserted.plan.to_json()), init="identity", example_input=(images(),))
            == inserted.plan
        )
        other.load_state_dict(model.state_dict())
        assert same(detections(other), detections(model))
        assert not same(detections(other), detections(inserted.plain))
        back = senet.rename_keys(model.state_dict(), inserted.plan, to="plain")
        assert list(back) == list(inserted.plain.state_dict())

    def test_blocks_learn_behind_frozen_stages(self, inserted: Inserted) -> None:
        """Every block gets a gradient, those in stages without trained weights too; frozen statistics and weights stay."""
        model = copy.deepcopy(inserted.model).train()
        opened(model)
        senet.freeze_host(model)
        for part in (model, getattr(model, "rpn", model), getattr(model, "roi_heads", model)):
            part.training = True  # it gives losses then; no BatchNorm is among these
        before = {name: value.clone() for name, value in model.state_dict().items()}
        trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        torch.manual_seed(3)
        torch.stack(list(model(images(), targets(inserted.name)).values())).sum().backward()
        assert [name for name, weight in trained.items() if weight.grad is None or not weight.grad.any()] == []
        torch.optim.SGD(trained.values(), lr=1e6).step()  # gradients of a network that is not trained are tiny
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert moved
        assert moved <= trained.keys()


def test_frozen_batch_norm_is_a_host() -> None:
    """A detector that fetched its backbone normalises by fixed numbers; blocks sit behind these as behind BatchNorm."""
    backbone: Any = DETECTORS["fasterrcnn_mobilenet_v3_large_fpn"].make()
    for path, module in list(backbone.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(module.num_features)
            frozen.load_state_dict(module.state_dict(), strict=False)
            backbone.set_submodule(path, frozen)
    wanted = detections(backbone)
    plan = senet.insert(backbone, "se", init="identity", example_input=(images(),))
    assert {site.host for site in plan} == {"FrozenBatchNorm2d"}
    assert same(detections(backbone), wanted)


def test_nothing_is_fetched_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backbones that torchvision would fetch by default are not."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    assert isinstance(senet.create_model("torchvision/fasterrcnn_mobilenet_v3_large_320_fpn", num_classes=3), FasterRCNN)


def detections(model: nn.Module) -> list[dict[str, Tensor]]:
    """Return what a detector finds, computed by algorithms that give the same bits each time."""
    with torch.no_grad():
        return model.eval()(images())


def same(got: Sequence[dict[str, Tensor]], wanted: Sequence[dict[str, Tensor]]) -> bool:
    return all(
        one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one) for one, other in zip(got, wanted, strict=True)
    )


def pair(path: str, module: nn.Module) -> tuple[str, type]:
    return path, type(module)


def opened(model: nn.Module) -> None:
    """Give blocks weights with which every ReLU is open, no gate saturated, no two gates alike."""
    torch.manual_seed(2)
    for block in filter(is_block, model.modules()):
        for name, weight in block.named_parameters():
            nn.init.ones_(weight) if name.endswith("fc1.bias") else nn.init.normal_(weight, std=0.3 if "fc2" in name else 0.01)
