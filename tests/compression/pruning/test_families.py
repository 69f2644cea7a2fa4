"""Which networks are pruned exactly: of the zoo, with inserted blocks, of other libraries; and which are refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import senet
from oracles.masked_channels import masked_output, shake_
from senet.compression.pruning.channels import HIDDEN_UNITS
from senet.compression.pruning.cut import cut_, kept_places
from senet.compression.pruning.importance import Evidence, importance
from senet.compression.pruning.proof import provable
from senet.compression.pruning.selection import select
from senet.errors import UsageError
from senet.models.create import model_from_config
from senet.models.reduced import ReducedStep, layer_widths, record_step
from senet.surgery.duplicate import duplicate
from senet.weights.store import find_config

pytest.importorskip("torch_pruning", reason="Torch-Pruning is not installed: pip install torch-pruning")

PAGE = Path(__file__).parents[3] / "docs" / "compression.md"


def zoo(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: senet.create_model(name, num_classes=4, **options)


def inserted(name: str, block: Any = "se", **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = getattr(pytest.importorskip("torchvision").models, name)(num_classes=4)
        senet.insert(model, block, **options)
        return model

    return build


def torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(pytest.importorskip("torchvision").models, name)(num_classes=4, **options)


def adopted(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = torchvision(name)()
        senet.adopt(model)
        return model

    return build


def convnext() -> nn.Module:
    module = pytest.importorskip("torchvision").models.convnext
    stages = [module.CNBlockConfig(16, 32, 2), module.CNBlockConfig(32, None, 1)]
    model = module.ConvNeXt(stages, num_classes=4)
    senet.insert(model, "se")
    return model


def timm(name: str) -> Callable[[], nn.Module]:
    return lambda: pytest.importorskip("timm").create_model(name, num_classes=4)


Spec = senet.BlockSpec
FAMILIES: dict[str, list[tuple[Callable[[], nn.Module], int]]] = {
    "ResNet, SE-ResNet": [(zoo("se_resnet18"), 64), (zoo("resnet50"), 64)],
    "ResNeXt": [(torchvision("resnext50_32x4d"), 32)],
    "CIFAR ResNet": [(zoo("se_cifar_resnet20"), 32), (zoo("scse_cifar_resnet20"), 32), (zoo("sse_cifar_resnet20"), 32)],
    "pre-activation ResNet, WRN": [(zoo("se_preresnet20"), 32), (zoo("scse_preresnet20"), 32), (zoo("preresnet20"), 32)],
    "shake-shake, shake-even": [(zoo("se_shake_shake26_2x32d"), 32)],
    "MobileNet v1": [(zoo("se_mobilenet"), 64), (zoo("scse_mobilenet"), 64)],
    "ShuffleNet, 1 group": [(zoo("se_shufflenet_g1"), 64)],
    "BN-Inception, Inception-ResNet-v2": [(zoo("se_bn_inception"), 64), (zoo("se_inception_resnet_v2", counts=(1, 1, 1)), 96)],
    "CMPE-SE": [(zoo("cifar_resnet20", block=Spec("cmpe_se", variant=name)), 32) for name in ("double_fc", "pair_2x1", "pair_1x1")],
    "U-Net": [(zoo("scse_unet", width=16), 32), (zoo("se_unet", width=16), 32), (zoo("scse_unet3d", width=8), 16)],
    "torchvision, with inserted blocks": [
        (inserted("resnet18"), 64),
        (inserted("resnet18", placement="identity"), 64),
        (inserted("resnet18", "cmpe_se"), 64),
        (inserted("mobilenet_v2", "scse"), 64),
    ],
    "torchvision, its own SE": [(torchvision("mobilenet_v3_small"), 64), (adopted("mobilenet_v3_small"), 64)],
    "torchvision RegNet, EfficientNet": [(torchvision("regnet_y_400mf"), 64), (torchvision("efficientnet_b0"), 64)],
    "timm SE-ResNet": [(timm("legacy_seresnet18"), 64)],
}
"""Row of the page's table -> networks of that family, and the side of the images that they are pruned with."""
HEAVY = {
    "VGG": [(zoo("se_vgg11_bn"), 64)],
    "DenseNet": [(inserted("densenet121"), 64)],
    "GoogLeNet": [(torchvision("googlenet", aux_logits=False, init_weights=False), 64)],
}
REFUSED: dict[str, list[Any]] = {
    "SD-Net, FC-DenseNet": [(zoo("sd_net"), 32), (zoo("fc_densenet"), 32)],
    "timm NFNet": [pytest.param(timm("nf_resnet26"), 32, marks=pytest.mark.slow)],
    "torchvision ShuffleNet v2": [(torchvision("shufflenet_v2_x0_5"), 64)],
}
PARTLY: dict[str, list[tuple[Callable[[], nn.Module], int, str]]] = {
    "ShuffleNet, several groups": [(zoo("se_shufflenet_g3"), 64, "does not follow")],
    "CMPE-SE `folded_3x3`": [(zoo("wrn16_8", block=Spec("cmpe_se", variant="folded_3x3")), 32, "image of a fixed shape")],
    "ConvNeXt": [(convnext, 64, "LayerNorm")],
}


