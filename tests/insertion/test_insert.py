"""Blocks in a network: like their hosts, proved to be on the path, taken out again."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import senet
from foreign.networks import Shared, UNet, Unit, Untraceable
from senet.errors import UsageError
from senet.insertion.gated import Gated
from senet.insertion.rewrite import Rewritten
from senet.insertion.verify import ZERO_EFFECT, ZERO_VALUE


def blocks(model: nn.Module) -> list[senet.ChannelSE]:
    return [module for module in model.modules() if isinstance(module, senet.ChannelSE)]


def test_blocks_follow_type_mode_and_layout_of_their_hosts() -> None:
    model = torchvision.models.resnet18().double().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    model.layer1.eval()
    senet.insert(model, senet.BlockSpec("scse", combine="concat"))
    for path, module in model.named_modules():
        if isinstance(module, senet.ChannelSpatialSE):
            assert {parameter.dtype for parameter in module.parameters()} == {torch.float64}
            assert module.training == (not path.startswith("layer1"))
            assert module.merge is not None
            assert module.merge.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("spec", [senet.BlockSpec("se", reduction=2), senet.BlockSpec("sse"), senet.BlockSpec("scse")], ids=str)
def test_networks_for_volumes_are_laid_out_with_their_blocks(spec: senet.BlockSpec) -> None:
    x, last = torch.randn(1, 1, 9, 10, 11, dtype=torch.float64), torch.channels_last_3d
    states = {}
    for first in ("blocks", "layout"):
        torch.manual_seed(0)
        model: nn.Module = senet.create_model("unet3d", width=4, depth=2, in_channels=1, num_classes=2).double()
        for step in (first, *({"blocks", "layout"} - {first})):
            if step == "blocks":
                senet.insert(model, spec)
            else:
                model = model.to(memory_format=last)  # pyright: ignore[reportCallIssue]
        assert all(weight.is_contiguous(memory_format=last) for weight in model.parameters() if weight.ndim == 5)
        states[first] = {name: tensor.shape for name, tensor in model.state_dict().items()}
        want = model.to(memory_format=torch.contiguous_format)(x)  # pyright: ignore[reportCallIssue]
        got = model.to(memory_format=last)(x.contiguous(memory_format=last))  # pyright: ignore[reportCallIssue]
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert states["blocks"] == states["layout"]


def test_half_precision_hosts_get_half_precision_blocks() -> None:
    model = senet.create_model("cifar_resnet20").to(torch.bfloat16).eval()
    senet.insert(model)
    assert {parameter.dtype for block in blocks(model) for parameter in block.parameters()} == {torch.bfloat16}
    assert model(torch.randn(2, 3, 16, 16, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_branch_that_is_zero_now_is_reported() -> None:
    plan = senet.insert(senet.create_model("cifar_resnet20", zero_init_residual=True))
    assert {site.note for site in plan} == {ZERO_VALUE}
    assert f"9 sites, from layer1.0.bn2 to layer3.2.bn2: {ZERO_VALUE}" in str(plan)


def test_a_gain_that_hides_a_branch_now_is_reported() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)
            self.gain = nn.Parameter(torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.gain * self.conv(x)

    model = nn.Sequential(nn.Conv2d(3, 8, 1), Scaled())
    plan = senet.insert(model)
    assert [(site.path, site.note) for site in plan] == [("1.conv", ZERO_EFFECT)]
    assert not model[1].gain.any()


def test_shared_modules_get_one_block() -> None:
    model = Shared()
    plan = senet.insert(model)
    assert [(site.path, site.aliases) for site in plan] == [("first.bn", ("again.bn",)), ("other.bn", ())]
    assert model.first is model.again
    assert len(blocks(model)) == 2
    senet.remove(model)
    assert model.first is model.again
    assert isinstance(model.first.bn, nn.BatchNorm2d)


def test_a_shared_container_gets_one_block_behind_it() -> None:
    model = Shared()
    senet.insert(model, placement="post")
    assert isinstance(model.first, Gated)
    assert model.first is model.again
    assert len(blocks(model)) == 2


@pytest.mark.parametrize("placement", ["standard", "post", "identity"])
def test_whole_networks_can_be_pickled(placement: str) -> None:
    model = torchvision.models.resnet18().eval()
    senet.insert(model, placement=placement)
    x = torch.randn(1, 3, 64, 64)
    twin = pickle.loads(pickle.dumps(model))
    torch.testing.assert_close(twin(x), model(x), rtol=0, atol=0)
    senet.remove(twin)
    assert not blocks(twin)


def test_removal_takes_over_what_changed_meanwhile() -> None:
    model = torchvision.models.resnet18()
    senet.insert(model, placement="identity")
    unit = model.layer1[0]
    assert isinstance(unit, Rewritten)
    unit.conv1 = nn.Conv2d(64, 64, 1)
    unit.eval()
    replaced = unit.conv1
    senet.remove(model)
    assert type(model.layer1[0]).__name__ == "BasicBlock"
    assert model.layer1[0].conv1 is replaced
    assert not model.layer1[0].training


def test_copies_of_rewritten_units_do_not_share_weights() -> None:
    model = torchvision.models.resnet18().eval()
    senet.insert(model, placement="identity")
    twin = copy.deepcopy(model)
    x = torch.randn(1, 3, 64, 64)
    before = twin(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    torch.testing.assert_close(twin(x), before, rtol=0, atol=0)
    senet.remove(twin)
    assert twin.layer1[0].conv1.weight.any()


class Optional(nn.Module):
    """A unit with arguments that most networks leave out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, gain: float = 1.0) -> torch.Tensor:
        y = self.conv(x) if mask is None else self.conv(x) * mask
        return torch.relu(x + y * gain)


