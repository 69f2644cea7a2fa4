"""Networks with constant gates folded in equal those whose blocks are frozen by hooks: every family, placement and way of insertion."""

import copy
import io
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import senet
from compression.made_folds import folded_and_frozen
from oracles.frozen import drawn_gates, frozen
from oracles.optimized import distance, images, network
from oracles.weights import draw
from senet.blocks.kinds import is_block
from senet.compression.folding import fold_constant, fold_gates
from senet.errors import UsageError
from senet.surgery.channel_scale import ChannelScale

QUICK = (
    *("se_cifar_resnet20", "se_preresnet20", "se_mobilenet", "se_shufflenet_g3", "se_bn_inception", "se_shake_shake26_2x32d"),
    *("cmpe_se_preresnet20", "scse_cifar_resnet20", "sse_preresnet20", "se_unet", "scse_fc_densenet", "scse_sd_net", "se_unet3d"),
)
SLOW = ("se_resnet18", "se_resnext50_32x4d", "senet154", "se_shake_even29_2x4x64d", "se_inception_resnet_v2")
UNFOLDED = {"se_inception_resnet_v2": 2}
"""Network -> how many of its blocks stay: a reduction's max-pool hands on its input, and shortcuts read its output."""

OPTIONS = {name: {"width": 8} for name in ("se_unet", "scse_fc_densenet", "scse_sd_net", "se_unet3d")}


def remaining(model):
    return [module for module in model.modules() if is_block(module)]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_family(name):
    model = network(name, **OPTIONS.get(name, {})).double()
    found, error = folded_and_frozen(model, images(name, dtype=torch.float64)[..., :80, :80])
    assert error < 1e-12
    assert remaining(found.model) == []
    assert sum(not fold.into for fold in found.folds) == UNFOLDED.get(name, 0)
    assert len(found.folds) == len(drawn_gates(model))


def test_vgg():
    whole: Any = senet.create_model("se_vgg11_bn", device="meta")
    model = draw(whole.features.to_empty(device="cpu").double(), last="-", projection="-").eval()
    found, error = folded_and_frozen(model, torch.randn(2, 3, 32, 34, dtype=torch.float64))
    assert error < 1e-12
    assert [fold.into for fold in found.folds][:2] == [("1",), ("5",)]


LEFT = {"standard": 0, "pre": 0, "inner": 0, "identity": 7, "post": 7}
"""Placement -> blocks of a network of 20 layers that stay a multiplication, as a shortcut reads what they scale."""


@pytest.mark.parametrize("placement", LEFT)
@pytest.mark.parametrize("name", ["se_cifar_resnet20", "se_preresnet20"])
def test_placements(name, placement):
    found, error = folded_and_frozen(network(name, placement=placement).double(), images(name, dtype=torch.float64))
    assert error < 1e-12
    assert sum(not fold.into for fold in found.folds) == LEFT[placement]
    assert all(bool(fold.into) != bool(fold.kept) for fold in found.folds)
    scales = [module for module in found.model.modules() if isinstance(module, ChannelScale)]
    assert len(scales) == LEFT[placement]


@pytest.mark.parametrize("name", ["se_cifar_resnet20", "cmpe_se_preresnet20", "scse_sd_net"])
def test_float32_to_rounding(name):
    found, error = folded_and_frozen(network(name, **OPTIONS.get(name, {})), images(name))
    assert error < 1e-6
    assert all(parameter.dtype == torch.float32 for parameter in found.model.parameters())


def test_gates_of_zero_and_above_one():
    model = network("se_cifar_resnet20").double()
    gates = drawn_gates(model, 0.5, 3.0)
    gates["layer1.0.se"][:5] = 0.0
    with torch.no_grad(), frozen(model, gates):
        x = images("cifar", dtype=torch.float64)
        assert distance(fold_constant(model, gates)(x), model(x)) < 1e-12


def test_a_negative_gate_does_not_pass_a_relu():
    model = network("se_preresnet20", placement="inner").double()
    gates = {"layer1.0.se": torch.linspace(-1, 1, 16, dtype=torch.float64)}
    found = fold_gates(model, gates)
    with torch.no_grad(), frozen(model, gates):
        x = images("preresnet20", dtype=torch.float64)
        assert distance(found.model(x), model(x)) < 1e-12
    assert found.folds[0].into == ("layer1.0.conv1",)  # no ReLU lies between
    rectified = network("se_cifar_resnet20", placement="inner").double()
    kept = fold_gates(rectified, {"layer1.0.se": gates["layer1.0.se"]})
    assert kept.folds[0].into == ("layer1.0.conv2",)  # one lies before the block, none behind it


