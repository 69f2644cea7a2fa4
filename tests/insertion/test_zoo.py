"""Inserting into a plain network of the zoo equals the zoo's recalibrated network with the same parameters, bit by bit."""

import pytest
import torch
from torch import nn

import senet
from senet.models.registry import PLAIN
from senet.spec import KINDS, PLACEMENTS, check_placement

pytestmark = pytest.mark.usefixtures("definition")

UNITS = {
    "resnet18": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "vgg11_bn": 32,
    "mobilenet": 64,
    "shufflenet_g3": 64,
    "cifar_resnet20": 16,
    "preresnet20": 16,
    "bn_inception": 64,
    "inception_resnet_v2": 107,
    "shake_shake26_2x32d": 16,
}
"""One network for each kind of unit, with the side of a small image."""

OPTIONS = {"inception_resnet_v2": {"counts": (1, 1, 2)}}
"""What makes a network short enough to trace."""

SOME = {
    **dict.fromkeys(("vgg11_bn", "mobilenet", "shufflenet_g3", "bn_inception", "inception_resnet_v2"), ("standard",)),
    "shake_shake26_2x32d": ("standard", "post", "identity"),
}
"""The placements of the networks that do not take all."""

CASES = [
    pytest.param(name, kind, placement, marks=() if name in ("resnet18", "preresnet20") or kind == "se" else pytest.mark.slow)
    for name in UNITS
    for kind in KINDS
    if PLAIN[name].takes(kind)
    for placement in SOME.get(name, PLACEMENTS)
    if kind != "cmpe_se" or placement == "standard"
]


@pytest.mark.parametrize(("name", "kind", "placement"), CASES)
def test_inserting_equals_the_zoo(name: str, kind: str, placement: str) -> None:
    check_placement(kind, placement)
    torch.manual_seed(0)
    options = OPTIONS.get(name, {})
    zoo = lively(senet.create_model(name, block=kind, placement=placement, **options))
    model = senet.create_model(name, device="meta", **options).eval()
    model.load_state_dict({key: value for key, value in zoo.state_dict().items() if ".se." not in key}, assign=True)
    plan = senet.insert(model, kind, placement=placement)
    model.load_state_dict(translated(zoo.state_dict(), plan))
    images = torch.randn(2, 3, UNITS[name], UNITS[name])
    with torch.no_grad():
        torch.testing.assert_close(model(images), zoo(images), rtol=0, atol=0)
    assert [site.stage for site in plan] == [stage for stage, units in zoo.stages.items() for _ in units.children()]


def test_stages_and_per_stage_reductions_are_the_zoos() -> None:
    spec = senet.BlockSpec("se", reduction={3: 8, 4: 4})
    zoo = senet.create_model("resnet18", block=spec, stages=(3, 4))
    model = senet.create_model("resnet18")
    plan = senet.insert(model, spec, stages=(3, 4))
    assert [site.block.reduction for site in plan] == [8, 8, 4, 4]
    shapes = {key: value.shape for key, value in translated(zoo.state_dict(), plan).items()}
    assert shapes == {key: value.shape for key, value in model.state_dict().items()}


def lively(model: nn.Module) -> nn.Module:
    """Draw the parameters of every BN, so that none is the identity."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return model.eval()


def translated(state: dict[str, torch.Tensor], plan: senet.InsertPlan) -> dict[str, torch.Tensor]:
    """Return the zoo's state dict under the names of the inserted network."""
    blocks = {site.container or site.path: site.block_path for site in plan}  # a VGG has no modules for its units
    own = {key: value for key, value in state.items() if ".se." not in key}
    renamed = senet.rename_keys(own, plan, to="inserted")
    for key in state.keys() - own.keys():
        unit, _, name = key.partition(".se.")
        renamed[f"{blocks[unit]}.{name}"] = state[key]
    return renamed
