"""What insertion must do in every network: one contract class, hosts as data."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import senet
from foreign.hosts import HOSTS, Host
from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.surgery.arguments import tensors
from senet.weights.store import read_metadata

ROUNDING = 1e-4
EXACT = 0.0


@dataclass(frozen=True)
class Case:
    """One host before and after the insertion; tests do not change it."""

    host: Host
    plain: nn.Module
    model: nn.Module
    plan: senet.InsertPlan
    images: Tensor
    before: list[Tensor]
    after: list[Tensor]

    def twin(self) -> nn.Module:
        """Return a copy of the network with its blocks."""
        return copy.deepcopy(self.model)


@pytest.fixture(scope="class")
def case(name: str) -> Case:
    host = HOSTS[name]
    plain, images = host.make(), host.images()
    model = copy.deepcopy(plain)
    plan = put(host, model, init="identity")
    before, after = run(plain, images), run(model, images)
    torch.manual_seed(1)
    for block in blocks_of(model):  # every ReLU open, no gate saturated, no two gates alike
        nn.init.normal_(block.fc1.weight, std=1e-3)
        nn.init.ones_(block.fc1.bias)
        nn.init.normal_(block.fc2.weight)
    return Case(host, plain, model, plan, images, before, after)


@pytest.mark.parametrize("name", HOSTS, scope="class")
class TestContract:
    def test_sites_are_the_right_ones(self, case: Case) -> None:
        assert tuple(site.path for site in case.plan) == case.host.paths
        assert {site.kind for site in case.plan} == case.host.kinds
        assert sum(site.existing for site in case.plan) == case.host.recalibrated

    def test_what_recalibrates_already_is_left_alone(self, case: Case) -> None:
        left = len(case.host.paths) - case.host.recalibrated
        if left:
            assert len(senet.find_sites(case.plain, at=case.host.at)) == left
        else:
            with pytest.raises(UsageError, match=f"all {case.host.recalibrated} units .* recalibrate already; existing='add'"):
                senet.find_sites(case.plain)

    def test_identity_start_leaves_the_outputs(self, case: Case) -> None:
        assert_close(case.after, case.before, ROUNDING)
        assert {site.gain for site in case.plan} == {2.0}

    def test_every_block_changes_the_output_and_learns(self, case: Case) -> None:
        model = case.twin()
        assert any(not torch.equal(one, other) for one, other in zip(run(model, case.images), case.before, strict=True))
        learn(model, case.images)
        assert [path for path, block in named_blocks(model) if block.fc1.weight.grad is None or not block.fc2.weight.grad.any()] == []

    def test_removal_restores_the_network(self, case: Case) -> None:
        model = case.twin()
        senet.remove(model)
        assert_close(run(model, case.images), case.before, EXACT)
        assert modules(model) == modules(case.plain)
        assert_same_state(model.state_dict(), case.plain.state_dict())

    def test_copies_have_blocks_of_their_own(self, case: Case) -> None:
        twin = case.twin()
        expected = run(case.model, case.images)
        assert_close(run(twin, case.images), expected, EXACT)
        with torch.no_grad():
            for block in blocks_of(twin):
                block.fc2.bias.add_(3)
        assert_close(run(case.model, case.images), expected, EXACT)

    def test_checkpoints_carry_the_plan(self, case: Case, tmp_path: Path) -> None:
        path = tmp_path / "weights.safetensors"
        senet.save_weights(case.model, path, extra={"plan": case.plan.to_dict()})
        other = copy.deepcopy(case.plain)
        assert senet.insert(other, senet.InsertPlan.from_dict(read_metadata(path).extra["plan"])) == case.plan
        senet.load_weights(other, path)
        assert_close(run(other, case.images), run(case.model, case.images), EXACT)

    def test_keys_lead_back_and_forth(self, case: Case) -> None:
        inserted = case.model.state_dict()
        back = senet.rename_keys(inserted, case.plan, to="plain")
        assert_same_state(back, case.plain.state_dict())
        forth = senet.rename_keys(back, case.plan, to="inserted")
        assert inserted.keys() - forth.keys() == {f"{path}.{key}" for path, block in named_blocks(case.model) for key in block.state_dict()}
        assert forth.keys() <= inserted.keys()

    def test_synchronised_batchnorm_keeps_the_blocks(self, case: Case) -> None:
        model = case.host.synchronise(case.twin())
        assert_close(run(model, case.images), run(case.model, case.images), ROUNDING)

    def test_layouts_and_low_precision(self, case: Case) -> None:
        model = case.twin().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        images = case.images.to(memory_format=torch.channels_last)
        assert_close(run(model, images), run(case.model, case.images), ROUNDING)
        with torch.autocast("cpu", torch.bfloat16):
            assert all(tensor.isfinite().all() for tensor in run(model, images))


def put(host: Host, model: nn.Module, **options: Any) -> senet.InsertPlan:
    return senet.insert(model, existing="add" if host.at is None else "skip", at=host.at, **options)


def run(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the network's outputs; a detector's backbone stands for it, as its boxes are picked by comparisons that rounding decides."""
    part: Any = model.backbone if hasattr(model, "roi_heads") else model
    with torch.no_grad():
        return [tensor for tensor in tensors(part(x)) if tensor.is_floating_point()]


def learn(model: nn.Module, x: Tensor) -> None:
    part: Any = model.backbone if hasattr(model, "roi_heads") else model
    torch.stack([(tensor * torch.randn_like(tensor)).sum() for tensor in tensors(part(x))]).sum().backward()


def named_blocks(model: nn.Module) -> list[tuple[str, Any]]:
    return [(path, module) for path, module in model.named_modules(remove_duplicate=False) if is_block(module)]


def blocks_of(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if is_block(module)]


def modules(model: nn.Module) -> dict[str, tuple[bool, str]]:
    return {path: (module.training, type(module).__name__) for path, module in model.named_modules()}


def assert_same_state(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert list(got) == list(wanted)
    assert all(torch.equal(value, wanted[key]) for key, value in got.items())


def assert_close(got: Sequence[Tensor], wanted: Sequence[Tensor], tolerance: float) -> None:
    """Compare outputs; the tolerance is relative to the largest number."""
    assert [tensor.shape for tensor in got] == [tensor.shape for tensor in wanted]
    assert got
    for one, other in zip(got, wanted, strict=True):
        assert (one - other).abs().max() <= tolerance * other.abs().max()
