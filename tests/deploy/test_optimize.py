"""The inference form computes what the network does, leaves it alone, and says what it did."""

import copy
import io
import json
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import senet
from oracles.weights import blank, draw
from senet.blocks.channel import ChannelSE
from senet.deploy.layers import FusedConv2d, LeanSE
from senet.deploy.report import FusionReport
from senet.errors import UsageError
from senet.models.registry import PLAIN
from senet.spec import PLACEMENTS

SIDES = {"vgg": 33, "inception_resnet": 80, "cifar": 15, "preres": 15, "wrn": 15, "shake": 15}
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

OPTIONS = {"inception_resnet_v2": {"counts": (1, 1, 2)}}


def network(name: str, **options: object) -> nn.Module:
    chosen: Any = OPTIONS.get(name.removeprefix("se_"), {}) | options
    model = blank(senet.create_model(name, device="meta", **chosen))
    return draw(model, last=r"bn3$|bn2$|up$", projection="downsample").eval().requires_grad_(False)


def images(name: str, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    side = next((side for part, side in SIDES.items() if part in name), 65)
    return torch.randn(batch, 3, side, side + 2, generator=torch.Generator().manual_seed(batch), dtype=dtype)


def distance(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def report_of(model: nn.Module) -> FusionReport:
    report = getattr(model, "report", None)
    assert isinstance(report, FusionReport)
    return report


NETWORKS = [
    pytest.param(prefix + name, marks=pytest.mark.slow if any(part in name for part in SLOW) else ())
    for name, family in PLAIN.items()
    for prefix in ("", "se_")
    if not prefix or family.takes("se")
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


@pytest.mark.parametrize(
    ("name", "blocks", "shortcuts", "norms"),
    [
        ("resnet50", 0, 16, 53),
        ("se_resnet50", 16, 16, 53),
        ("se_resnet18", 8, 8, 20),
        ("se_resnext50_32x4d", 16, 16, 53),
        ("se_cifar_resnet20", 9, 9, 21),
        ("se_preresnet20", 9, 9, 9),
        ("se_shufflenet_g3", 16, 13, 49),
    ],
)
def test_residual_networks_are_fused_throughout(name, blocks, shortcuts, norms):
    model = network(name)
    report = report_of(senet.optimize(model))
    assert (report.count("SE"), report.count("shortcut"), report.count("BN")) == (blocks, shortcuts, norms)
    left = {row.path: row.kept for row in report.kept}
    assert len(left) == sum(type(module) is nn.BatchNorm2d for module in model.modules()) - norms
    assert set(left.values()) <= {"no convolution lies directly before it"}


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


def test_two_optimised_networks_in_one_process():
    first, second = network("se_resnet18"), network("se_resnet18")
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(0.9)
    x = images("resnet")
    expected = first(x), second(x)
    forms = senet.optimize(first), senet.optimize(second)
    for _ in range(2):
        for form, output in zip(forms, expected, strict=True):
            assert distance(form(x), output) < 1e-5
    del forms  # what the next one allocates may lie where these lay
    assert distance(senet.optimize(second)(x), expected[1]) < 1e-5


def test_new_weights_are_seen():
    first, second = network("se_resnet18"), network("se_resnet18")
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(0.9)
    x, form = images("resnet"), senet.optimize(first)
    form(x)
    form.load_state_dict(senet.optimize(second).state_dict())
    assert distance(form(x), second(x)) < 1e-5
    doubled = form.double()
    assert distance(doubled(x.double()), second(x).double()) < 1e-5


def test_copies_and_files():
    model = network("se_resnet18")
    form, x = senet.optimize(model), images("resnet")
    expected = form(x)
    assert torch.equal(copy.deepcopy(form)(x), expected)
    assert report_of(copy.deepcopy(form)) == report_of(form)
    file = io.BytesIO()
    torch.save(form, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), expected)
    assert report_of(senet.optimize(form)).fused == ()
    assert torch.equal(senet.optimize(form)(x), expected)


def test_one_unit_by_itself():
    unit = draw(senet.create_model("se_resnet18"), last="bn2$", projection="downsample").get_submodule("layer2.0").eval()
    form, x = senet.optimize(unit), torch.randn(2, 64, 9, 7)
    with torch.no_grad():
        assert distance(form(x), unit(x)) < 1e-5
    assert report_of(copy.deepcopy(form)).count("SE") == 1


def test_export_has_the_commuted_squeeze():
    stage = network("se_resnet50").get_submodule("layer2")
    dynamic = torch.export.Dim.DYNAMIC
    shapes = ({0: dynamic, 2: dynamic, 3: dynamic},)
    program = torch.export.export(senet.optimize(stage), (torch.randn(2, 256, 9, 8),), dynamic_shapes=shapes)
    x = torch.randn(3, 256, 12, 7)
    assert distance(program.module()(x), stage(x)) < 1e-5
    graphs = [module.graph for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule)]
    means = [node for graph in graphs for node in graph.nodes if node.target is torch.ops.aten.mean.dim]
    assert [node.all_input_nodes[0].meta["val"].shape[1] for node in means] == [128] * 4  # the inputs of the last convolutions
    assert not any("mkldnn" in str(node.target) or "senet" in str(node.target) for graph in graphs for node in graph.nodes)


def test_compiled():
    stage = network("se_resnet18").get_submodule("layer2")
    compiled = torch.compile(senet.optimize(stage), backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 64, 9, 8)
    with torch.no_grad():
        assert distance(compiled(x), stage(x)) < 1e-5


def test_gradients_of_the_image():
    model = network("se_cifar_resnet20").double()
    form = senet.optimize(model)
    gradients = []
    for net in (model, form):
        x = images("cifar", dtype=torch.float64).requires_grad_()
        net(x).square().sum().backward()
        gradients.append(x.grad)
    assert distance(*gradients) < 1e-12


def test_autocast():
    model = network("se_resnet18")
    form, x = senet.optimize(model), images("resnet")
    with torch.autocast("cpu", torch.bfloat16):
        assert distance(form(x).float(), model(x).float()) < 2e-2


@pytest.mark.parametrize("kind", ["se", "scse"])
@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "googlenet", "densenet121", "mobilenet_v2", "regnet_y_400mf"])
def test_torchvision_with_inserted_blocks(name, kind):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, **options)
    model = draw(model, last=r"bn[23]$|conv\.3$|block\.c\.1$", projection=r"downsample|proj").eval().double()
    senet.insert(model, kind, example_input=torch.randn(1, 3, 64, 64, dtype=torch.float64), existing="add")
    form, x = senet.optimize(model), torch.randn(2, 3, 65, 75, dtype=torch.float64)
    with torch.no_grad():
        assert distance(form(x), model(x)) < 1e-11
    assert report_of(form).count("BN") > 0