@pytest.mark.parametrize("placement", ["standard", "pre", "inner"])
def test_training_goes_on_as_with_frozen_gates(placement):
    """Outputs, gradients of what is not scaled and running statistics of a training step are those of the frozen network."""
    model: Any = network("se_preresnet20", placement=placement).double().train().requires_grad_(True)
    gates = drawn_gates(model)
    found: Any = fold_constant(model, gates)
    assert found.training
    x = images("preresnet20", batch=4, dtype=torch.float64)
    with frozen(model, gates):
        one, other = found(x), model(x)
    tolerance = 1e-4 if placement == "pre" else 1e-12  # where BN reads a scaled map, its epsilon counts for another share of the variance
    assert distance(one, other) < tolerance
    one.square().sum().backward()
    other.square().sum().backward()
    assert distance(found.fc.weight.grad, model.fc.weight.grad) < tolerance
    assert all(parameter.grad is not None for parameter in found.parameters())
    assert distance(found.bn.running_var, model.bn.running_var) < tolerance


@pytest.mark.parametrize("placement", LEFT)
def test_inserted_blocks(placement):
    model = draw(senet.create_model("cifar_resnet20"), last="bn2$", projection="downsample").eval().double()
    senet.insert(model, "se", placement=placement, init="identity")
    found, error = folded_and_frozen(model, images("cifar", dtype=torch.float64))
    assert error < 1e-12
    assert remaining(found.model) == []
    assert sum(not fold.into for fold in found.folds) == LEFT[placement]
    if placement in ("standard", "pre", "inner"):
        assert not any(isinstance(module, senet.Gated) for module in found.model.modules())


def test_inserted_blocks_that_see_the_shortcut():
    model = draw(senet.create_model("preresnet20"), last="-", projection="downsample").eval().double()
    senet.insert(model, "cmpe_se")
    found, error = folded_and_frozen(model, images("preres", dtype=torch.float64))
    assert error < 1e-12
    assert [fold.into for fold in found.folds][:2] == [("layer1.0.conv2",), ("layer1.1.conv2",)]


class Permuted(nn.Module):
    """Unit whose channels come last inside, as in ConvNeXt, with a layer scale."""

    def __init__(self, channels):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(channels, channels, 3, padding=1, groups=channels), nn.LayerNorm(channels)
        self.widen, self.narrow = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)
        self.scale = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(torch.nn.functional.gelu(self.widen(y)))
        return x + self.scale * y.permute(0, 3, 1, 2)


@pytest.mark.parametrize("at", ["norm", "widen", "narrow"])
def test_channels_that_come_last(at):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), Permuted(8)).double().eval()
    senet.insert(model, "se", at=rf"1\.{at}", example_input=torch.randn(1, 3, 16, 16, dtype=torch.float64))
    found, error = folded_and_frozen(model, torch.randn(2, 3, 16, 16, dtype=torch.float64))
    assert error < 1e-12
    assert [fold.into for fold in found.folds] == [(f"1.{at}",)]


def test_channels_last_behind_a_permutation():
    class Network(Permuted):
        def __init__(self):
            super().__init__(8)
            self.se = senet.ChannelSE(8, 2)

        def forward(self, x):
            y = self.narrow(self.widen(self.norm(self.depthwise(x).permute(0, 2, 3, 1))))
            return x + self.scale * self.se(y.permute(0, 3, 1, 2))

    found, error = folded_and_frozen(Network().double().eval(), torch.randn(2, 8, 16, 16, dtype=torch.float64))
    assert error < 1e-12
    assert found.folds[0].into == ("narrow",)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "densenet121", "shufflenet_v2_x1_0"])
def test_inserted_into_networks_of_torchvision(name):
    model = draw(torchvision.models.get_model(name), last="bn2$", projection="downsample").eval().double()
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("layer_scale"):
            nn.init.uniform_(parameter, 0.5, 1.5)
    senet.insert(model, "se", existing="add")
    found, error = folded_and_frozen(model, images("resnet", dtype=torch.float64))
    assert error < 1e-12
    assert sum(not fold.into for fold in found.folds) == {"shufflenet_v2_x1_0": 3}.get(name, 0)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", pytest.param("regnet_y_400mf", marks=pytest.mark.slow)])
def test_blocks_of_another_library(name):
    model = draw(torchvision.models.get_model(name), last="-", projection="-").eval().double()
    ours = copy.deepcopy(model)
    senet.adopt(ours)
    gates = drawn_gates(ours)
    found = fold_gates(model, gates)
    x = images("resnet", dtype=torch.float64)
    with torch.no_grad(), frozen(model, gates):
        assert distance(found.model(x), model(x)) < 1e-12
    assert all(fold.into for fold in found.folds)
    kinds = {type(module).__name__ for module in found.model.modules()}
    assert "SqueezeExcitation" not in kinds
    if name == "mobilenet_v3_small":  # no ReLU, but a hard swish between BN and most blocks
        assert found.folds[0].into == ("features.1.block.0.1",)
        assert ("features.4.block.3.0",) in [fold.into for fold in found.folds]


