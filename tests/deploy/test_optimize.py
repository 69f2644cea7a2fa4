"""The inference form computes what the network does, whatever its block, placement, type or layout, and leaves it alone."""

import copy

import pytest
import torch

import senet
from oracles.optimized import distance, images, network, report_of
from oracles.weights import draw
from senet.blocks.channel import ChannelSE
from senet.deploy.layers import FusedConv2d
from senet.errors import UsageError
from senet.models.backbone_request import DETECTORS
from senet.models.registry import PLAIN
from senet.spec import PLACEMENTS

SLOW = (
    "resnet101",
    "resnet152",
    "resnext101",
    "senet154",
    "vgg13",
    "vgg16",
    "vgg19",
    "wrn22",
    "wrn28",
    "110",
    "shake26_2x96",
    "inception_r",
)
"""Networks of which a smaller one with the same units is tested beside them, or that are large."""

NETWORKS = [
    pytest.param(prefix + name, marks=pytest.mark.slow if any(part in name for part in SLOW) else ())
    for name, family in PLAIN.items()
    for prefix in ("", "se_")
    if name not in DETECTORS and (not prefix or family.takes("se"))  # whose boxes are no tensor to compare
]


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_the_networks(name):
    model = network(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimized = senet.optimize(model)
    with torch.no_grad():
        assert distance(optimized(images(name)), model(images(name))) < 1e-5
        exact = copy.deepcopy(model).double()
        x = images(name, dtype=torch.float64)
        assert distance(senet.optimize(exact)(x), exact(x)) < 1e-12
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(tensor.requires_grad for tensor in optimized.parameters())
    assert not any(module.training for module in optimized.modules())
    theirs = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers()) if tensor.numel()}
    assert not theirs & {tensor.data_ptr() for tensor in (*optimized.parameters(), *optimized.buffers()) if tensor.numel()}


@pytest.mark.parametrize("name", ["se_resnet18", "se_preresnet20", "se_resnet50"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_placement(name, placement):
    model = network(name, placement=placement).double()
    optimized = senet.optimize(model)
    x = images("cifar", dtype=torch.float64)
    assert distance(optimized(x), model(x)) < 1e-12
    assert not any(isinstance(module, ChannelSE) for module in optimized.modules())


@pytest.mark.parametrize("options", [{"squeeze": "max"}, {"squeeze": "none"}, {"gate": "tanh"}, {"bias": False}, {"hidden": 300}], ids=str)
def test_every_form_of_the_block(options):
    model = network("se_cifar_resnet20".removeprefix("se_"), block=senet.BlockSpec("se", **options)).double()
    optimized = senet.optimize(model)
    x = images("cifar", dtype=torch.float64)
    assert distance(optimized(x), model(x)) < 1e-12
    kept = [row for row in report_of(optimized).kept if row.kind == "ChannelSE"]
    assert len(kept) == (9 if "squeeze" in options else 0)
    assert all(row.kept == "the gate of ChannelSE needs more than the means of its input" for row in kept)


@pytest.mark.parametrize(("kind", "name"), [("sse", "SpatialSE"), ("scse", "ChannelSpatialSE"), ("cmpe_se", "CompetitiveSE")])
def test_other_blocks_stay_and_the_rest_is_fused(kind, name):
    model = network(f"{kind}_resnet18").double()
    optimized = senet.optimize(model)
    x = images("resnet", dtype=torch.float64)
    assert distance(optimized(x), model(x)) < 1e-12
    report = report_of(optimized)
    assert report.count("BN") == 20
    kept = [row for row in report.kept if row.kind == name]
    assert len(kept) == 8
    assert all(row.kept == f"the gate of {name} needs more than the means of its input" for row in kept)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [1, 4])
def test_layouts_batches_and_sizes(layout, batch):
    model = network("se_resnet18").to(memory_format=layout)  # pyright: ignore[reportCallIssue, reportArgumentType]
    optimized = senet.optimize(model)
    for side in (32, 47):
        x = torch.randn(batch, 3, side, side + 5).to(memory_format=layout)
        before = x.clone()
        assert distance(optimized(x), model(x)) < 1e-5
        assert torch.equal(x, before)


@pytest.mark.parametrize("when", ["before", "after"])
def test_bfloat16(when):
    model = network("se_resnet18")
    exact = model(images("resnet"))
    x = images("resnet").bfloat16()
    eager = distance(copy.deepcopy(model).bfloat16()(x).float(), exact)
    optimized = senet.optimize(copy.deepcopy(model).bfloat16()) if when == "before" else senet.optimize(model).bfloat16()
    found = optimized(x)
    assert found.dtype == torch.bfloat16
    assert distance(found.float(), exact) < max(1.5 * eager, 1e-2)


def test_autocast():
    model = network("se_resnet18")
    form, x = senet.optimize(model), images("resnet")
    with torch.autocast("cpu", torch.bfloat16):
        assert distance(form(x).float(), model(x).float()) < 2e-2


def test_gradients_of_the_image():
    model = network("se_cifar_resnet20").double()
    form = senet.optimize(model)
    gradients = []
    for net in (model, form):
        x = images("cifar", dtype=torch.float64).requires_grad_()
        net(x).square().sum().backward()
        gradients.append(x.grad)
    assert distance(*gradients) < 1e-12


def test_one_unit_by_itself():
    unit = draw(senet.create_model("se_resnet18"), last="bn2$", projection="downsample").get_submodule("layer2.0").eval()
    form, x = senet.optimize(unit), torch.randn(2, 64, 9, 7)
    with torch.no_grad():
        assert distance(form(x), unit(x)) < 1e-5
    assert report_of(copy.deepcopy(form)).count("SE") == 1


def test_features_keep_their_maps():
    model = senet.create_model("se_resnet18", features_only=True)
    model = draw(model, last="bn2$", projection="downsample").eval()
    form, x = senet.optimize(model), images("resnet")
    with torch.no_grad():
        for found, expected in zip(form(x), model(x), strict=True):
            assert distance(found, expected) < 1e-5
    assert getattr(form, "feature_info", None) == model.feature_info


def test_the_network_keeps_its_class_and_config():
    model = network("se_resnet18")
    form = senet.optimize(model)
    assert type(form) is type(model)
    assert (form.config, form.input_size) == (model.config, model.input_size)  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(form.get_submodule("layer1.0.conv2"), FusedConv2d)


def test_the_meta_device_is_refused():
    with pytest.raises(UsageError, match="ResNet is on the meta device and has no weights yet"):
        senet.optimize(senet.create_model("resnet18", device="meta"))
