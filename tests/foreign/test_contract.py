"""What insertion must do in every network: one contract class, hosts as data."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from foreign.hosts import HOSTS, Host
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import senet
from senet.errors import UsageError
from senet.insertion.existing import BLOCK_TYPES
from senet.insertion.insert import insert
from senet.insertion.trace import tensors

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize("name", HOSTS)
class TestContract:
    @pytest.fixture
    def host(self, name: str) -> Host:
        return HOSTS[name]

    @pytest.fixture
    def model(self, host: Host) -> nn.Module:
        return host.make()

    def test_sites_are_the_right_ones(self, host: Host, model: nn.Module) -> None:
        plan = senet.find_sites(model, existing="add", at=host.at)
        assert tuple(site.path for site in plan) == host.paths
        assert {site.kind for site in plan} == host.kinds
        assert sum(site.existing for site in plan) == host.recalibrated

    def test_what_recalibrates_already_is_left_alone(self, host: Host, model: nn.Module) -> None:
        if not host.recalibrated:
            pytest.skip("this network has no gates of its own")
        if host.recalibrated == len(host.paths):
            with pytest.raises(UsageError, match=f"all {host.recalibrated} units .* recalibrate already; existing='add'"):
                senet.find_sites(model)
        else:
            assert len(senet.find_sites(model)) == len(host.paths) - host.recalibrated

    def test_identity_leaves_the_outputs_and_removal_restores_everything(self, host: Host, model: nn.Module) -> None:
        x, before, state = host.images(), flags(model), clone(model)
        plain = run(model, x)
        plan = put(host, model, init="identity")
        assert_close(run(model, x), plain, **TOLERANCE)
        assert {site.gain for site in plan} == {2.0}
        senet.remove(model)
        assert_close(run(model, x), plain, rtol=0, atol=0)
        assert flags(model) == before
        assert list(model.state_dict()) == list(state)
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())

    def test_every_block_changes_the_output_and_learns(self, host: Host, model: nn.Module) -> None:
        x = host.images()
        plain = run(model, x)
        put(host, model)
        blocks = blocks_of(model)
        for block in blocks:
            nn.init.ones_(block.fc1.bias)  # a bottleneck of few units may start with its ReLU shut
        assert any(not torch.equal(one, other) for one, other in zip(run(model, x), plain, strict=True))
        learn(model, x)
        silent = [index for index, block in enumerate(blocks) if block.fc2.weight.grad is None or not block.fc2.weight.grad.any()]
        assert silent == []

    def test_copies_keep_their_blocks(self, host: Host, model: nn.Module) -> None:
        put(host, model)
        x, twin = host.images(), copy.deepcopy(model)
        kept = run(twin, x)
        assert_close(kept, run(model, x), rtol=0, atol=0)
        with torch.no_grad():
            for block in blocks_of(model):
                block.fc2.bias.add_(3)
        assert_close(run(twin, x), kept, rtol=0, atol=0)
        senet.remove(twin)
        assert not blocks_of(twin)

    def test_checkpoints_carry_the_plan(self, host: Host, model: nn.Module, tmp_path: Any) -> None:
        plan = put(host, model, init="identity")
        with torch.no_grad():
            for block in blocks_of(model):
                block.fc2.bias.normal_()
        path = tmp_path / "weights.safetensors"
        save(model, path, plan)
        other = host.make()
        saved = senet.weights.store.read_metadata(path)
        again = insert(other, senet.InsertPlan.from_dict(saved.extra["plan"]))
        assert again == plan
        load(other, path)
        assert_close(run(other, host.images()), run(model, host.images()), rtol=0, atol=0)

    def test_keys_lead_back_and_forth(self, host: Host, model: nn.Module) -> None:
        plain = list(model.state_dict())
        plan = put(host, model)
        inserted = model.state_dict()
        back = senet.rename_keys(inserted, plan, to="plain")
        assert list(back) == plain
        forth = senet.rename_keys(back, plan, to="inserted")
        assert set(inserted) - set(forth) == {f"{path}.{key}" for path, block in named_blocks(model) for key in block.state_dict()}
        assert set(forth) <= set(inserted)

    def test_synchronised_batchnorm_keeps_the_blocks(self, host: Host, model: nn.Module) -> None:
        put(host, model)
        x, count = host.images(), len(blocks_of(model))
        expected = run(model, x)
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        assert len(blocks_of(model)) == count
        assert_close(run(model, x), expected, **TOLERANCE)

    def test_low_precision_and_layouts(self, host: Host, model: nn.Module) -> None:
        model = model.to(memory_format=torch.channels_last)
        put(host, model)
        x = host.images()
        expected = run(model, x)
        assert_close(run(model, x.to(memory_format=torch.channels_last)), expected, **TOLERANCE)
        with torch.autocast("cpu", torch.bfloat16):
            half = run(model, x)
        assert all(tensor.isfinite().all() for tensor in half)


@pytest.mark.parametrize("name", ["torchvision/resnet18", "torchvision/mobilenet_v2"])
def test_fusion_of_convolution_and_norm_never_loses_a_block_silently(name: str) -> None:
    model = HOSTS[name].make()
    plan = put(HOSTS[name], model)
    for site in plan:
        gated = model.get_submodule(site.path)
        with pytest.raises(AttributeError):
            fuse_conv_bn_eval(nn.Conv2d(3, gated.host.num_features, 1), gated)  # pyright: ignore[reportArgumentType]


def put(host: Host, model: nn.Module, **options: Any) -> senet.InsertPlan:
    return senet.insert(model, existing="add" if host.at is None else "skip", at=host.at, **options)


def run(model: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [tensor for tensor in tensors(model(x)) if tensor.is_floating_point()]


def learn(model: nn.Module, x: Tensor) -> None:
    """Run a step's backward pass; detection has no loss here, so its backbone stands for it."""
    part: nn.Module = model.backbone if hasattr(model, "roi_heads") else model  # pyright: ignore[reportAssignmentType]
    torch.stack([(tensor * torch.randn_like(tensor)).sum() for tensor in tensors(part(x))]).sum().backward()


def named_blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(path, module) for path, module in model.named_modules(remove_duplicate=False) if isinstance(module, BLOCK_TYPES)]


def blocks_of(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, BLOCK_TYPES)]


def flags(model: nn.Module) -> dict[str, tuple[bool, str]]:
    return {path: (module.training, type(module).__name__) for path, module in model.named_modules()}


def clone(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def assert_close(got: list[Tensor], wanted: list[Tensor], **tolerance: float) -> None:
    assert len(got) == len(wanted) > 0
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, **tolerance)  # pyright: ignore[reportCallIssue, reportArgumentType]