def flat(cases: Any) -> list[Any]:
    return [
        pytest.param(*getattr(case, "values", case), id=f"{row} {place}", marks=getattr(case, "marks", ()))
        for row, of_row in cases.items()
        for place, case in enumerate(of_row)
    ]


def images_for(model: Any, side: int) -> Tensor:
    channels, *sides = model.input_size if hasattr(model, "input_size") else (3, side, side)
    return torch.randn(2, channels, *[side] * len(sides), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def check(build: Callable[[], nn.Module], side: int, ratio: float = 0.45) -> list[Any]:
    """Prune a network at random, and hold that it equals the masked original and is rebuilt from its configuration."""
    torch.manual_seed(0)
    model = shake_(build()).double().eval()
    images = images_for(model, side)
    sets = provable(model, images)
    kept = select(list(zip(sets, importance(model, sets, "random", Evidence()), strict=True)), ratio, round_to=2)
    assert any(len(positions) < own.count for own, positions in zip(sets, kept, strict=True))
    places = kept_places(model, sets, kept)
    before, pruned = layer_widths(model), duplicate(model)
    cut_(pruned, places)
    by_path: dict[str, dict[str, list[int]]] = {}
    for axis, indices in places.items():
        by_path.setdefault(axis.path, {})[axis.side] = indices.tolist()
    want = masked_output(model, by_path, images)
    with torch.no_grad(), senet.backend("reference"):
        torch.testing.assert_close(pruned(images), want, rtol=1e-10, atol=1e-10 * float(want.abs().max().clamp(min=1)))
    record_step(pruned, ReducedStep.between(before, layer_widths(pruned)))
    if config := find_config(pruned):
        rebuilt = model_from_config(json.loads(json.dumps(config.to_dict())))
        rebuilt.load_state_dict(pruned.state_dict())
        with torch.no_grad():
            assert torch.equal(rebuilt.double().eval()(images), pruned(images))
    pruned.train()(images).square().mean().backward()
    return sets


@pytest.mark.parametrize(("build", "side"), flat(FAMILIES))
def test_a_pruned_network_equals_the_masked_one(build: Callable[[], nn.Module], side: int) -> None:
    sets = check(build, side)
    assert {own.fixed for own in sets} <= {"", HIDDEN_UNITS}


@pytest.mark.slow
@pytest.mark.parametrize(("build", "side"), flat(HEAVY))
def test_a_large_pruned_network_equals_the_masked_one(build: Callable[[], nn.Module], side: int) -> None:
    check(build, side)


@pytest.mark.parametrize(("build", "side", "reason"), flat(PARTLY))
def test_what_cannot_be_cut_is_left_whole(build: Callable[[], nn.Module], side: int, reason: str) -> None:
    sets = check(build, side)
    assert any(reason in own.fixed for own in sets)
    assert any(not own.fixed for own in sets)


@pytest.mark.parametrize(("build", "side"), flat(REFUSED))
def test_a_network_that_cannot_be_cut_is_refused(build: Callable[[], nn.Module], side: int) -> None:
    torch.manual_seed(0)
    model = shake_(build()).double().eval()
    with pytest.raises(UsageError, match=r"cut|follow") as caught:
        provable(model, images_for(model, side))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("placement", ["pre", "post", "identity", "inner"])
@pytest.mark.parametrize("name", ["se_cifar_resnet20", "se_preresnet20"])
def test_a_block_may_sit_anywhere(name: str, placement: str) -> None:
    check(zoo(name, placement=placement), 32)


@pytest.mark.parametrize(
    "spec",
    [
        *(Spec("se", squeeze="max"), Spec("se", squeeze="none"), Spec("se", gate="tanh", bias=False)),
        *(Spec("scse", combine=name) for name in ("max", "multiply", "concat")),
    ],
    ids=str,
)
def test_a_block_may_have_any_form(spec: senet.BlockSpec) -> None:
    check(zoo("cifar_resnet20", block=spec), 32)


def test_the_page_tells_of_the_families_that_are_tested() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("| network | pruned |") :].split("\n\n")[0]
    rows = re.findall(r"^\| ([^|]+?) \| (all|partly|refused)", table, re.MULTILINE)
    want = dict.fromkeys([*FAMILIES, *HEAVY], "all") | dict.fromkeys(PARTLY, "partly") | dict.fromkeys(REFUSED, "refused")
    assert dict(rows) == want
