"""What insertion does in segmentation networks of other libraries: blocks of encoder and decoder, no heads, no joints."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import senet
from foreign.segmenters import SEGMENTERS, made
from senet.surgery.arguments import tensors

CASES = [pytest.param(name, marks=[pytest.mark.slow] * facts.slow) for name, facts in SEGMENTERS.items()]


@dataclass(frozen=True)
class Inserted:
    """One network without blocks, and with scSE that starts as the identity; tests do not change them."""

    name: str
    plain: nn.Module
    model: nn.Module
    plan: senet.InsertPlan
    images: list[Tensor]


@pytest.fixture(scope="class")
def inserted(name: str) -> Inserted:
    plain = made(name)
    model = copy.deepcopy(plain)
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(size, generator=generator) for size in SEGMENTERS[name].sizes]
    return Inserted(name, plain, model, senet.insert(model, "scse", init="identity", example_input=images[0]), images)


@pytest.mark.parametrize("name", CASES, scope="class")
class TestSegmentation:
    def test_blocks_sit_behind_those_of_encoder_and_decoder(self, inserted: Inserted) -> None:
        facts = SEGMENTERS[inserted.name]
        found: dict[str, tuple[str, ...]] = {}
        for site in inserted.plan:
            found[site.kind] = (*found.get(site.kind, ()), site.path)
        assert found == dict(facts.sites)
        assert len(inserted.plan.notes) == facts.notes

    def test_identity_start_leaves_every_output(self, inserted: Inserted) -> None:
        for images in inserted.images:
            assert all(torch.equal(one, other) for one, other in pairs(inserted.model, inserted.plain, images))

    def test_every_block_learns(self, inserted: Inserted) -> None:
        model = copy.deepcopy(inserted.model)
        opened(model)
        sum(output.square().sum() for output in tensors(model(inserted.images[0]))).backward()  # pyright: ignore[reportAttributeAccessIssue]
        still = [
            f"{path}.{name}"
            for path, block in blocks_of(model)
            for name, weight in block.named_parameters()
            if weight.grad is None or not weight.grad.any()
        ]
        assert still == []

    def test_removal_restores_the_network(self, inserted: Inserted) -> None:
        model = copy.deepcopy(inserted.model)
        opened(model)
        senet.remove(model)
        assert kinds(model) == kinds(inserted.plain)
        for images in inserted.images:
            assert all(torch.equal(one, other) for one, other in pairs(model, inserted.plain, images))

    def test_a_saved_plan_and_weights_make_a_new_network(self, inserted: Inserted) -> None:
        model, other = copy.deepcopy(inserted.model), made(inserted.name)
        opened(model)
        plan = senet.InsertPlan.from_json(inserted.plan.to_json())
        assert senet.insert(other, plan, init="identity", example_input=inserted.images[0]) == inserted.plan
        other.load_state_dict(model.state_dict())
        assert all(torch.equal(one, two) for one, two in pairs(other, model, inserted.images[-1]))
        back = senet.rename_keys(model.state_dict(), plan, to="plain")
        assert back.keys() == inserted.plain.state_dict().keys()
        assert senet.rename_keys(back, plan, to="inserted").keys() <= model.state_dict().keys()


@pytest.mark.parametrize("kind", ["se", "sse"])
def test_sites_are_those_of_every_kind(kind: str) -> None:
    sites = SEGMENTERS["nnU-Net"].sites
    assert [site.path for site in senet.find_sites(made("nnU-Net"), kind)] == [*sites["encoder"], *sites["decoder"]]


def pairs(model: nn.Module, other: nn.Module, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    with torch.no_grad():
        return list(zip(tensors(model(images)), tensors(other(images)), strict=True))


def kinds(model: nn.Module) -> list[tuple[str, type]]:
    return [(path, type(part)) for path, part in model.named_modules()]


def blocks_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(path, module) for path, module in model.named_modules() if isinstance(module, senet.ChannelSpatialSE)]


def opened(model: nn.Module) -> None:
    """Give blocks weights with which every ReLU is open, no gate saturated, no two gates alike."""
    torch.manual_seed(2)
    for _, block in blocks_of(model):
        for name, weight in block.named_parameters():
            nn.init.ones_(weight) if name.endswith("fc1.bias") else nn.init.normal_(weight, std=0.3 if "fc2" in name else 0.01)
