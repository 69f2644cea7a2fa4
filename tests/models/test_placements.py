"""Every placement is the formula of the paper's Figure 5, written out with the unit's own layers."""

import pytest
import torch
from torch import Tensor, nn

from senet import create_model
from senet.models.residual import ResidualUnit


def se(unit: ResidualUnit, x: Tensor) -> Tensor:
    z = x.mean((2, 3))
    s = torch.sigmoid(unit.se.fc2(torch.relu(unit.se.fc1(z))))
    return x * s[:, :, None, None]


def same(x: Tensor) -> Tensor:
    return x


def post_activation(unit: nn.Module, x: Tensor, placement: str) -> Tensor:
    at = {name: (lambda t: se(unit, t)) if name == placement else same for name in ("standard", "pre", "post", "identity", "inner")}
    shortcut = x if unit.downsample is None else unit.downsample(x)
    u = torch.relu(unit.bn1(unit.conv1(at["pre"](x))))
    if hasattr(unit, "conv3"):
        u = unit.bn3(unit.conv3(at["inner"](torch.relu(unit.bn2(unit.conv2(u))))))
    else:
        u = unit.bn2(unit.conv2(at["inner"](u)))
    return at["post"](torch.relu(at["identity"](shortcut) + at["standard"](u)))


def pre_activation(unit: nn.Module, x: Tensor, placement: str) -> Tensor:
    at = {name: (lambda t: se(unit, t)) if name == placement else same for name in ("standard", "pre", "post", "identity", "inner")}
    if unit.shared_activation:
        x = torch.relu(unit.bn1(x))
        u = at["pre"](x)
    else:
        u = torch.relu(unit.bn1(at["pre"](x)))
    shortcut = x if unit.downsample is None else unit.downsample(x)
    if hasattr(unit, "conv3"):
        u = torch.relu(unit.bn3(at["inner"](unit.conv2(torch.relu(unit.bn2(unit.conv1(u)))))))
        u = unit.conv3(u)
    else:
        u = unit.conv2(torch.relu(unit.bn2(at["inner"](unit.conv1(u)))))
    return at["post"](at["identity"](shortcut) + at["standard"](u))


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "inner"])
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("se_resnet18", post_activation),
        ("se_resnet50", post_activation),
        ("se_cifar_resnet20", post_activation),
        ("se_preresnet20", pre_activation),
        ("se_preresnet164", pre_activation),
        ("se_wrn16_8", pre_activation),
    ],
)
def test_units_follow_the_formula(name: str, formula: object, placement: str) -> None:
    torch.manual_seed(1)
    model = create_model(name, placement=placement).double().eval()
    for stage in model.stages.values():
        for unit in list(stage)[:2]:
            for bn in (m for m in unit.modules() if isinstance(m, nn.BatchNorm2d)):
                nn.init.uniform_(bn.weight, 0.5, 1.5)
                nn.init.normal_(bn.bias)
            first = unit.bn1.num_features if unit.preactivated else unit.conv1.in_channels
            x = torch.randn(2, first, 7, 7, dtype=torch.float64)
            torch.testing.assert_close(unit(x), formula(unit, x, placement), rtol=1e-12, atol=1e-12)
