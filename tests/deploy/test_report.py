"""The report counts what was fused, and says what was left and why."""

import json

import pytest
import torch
from torch import Tensor, nn

import senet
from oracles.optimized import distance, images, network, report_of
from senet.deploy.layers import LeanSE


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


def test_the_report_reads_well():
    form = senet.optimize(network("se_mobilenet"))
    report = report_of(form)
    assert json.loads(json.dumps(report.to_dict()))["rows"][0] == {"path": "conv1", "kind": "Conv2d", "fused": ["BN"], "kept": ""}
    lines = str(report).splitlines()
    assert lines[0].split("  ")[0] == "path"
    assert lines[-1] == "MobileNet: fused 27 BN, 0 SE, 0 shortcut, 26 ReLU; 0 left"
    assert any("rescales in place" in line and "no convolution lies directly before it" in line for line in lines)
    assert sum(isinstance(module, LeanSE) for module in form.modules()) == 13