class Calls(nn.Module):
    """A network that calls its unit with some of them."""

    def __init__(self, **arguments: object) -> None:
        super().__init__()
        self.stem, self.unit, self.arguments = nn.Conv2d(3, 8, 1), Optional(), arguments

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.unit(self.stem(x), **self.arguments)


@pytest.mark.parametrize("arguments", [{}, {"mask": None}, {"gain": 0.5}], ids=str)
def test_arguments_that_a_network_leaves_none_stay_none_in_a_rewritten_unit(arguments: dict[str, object]) -> None:
    model, x = Calls(**arguments).eval(), torch.randn(2, 3, 5, 5)
    before = model(x)
    plan = senet.insert(model, placement="identity")
    assert [(site.path, site.position) for site in plan] == [("unit", "graph")]
    u = model.stem(x)
    se, conv = model.unit.get_submodule("se"), model.unit.get_submodule("conv")
    torch.testing.assert_close(model(x), torch.relu(se(u) + conv(u) * arguments.get("gain", 1.0)))
    with pytest.raises(UsageError, match=r"^RewrittenOptional was made for calls with mask=None, as the network's were$"):
        model.unit(u, mask=torch.ones(1))
    senet.remove(model)
    assert torch.equal(model(x), before)


def test_named_modules_of_an_untraceable_network() -> None:
    model = Untraceable()
    plan = senet.insert(model, at=r"units\.\d\.bn", init="identity")
    assert [site.container for site in plan] == ["units.0", "units.1"]
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(block.fc2.weight.grad is not None and block.fc2.weight.grad.any() for block in blocks(model))


def test_the_plan_travels_in_the_configuration_of_our_networks(tmp_path) -> None:
    model = senet.create_model("cifar_resnet20").eval()
    plan = senet.insert(model, "se", stages=(2,), init="identity")
    senet.save_weights(model, tmp_path / "inserted.safetensors")
    again = senet.from_pretrained(tmp_path / "inserted.safetensors")
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)
    assert again.config.options["inserted"] == [plan.to_dict()]
    senet.remove(again)
    assert "inserted" not in again.config.options


def test_a_plan_that_was_inserted_keeps_its_start() -> None:
    plan = senet.insert(UNet(), init="identity")
    again = senet.insert(UNet(), plan)
    assert again.init == "identity"
    assert {site.gain for site in again} == {2.0}


