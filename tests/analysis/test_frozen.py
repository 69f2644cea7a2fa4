"""Frozen gates: at the gate of an image the network gives what it gave for that image, wherever blocks are."""

import copy
from collections.abc import Callable
from types import MethodType
from typing import Any, Literal

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from torch import Tensor, nn

import senet
from senet import BlockSpec
from senet.analysis.frozen import block_effects, frozen_constants, frozen_gates
from senet.analysis.gate_statistics import record_gates
from senet.analysis.record import gate_paths
from senet.analysis.spatial import spatial_gate_paths
from senet.blocks.channel import ChannelSE
from senet.blocks.channel_spatial import ChannelSpatialSE
from senet.blocks.spatial import SpatialSE
from senet.errors import UsageError
from senet.insertion.adopt import is_library_block, with_own_blocks
from senet.insertion.gated import Gated
from senet.measuring.scores import Scores
from senet.surgery.hooks import hooked


def zoo(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: senet.create_model(name, **options)


def inserted(name: str, kind: str, init: Literal["paper", "identity"] = "paper", **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model = senet.create_model(name)
        senet.insert(model, kind, init=init, example_input=torch.randn(1, 3, 32, 32), **options)
        return model

    return make


def channels_last() -> nn.Module:
    wrapped = (Gated(nn.Identity(), ChannelSE(16, 2), axis=-1, gain=2.0), Gated(nn.Identity(), ChannelSE(16, 2), axis=-1, on="input"))
    return nn.Sequential(*wrapped)


def vgg() -> nn.Module:
    """Return the network without its head of 120 million weights."""
    with torch.device("meta"):
        model = senet.create_model("vgg11_bn", block="se")
    features = model.get_submodule("features").to_empty(device="cpu")
    for module in features.modules():
        if isinstance(reset := getattr(module, "reset_parameters", None), MethodType):
            reset()
    return features


def with_smp() -> nn.Module:
    options: Any = {"decoder_attention_type": "scse", "classes": 2, "decoder_channels": (32, 16, 16, 16, 16)}
    return smp.Unet("resnet18", encoder_weights=None, **options)


SHORT = {"counts": (1, 1, 2)}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    **{f"preresnet20 {kind} {place}": (zoo("preresnet20", block=kind, placement=place), 16)
       for kind in ("se", "sse", "scse") for place in ("standard", "pre", "post", "identity", "inner")},
    **{f"cifar_resnet20 {kind}": (zoo("cifar_resnet20", block=kind), 16) for kind in ("se", "sse", "scse", "cmpe_se")},
    "preresnet20 cmpe_se": (zoo("cmpe_se_preresnet20"), 16),
    "resnet18 se": (zoo("se_resnet18"), 33),
    "wrn se": (zoo("se_wrn16_8"), 9),
    "shake_shake se": (zoo("se_shake_shake26_2x32d"), 9),
    "vgg se": (vgg, 32),
    "mobilenet se": (zoo("se_mobilenet"), 33),
    "shufflenet se": (zoo("se_shufflenet_g3"), 64),
    "inception_resnet se": (zoo("inception_resnet_v2", block="se", **SHORT), 107),
    "unet scse": (zoo("scse_unet", width=4), 33),
    "inserted se": (inserted("resnet18", "se"), 32),
    "inserted identity": (inserted("cifar_resnet20", "se", init="identity"), 16),
    "inserted rewritten": (inserted("preresnet20", "cmpe_se"), 16),
    "inserted channels last": (channels_last, 16),
    "smp": (with_smp, 32),
    "timm": (lambda: timm.create_model("seresnet18"), 40),
    "torchvision": (lambda: torchvision.models.mobilenet_v3_small(), 64),
}  # fmt: skip


def lively(model: nn.Module) -> nn.Module:
    """Draw what training would have moved: every gate differs from image to image, no branch is zero."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, ChannelSE | SpatialSE) or is_library_block(module):
            for parameter in module.parameters():
                parameter.data += 0.5 * torch.randn_like(parameter)
    return model.eval()


def gates_of(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the gates of all blocks for one image: (C,) of channels, (1, *S) of positions."""
    found: dict[str, Tensor] = {}
    paths = gate_paths(model) | spatial_gate_paths(model)

    def note(block: Any, given: tuple[Tensor, ...], _: Tensor) -> None:
        found[paths[block]] = block.gate(*given)[0]

    with torch.no_grad(), hooked(paths, note):
        model(x)
    return found


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_gates_frozen_at_those_of_an_image_change_nothing_for_it(name: str) -> None:
    """Gates of positions are constant only where they are made so: their weights are zeroed, and the bias stays."""
    make, size = NETWORKS[name]
    torch.manual_seed(0)
    model = lively(make()).double()
    own = with_own_blocks(model)
    host = own if spatial_gate_paths(own) else model  # smp's scSE has no halves of ours
    for block in spatial_gate_paths(own):
        nn.init.zeros_(block.get_parameter("conv.weight"))
        nn.init.constant_(block.get_parameter("conv.bias"), 0.7)
    first, second = torch.randn(2, 1, 3, size, size, dtype=torch.float64)
    gates = {path: gate if gate.ndim == 1 else gate.mean().item() for path, gate in gates_of(own, first).items()}
    assert gates
    before, other = host(first), host(second)
    with frozen_gates(host, gates):
        torch.testing.assert_close(host(first), before, rtol=1e-12, atol=1e-12)
        if not all(isinstance(gate, float) for gate in gates.values()):
            assert (host(second) - other).abs().max() > 1e-9
    torch.testing.assert_close(host(second), other, rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", ["preresnet20 se standard", "cifar_resnet20 cmpe_se", "inserted identity", "timm"])
def test_the_same_holds_in_single_precision(name: str) -> None:
    make, size = NETWORKS[name]
    torch.manual_seed(0)
    model, x = lively(make()), torch.randn(1, 3, size, size)
    with senet.backend("reference"):
        gates = gates_of(with_own_blocks(model), x)
        before = model(x)
        with frozen_gates(model, gates):
            torch.testing.assert_close(model(x), before, rtol=1e-6, atol=1e-6 * before.abs().max().item())


@torch.no_grad()
@pytest.mark.parametrize("name", ["se_preresnet20", "scse_cifar_resnet20", "sse_cifar_resnet20"])
def test_fused_tails_do_not_pass_by_frozen_gates(name: str) -> None:
    """In float32 the tail of a unit is one operator, which reads the weights of the block."""
    torch.manual_seed(0)
    model = lively(senet.create_model(name))
    x = torch.randn(10, 3, 32, 32)  # enough that the operator pays
    chosen = dict.fromkeys((gate_paths(model) | spatial_gate_paths(model)).values(), 0.25)
    with frozen_gates(model, chosen):
        fused = model(x)
        with senet.backend("reference"):
            torch.testing.assert_close(fused, model(x), rtol=1e-5, atol=1e-5)
        recorded = record_gates(model, [(x, None)])
    assert {block.mean.mean().item() for block in recorded.blocks} == {0.25}
    assert (model(x) - fused).abs().max() > 1e-3


@torch.no_grad()
def test_a_block_that_is_left_out_leaves_its_unit_plain() -> None:
    torch.manual_seed(0)
    for name in ("se_preresnet20", "scse_cifar_resnet20", "cmpe_se_preresnet20"):
        model = lively(senet.create_model(name)).double()
        plain = copy.deepcopy(model)
        for unit in plain.modules():
            if hasattr(unit, "se"):
                unit._modules["se"] = None
        paths = [path for path, module in model.named_modules() if path.endswith(".se")]
        x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
        with frozen_gates(model, dict.fromkeys(paths)):
            torch.testing.assert_close(model(x), plain(x), rtol=1e-12, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(("name", "kind"), [("cifar_resnet20", "se"), ("preresnet20", "cmpe_se"), ("cifar_resnet20", "scse")])
def test_an_inserted_block_that_is_left_out_leaves_the_host_as_it_was(name: str, kind: str) -> None:
    torch.manual_seed(0)
    host = lively(senet.create_model(name))
    model = copy.deepcopy(host)
    senet.insert(model, BlockSpec(kind), init="identity", example_input=torch.randn(1, 3, 32, 32))
    x = torch.randn(2, 3, 16, 16)
    paths = [path for path, module in model.named_modules() if path.split(".")[-1].startswith("se")]
    with frozen_gates(model, dict.fromkeys(paths)), senet.backend("reference"):
        torch.testing.assert_close(model(x), host(x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("combine", ["add", "max", "multiply", "concat"])
def test_halves_are_frozen_before_they_are_joined(combine: str) -> None:
    torch.manual_seed(0)
    block = ChannelSpatialSE(5, 2, combine=combine).double()  # pyright: ignore[reportArgumentType]
    model, x = nn.Sequential(block), torch.randn(2, 5, 4, 3, dtype=torch.float64)
    c = torch.rand(5, dtype=torch.float64)
    of_channels = x * c[:, None, None]
    for constant in ({"0.cse": c}, {"0.cse": c, "0.sse": 0.3}):
        of_positions = x * 0.3 if "0.sse" in constant else block.sse(x)
        joined = {
            "add": lambda q=of_positions: of_channels + q,
            "max": lambda q=of_positions: torch.maximum(of_channels, q),
            "multiply": lambda q=of_positions: of_channels * q,
            "concat": lambda q=of_positions: block.get_submodule("merge")(torch.cat((of_channels, q), 1)),
        }[combine]()
        with frozen_gates(model, constant):
            torch.testing.assert_close(model(x), joined, rtol=1e-12, atol=1e-12)


def test_modes_are_undone_in_any_order_and_after_an_error() -> None:
    model = nn.Sequential(ChannelSE(4, 2)).eval()
    x = torch.randn(1, 4, 3, 3)
    before, attributes = model(x), set(vars(model[0]))
    with frozen_gates(model, {"0": None}):
        assert torch.equal(model(x), x)
    with frozen_gates(model, {"0": 0.5}):
        with pytest.raises(RuntimeError, match="must match"), frozen_gates(model, {"0": None}):
            torch.add(model(x), torch.ones(5))
        assert torch.equal(model(x), x * 0.5)
    assert torch.equal(model(x), before)
    assert set(vars(model[0])) == attributes


def test_gradients_pass_through_a_frozen_block() -> None:
    model = nn.Sequential(ChannelSE(4, 2)).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    c = torch.rand(4, dtype=torch.float64)
    with frozen_gates(model, {"0": c}):
        model(x).sum().backward()
    torch.testing.assert_close(x.grad, c[None, :, None].expand(2, 4, 3), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"1": 0.5}, "has no block at '1'; its blocks: 0$"),
        ({"0.fc1": 0.5}, "has no block at '0.fc1'"),
        ({"0": torch.ones(3)}, r"a constant for each is \(4,\), got \(3,\)"),
    ],
)
def test_what_is_no_block_or_does_not_fit_is_refused(constants: dict[str, Any], message: str) -> None:
    model = nn.Sequential(ChannelSE(4, 2))
    with pytest.raises(UsageError, match=message), frozen_gates(model, constants):
        pass
    assert "forward" not in vars(model[0])


def test_a_wrong_number_of_channels_is_refused_for_blocks_of_other_libraries_too() -> None:
    model = nn.Sequential(torchvision.ops.SqueezeExcitation(8, 2))
    with pytest.raises(UsageError, match=r"'0' has 8 channels.*got \(3,\)"), frozen_gates(model, {"0": torch.ones(3)}):
        pass


@pytest.mark.parametrize("constant", [torch.tensor(0.25), torch.tensor([0.25], dtype=torch.float64)])
@pytest.mark.parametrize("block", [ChannelSE(4, 2), SpatialSE(4), torchvision.ops.SqueezeExcitation(4, 2)])
def test_one_number_may_be_a_tensor(block: nn.Module, constant: Tensor) -> None:
    model, x = nn.Sequential(block), torch.rand(2, 4, 3, 3)
    with frozen_gates(model, {"0": constant}):
        assert torch.equal(model(x), x * 0.25)


class Ramp(nn.Module):
    """A network whose answers are known: its first block is constant, its second decides."""

    def __init__(self) -> None:
        super().__init__()
        self.still, self.lively = ChannelSE(2, 1), ChannelSE(2, 1)
        nn.init.zeros_(self.still.fc2.weight)
        for layer, weight in ((self.lively.fc1, [[1.0, 0], [0, 1]]), (self.lively.fc2, [[9.0, -9], [-9, 9]])):
            layer.weight.data = torch.tensor(weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.lively(self.still(x)).mean((2, 3))


@torch.no_grad()
def test_effects_are_what_the_metric_loses() -> None:
    model = Ramp()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 2, 2, 2, generator=generator)
    bright, labels = x.clone(), (x.mean((2, 3))[:, 0] < x.mean((2, 3))[:, 1]).long()
    bright[labels == 1, 1] *= 0.9  # the wrong channel is the brighter one for some, and the gate decides against it

    def measure(network: nn.Module) -> Scores:
        right = (network(bright).argmax(1) == labels).double() * 100
        return Scores(right.mean().item(), right)

    seen: list[tuple[int, int]] = []
    statistics = record_gates(model, [(bright, labels)])
    effects = block_effects(model, measure, statistics, progress=lambda done, total: seen.append((done, total)))
    assert [effect.path for effect in effects] == ["still", "lively"]
    assert seen == [(done, 6) for done in range(7)]
    before = measure(model)
    assert effects[0].losses["channel"].to_dict() == {"points": 0.0, "low": 0.0, "high": 0.0, "unit": "points"}
    for mode in ("channel", "mean", "none"):
        with frozen_gates(model, frozen_constants(statistics, ["lively"], mode)):
            assert effects[1].losses[mode].points == pytest.approx(before.value - measure(model).value)
    again = block_effects(model, measure, statistics, before=before, modes=("none",))
    assert again[1].losses == {"none": effects[1].losses["none"]}
    assert effects[1].to_dict()["losses"]["none"]["points"] == effects[1].losses["none"].points
    with pytest.raises(UsageError, match="allowed: channel, mean, none"):
        block_effects(model, measure, statistics, modes=("chanel",))


def test_constants_are_the_means_that_were_recorded() -> None:
    torch.manual_seed(0)
    model = lively(nn.Sequential(ChannelSpatialSE(4, 2)))
    statistics = record_gates(model, [(torch.randn(5, 4, 3, 3), None)])
    channel, mean = frozen_constants(statistics, ["0"], "channel"), frozen_constants(statistics, ["0"], "mean")
    assert channel["0.cse"] is statistics["0.cse"].mean
    assert mean["0.cse"] == pytest.approx(statistics["0.cse"].mean.mean().item())
    assert channel["0.sse"] == mean["0.sse"] == pytest.approx(statistics["0.sse"].mean.item())
    assert frozen_constants(statistics, ["0"], "none") == {"0": None}
