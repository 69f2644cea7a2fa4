"""Weights of timm: the `legacy_` networks, which are ports of the official release, and the ResNets of its own."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from senet.spec import BlockSpec
from senet.weights.releases.inception import INCEPTION_INPUT, TIMM_INCEPTION_RESNET, without_background
from senet.weights.releases.library import IMAGENET, Library, Release, Rule

LEGACY: tuple[Rule, ...] = ((r"^layer0\.", ""), (r"\.se_module\.", ".se."), (r"^last_linear\.", "fc."))
LEGACY_154: tuple[Rule, ...] = (
    (r"^layer0\.conv(\d)\.", lambda m: f"conv1.{3 * int(m[1]) - 3}."),
    (r"^layer0\.bn([12])\.", lambda m: f"conv1.{3 * int(m[1]) - 2}."),
    (r"^layer0\.bn3\.", "bn1."),
    *LEGACY,
)
TORCHVISION_STEM = {"stem_pool": "pad"}
V1_5 = {"v1_5": True, "stem_pool": "pad"}

OWN = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
PORTS = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene"
RECIPES = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-rsb-weights"
GLUON = "https://github.com/rwightman/pytorch-pretrained-gluonresnet/releases/download/v0.1"


def at_least_8(*hidden: int) -> dict[str, BlockSpec]:
    """Return the block of timm's narrow networks, whose bottlenecks are never below 8 wide (stages 2-5)."""
    return {"block": BlockSpec("se", hidden=dict(zip((2, 3, 4, 5), hidden, strict=True)))}


def release(
    model: str,
    name: str,
    url: str | None = None,
    *,
    rules: tuple[Rule, ...] = (),
    options: Mapping[str, Any] = MappingProxyType({}),
    resize: int = 256,
) -> Release:
    """Return a release for ImageNet's photographs; the name of its file ends in the first digits of its hash."""
    digest = "" if url is None else url.removesuffix(".pth").rpartition("-")[2]
    return Release(model, name, rules, options, replace(IMAGENET, resize=resize), url, digest)


TIMM = Library(
    "timm",
    (
        release("se_resnet50", "legacy_seresnet50", f"{PORTS}/se_resnet50-ce0d4300.pth", rules=LEGACY),
        release("se_resnet101", "legacy_seresnet101", f"{PORTS}/se_resnet101-7e38fcc6.pth", rules=LEGACY),
        release("se_resnet152", "legacy_seresnet152", f"{PORTS}/se_resnet152-d17c99b7.pth", rules=LEGACY),
        release("se_resnext50_32x4d", "legacy_seresnext50_32x4d", f"{OWN}/legacy_se_resnext50_32x4d-f3651bad.pth", rules=LEGACY),
        release("se_resnext101_32x4d", "legacy_seresnext101_32x4d", f"{OWN}/legacy_se_resnext101_32x4d-37725eac.pth", rules=LEGACY),
        release("senet154", "legacy_senet154", f"{OWN}/legacy_senet154-e9eb9fe6.pth", rules=LEGACY_154),
        release("se_resnet18", "seresnet18", options=V1_5 | at_least_8(8, 8, 16, 32)),
        release("se_resnet34", "seresnet34", options=V1_5 | at_least_8(8, 8, 16, 32)),
        release("se_resnet50", "seresnet50", f"{RECIPES}/seresnet50_a1_0-ffa00869.pth", options=V1_5, resize=235),
        release("se_resnet101", "seresnet101", options=V1_5),
        release("se_resnet152", "seresnet152", options=V1_5),
        release("se_resnext50_32x4d", "seresnext50_32x4d", f"{OWN}/seresnext50_32x4d_racm-a304a460.pth", options=TORCHVISION_STEM),
        release("se_resnext101_32x4d", "seresnext101_32x4d", f"{GLUON}/gluon_seresnext101_32x4d-cf52900d.pth", options=TORCHVISION_STEM),
        release("se_resnext101_64x4d", "seresnext101_64x4d", f"{GLUON}/gluon_seresnext101_64x4d-f9926f93.pth", options=TORCHVISION_STEM),
        release("senet154", "senet154", f"{GLUON}/gluon_senet154-70a1a3c0.pth", options=TORCHVISION_STEM),
        release("resnet18", "resnet18", f"{RECIPES}/resnet18_a1_0-d63eafa0.pth", options=V1_5, resize=235),
        release("resnet34", "resnet34", f"{RECIPES}/resnet34_a1_0-46f8f793.pth", options=V1_5, resize=235),
        release("resnet50", "resnet50", f"{RECIPES}/resnet50_a1_0-14fe96d1.pth", options=V1_5, resize=235),
        release("resnet101", "resnet101", f"{RECIPES}/resnet101_a1h-36d3f2aa.pth", options=V1_5, resize=235),
        release("resnet152", "resnet152", f"{RECIPES}/resnet152_a1h-dc400468.pth", options=V1_5, resize=235),
        release("resnext50_32x4d", "resnext50_32x4d", f"{RECIPES}/resnext50_32x4d_a1h-0146ab0a.pth", options=TORCHVISION_STEM, resize=235),
        Release("", "SEModule", input=None),
        Release(
            "inception_resnet_v2",
            "inception_resnet_v2",
            TIMM_INCEPTION_RESNET,
            input=INCEPTION_INPUT,
            url=f"{OWN}/inception_resnet_v2-940b1cd6.pth",
            digest="940b1cd6",
            convert=without_background,
        ),
    ),
)