def test_only_the_blocks_learn_when_the_host_is_frozen() -> None:
    torch.manual_seed(1)  # of some seeds a step of this size leaves a hidden layer without one unit that is not 0
    model = senet.create_model("cifar_resnet20")
    plan = senet.insert(model, senet.BlockSpec("se", reduction=2), init="identity")
    host = {key: value.clone() for key, value in senet.rename_keys(model.state_dict(), plan, to="plain").items()}
    model.train()
    senet.freeze_host(model)
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 16, 16)).square().sum().backward()
        optimizer.step()
    after = senet.rename_keys(model.state_dict(), plan, to="plain")
    assert all(torch.equal(value, host[key]) for key, value in after.items())
    assert all(block.fc1.weight.grad is not None and block.fc1.weight.grad.any() for block in blocks(model))
    assert {path.rpartition(".se.")[1] for path, parameter in model.named_parameters() if parameter.requires_grad} == {".se."}
    assert all(block.training for block in blocks(model))


def test_the_zoos_blocks_can_be_trained_alone() -> None:
    model = senet.create_model("scse_cifar_resnet20")
    senet.freeze_host(model)
    trained = [path for path, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(".se." in path for path in trained)


class Crowded(nn.Module):
    """A unit whose children and parameters have the names of what this package works with."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({"original": nn.Conv2d(8, 8, 3, padding=1)})
        self.original = nn.Conv2d(8, 8, 1)
        self.retrace, self.restore, self.run, self.host = (nn.Conv2d(8, 8, 1) for _ in range(4))

    def forward(self, self_1: torch.Tensor, torch: object = None, input: float = 1.0, getattr: object = None) -> object:  # noqa: A002
        y = self.host(self.run(self.restore(self.retrace(self.original(self.blocks["original"](self_1))))))
        return self_1 + y * input


@pytest.mark.parametrize("copied", [lambda model: model, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_names_of_anothers_modules_and_arguments_are_their_own(copied: Callable[[nn.Module], nn.Module]) -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 8, 1), Crowded()).eval(), torch.randn(2, 3, 5, 5)
    before = model(x)
    (site,) = senet.insert(model, placement="identity", init="identity")
    assert (site.path, site.kind, site.position) == ("1", "residual", "graph")
    model = copied(model)
    assert torch.equal(model(x), before)
    senet.remove(model)
    assert torch.equal(model(x), before)
    assert model.get_submodule("1.blocks.original")


def test_a_network_that_is_itself_a_wrapper_is_not_left_as_it_is_in_silence() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), Crowded())
    senet.insert(model, at="0")
    senet.insert(model, placement="identity")
    for part, wrapped in ((model[0], "Conv2d"), (model[1], "Crowded")):
        with pytest.raises(UsageError, match=f"^this {wrapped} is itself wrapped with a block, which only its parent can take off"):
            senet.remove(part)
    senet.remove(model)


@pytest.mark.parametrize("side", [28, 96, 384])
def test_a_network_with_a_fixed_size_takes_blocks(side: int) -> None:
    torch.manual_seed(0)
    width = 8 * (side // 4) ** 2
    model = nn.Sequential(nn.Conv2d(1, 8, 3, 4, 1), Unit(8, nn.ReLU()), Unit(8, nn.ReLU()), nn.Flatten(), nn.Linear(width, 10)).eval()
    images = torch.randn(2, 1, side, side)
    before = model(images)
    plan = senet.insert(model, init="identity")
    assert [site.path for site in plan] == ["1.bn", "2.bn"]
    assert [site.channels for site in plan] == [8, 8]
    torch.testing.assert_close(model(images), before)
    senet.remove(model)
    assert torch.equal(model(images), before)


def test_a_wrapper_has_the_plain_attributes_of_its_host_alone() -> None:
    """A network may note on a module where that takes its input from; what would fuse the host must not find its weights."""
    host: Any = nn.BatchNorm2d(4)
    host.source = [-1, 4]
    gated: Any = Gated(host, senet.ChannelSE(4, hidden=2))
    assert gated.source == [-1, 4]
    assert copy.deepcopy(gated).source == [-1, 4]
    assert not any(hasattr(gated, name) for name in ("weight", "running_mean", "absent"))