@pytest.mark.parametrize("init", ["paper", "identity"])
def test_inserted_blocks_are_fused_as_the_zoos(init):
    model = draw(torchvision.models.resnet18(), last="bn2$", projection="downsample").eval()
    plan = senet.insert(model, "se", init=init)
    form, x = senet.optimize(model), images("resnet")
    with torch.no_grad():
        assert distance(form(x), model(x)) < 1e-5
    report = report_of(form)
    assert (report.count("SE"), report.count("shortcut"), report.kept) == (len(plan), 8, ())


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


class Traps(nn.Module):
    """Hold what looks like a chain and is none."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.conv, self.bn, self.bn2, self.relu = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.other = nn.Conv2d(3, 4, 1)
        self.se = ChannelSE(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.case)(x)

    def used_twice(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.bn(y) + self.bn2(y)

    def called_twice(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)) + self.conv(x)

    def overwritten(self, x: Tensor) -> Tensor:
        x = x * 1
        y = self.conv(x)
        x.relu_()
        return self.bn(y) + self.other(x)

    def overwrites_the_shortcut(self, x: Tensor) -> Tensor:
        r = self.other(x)
        kept = r.view(-1)
        r.add_(self.se(self.bn(self.conv(x))))
        return r + kept.view_as(r)

    def rectified_first(self, x: Tensor) -> Tensor:
        return self.se(self.relu(self.bn(self.conv(x))))

    def doubled(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        return y + y

    def after_the_sum(self, x: Tensor) -> Tensor:
        return self.bn2(self.bn(self.conv(x)) + self.other(x))

    def broadcast(self, x: Tensor) -> Tensor:
        return torch.relu(self.se(self.conv(x)) + self.other(x).amax((2, 3), keepdim=True)) + self.bn(
            x.mean((2, 3), keepdim=True)[:, [0, 0, 1, 2]]
        )

    def block_before_bn(self, x: Tensor) -> Tensor:
        return self.bn(0.5 * self.se(self.conv(x)))

    def crossed(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)) + self.relu(self.bn2(self.other(x))))


CASES = [name for name in vars(Traps) if not name.startswith("_") and name != "forward"]


@pytest.mark.parametrize("grow", [False, True], ids=["alone", "inside"])
@pytest.mark.parametrize("case", CASES)
def test_what_looks_like_a_chain(case, grow):
    torch.manual_seed(0)
    model = draw(nn.ModuleDict({"inner": Traps(case)}) if grow else Traps(case), last="none", projection="none").eval().double()
    model = nn.Sequential(model["inner"], nn.Identity()) if isinstance(model, nn.ModuleDict) else model
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    before = x.clone()
    with torch.no_grad():
        torch.testing.assert_close(senet.optimize(model)(x), model(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(x, before)


def test_hooks_are_kept():
    model = network("se_resnet18")
    heard = []
    model.get_submodule("layer1.0.se").register_forward_hook(lambda *_: heard.append("se"))
    model.get_submodule("layer1.1.bn1").register_forward_hook(lambda *_: heard.append("bn"))
    form = senet.optimize(model)
    form(images("resnet"))
    assert heard == ["se", "bn"]
    assert {row.path for row in report_of(form).kept} == {"layer1.0.se", "layer1.1.bn1"}


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unit = senet.create_model("se_cifar_resnet20").get_submodule("layer1.0")
        self.bn = nn.BatchNorm2d(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.unit(x)) if x.sum() > 0 else x


def test_what_cannot_be_traced_is_left_and_said():
    model = Untraceable().eval()
    form, x = senet.optimize(model), torch.rand(2, 16, 5, 5)
    with torch.no_grad():
        assert distance(form(x), model(x)) < 1e-5
    report = report_of(form)
    assert report.count("SE") == 1
    reasons = {row.path: row.kept for row in report.kept}
    assert reasons[""].startswith("its forward cannot be traced: ")
    assert "not one that is known" in reasons["bn"]


def test_the_meta_device_is_refused():
    with pytest.raises(UsageError, match="ResNet is on the meta device and has no weights yet"):
        senet.optimize(senet.create_model("resnet18", device="meta"))


def test_the_report_reads_well():
    form = senet.optimize(network("se_mobilenet"))
    report = report_of(form)
    assert json.loads(json.dumps(report.to_dict()))["rows"][0] == {"path": "conv1", "kind": "Conv2d", "fused": ["BN"], "kept": ""}
    lines = str(report).splitlines()
    assert lines[0].split("  ")[0] == "path"
    assert lines[-1] == "MobileNet: fused 27 BN, 0 SE, 0 shortcut, 26 ReLU; 0 left"
    assert any("rescales in place" in line and "no convolution lies directly before it" in line for line in lines)
    assert sum(isinstance(module, LeanSE) for module in form.modules()) == 13