def test_only_what_is_named_is_folded():
    model = network("se_preresnet20").double()
    gates = dict(list(drawn_gates(model).items())[2:4])
    found = fold_gates(model, gates)
    x = images("preresnet20", dtype=torch.float64)
    with torch.no_grad(), frozen(model, gates):
        assert distance(found.model(x), model(x)) < 1e-12
    assert [fold.path for fold in found.folds] == list(gates)
    assert len(remaining(found.model)) == 7


def test_one_number_is_a_gate():
    model = network("sse_preresnet20").double()
    found = fold_constant(model, {"layer2.1.se": 0.25})
    x = images("preresnet20", dtype=torch.float64)
    with torch.no_grad(), frozen(model, {"layer2.1.se": torch.full((32,), 0.25)}):
        assert distance(found(x), model(x)) < 1e-12


@pytest.mark.parametrize("combine", ["add", "max"])
def test_both_halves_of_a_joint_block(combine):
    model = network("unet", block=senet.BlockSpec("scse", combine=combine), width=8).double()
    path = "encoder1.se"
    s, q = torch.rand(8, dtype=torch.float64), 0.4
    total = s + q if combine == "add" else s.clamp(min=q)
    x = images("unet", dtype=torch.float64)[..., :32, :32]
    found = fold_constant(model, {f"{path}.cse": s, f"{path}.sse": q})
    with torch.no_grad(), frozen(model, {path: total}):
        assert distance(found(x), model(x)) < 1e-12


def test_the_larger_of_two_products_needs_a_rectified_map():
    model = network("cifar_resnet20", block=senet.BlockSpec("scse", combine="max"))
    halves = {"layer1.0.se.cse": torch.rand(16), "layer1.0.se.sse": 0.4}
    with pytest.raises(UsageError, match=r"layer1.0.se takes the larger of two products, which depends on the sign"):
        fold_constant(model, halves)
    same = {"layer1.0.se.cse": 0.4, "layer1.0.se.sse": 0.4}
    assert len(remaining(fold_constant(model, same))) == len(remaining(model)) - 3


def test_folded_networks_are_networks(tmp_path):
    model = network("se_preresnet20", placement="post")
    found = fold_constant(model, drawn_gates(model))
    x = images("preresnet20")
    with torch.no_grad():
        expected = found(x)
        senet.save_weights(found, tmp_path / "folded.safetensors")
        rebuilt = senet.from_pretrained(tmp_path / "folded.safetensors")
        assert torch.equal(rebuilt(x), expected)
        assert torch.equal(copy.deepcopy(found)(x), expected)
        assert distance(senet.optimize(found)(x), expected) < 1e-5
        file = io.BytesIO()
        torch.save(found, file)
        file.seek(0)
        assert torch.equal(torch.load(file, weights_only=False)(x), expected)
        again = fold_constant(rebuilt, {})
        assert torch.equal(again(x), expected)


def test_inserted_and_folded_networks_are_rebuilt(tmp_path):
    model = draw(senet.create_model("cifar_resnet20"), last="bn2$", projection="downsample").eval()
    senet.insert(model, "se", init="identity")
    gates = drawn_gates(model)
    found = fold_constant(model, dict(list(gates.items())[:3]))
    x = images("cifar")
    senet.save_weights(found, tmp_path / "folded.safetensors")
    rebuilt = senet.from_pretrained(tmp_path / "folded.safetensors")
    with torch.no_grad():
        assert torch.equal(rebuilt(x), found(x))


def test_export(tmp_path):
    model = network("se_preresnet20")
    found = fold_constant(model, drawn_gates(model))
    senet.export_onnx(found, tmp_path / "folded.onnx", torch.randn(2, 3, 32, 32))
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "folded.onnx", providers=["CPUExecutionProvider"])
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert distance(torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]), found(x)) < 1e-5


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ({"layer9.0.se": 0.5}, r"the network has no block 'layer9.0.se' \(did you mean 'layer\d.0.se'\?\); its blocks are layer1.0.se"),
        ({"layer1.0.se": torch.ones(3)}, r"layer1.0.se has 16 channels: its gate is so many finite numbers or one, got shape \(3,\)"),
        ({"layer1.0.se": float("nan")}, "finite"),
    ],
)
def test_wrong_gates(gates, message):
    with pytest.raises(UsageError, match=message):
        fold_constant(network("se_preresnet20"), gates)


def test_one_half_alone_is_refused():
    with pytest.raises(UsageError, match=r"layer1.0.se has the gates layer1.0.se.cse: give both of its halves, or the whole block's alone"):
        fold_constant(network("scse_preresnet20"), {"layer1.0.se.cse": 0.5})
