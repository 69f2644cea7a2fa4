"""Weights of Cadene/pretrained-models.pytorch (PyPI `pretrainedmodels`): ports of the official release, under timm's `legacy_` names."""

from senet.spec import InputSpec
from senet.weights.releases.inception import (
    CADENE_BN_INCEPTION,
    INCEPTION_INPUT,
    TIMM_INCEPTION_RESNET,
    without_background,
    without_leading_axes,
)
from senet.weights.releases.library import Library, Release
from senet.weights.releases.timm import LEGACY, LEGACY_154, release

URL = "https://data.lip6.fr/cadene/pretrainedmodels"

BN_INCEPTION_INPUT = InputSpec(size=224, resize=256, channels=3, mean=(104 / 255, 117 / 255, 128 / 255), std=(1 / 255,) * 3, order="bgr")
"""Blue first, 0..255 less a mean."""

CADENE = Library(
    "cadene",
    (
        release("se_resnet50", "se_resnet50", f"{URL}/se_resnet50-ce0d4300.pth", rules=LEGACY),
        release("se_resnet101", "se_resnet101", f"{URL}/se_resnet101-7e38fcc6.pth", rules=LEGACY),
        release("se_resnet152", "se_resnet152", f"{URL}/se_resnet152-d17c99b7.pth", rules=LEGACY),
        release("se_resnext50_32x4d", "se_resnext50_32x4d", f"{URL}/se_resnext50_32x4d-a260b3a4.pth", rules=LEGACY),
        release("se_resnext101_32x4d", "se_resnext101_32x4d", f"{URL}/se_resnext101_32x4d-3b2fe3d8.pth", rules=LEGACY),
        release("senet154", "senet154", f"{URL}/senet154-c7b49a05.pth", rules=LEGACY_154),
        Release(
            "bn_inception",
            "bninception",
            CADENE_BN_INCEPTION,
            input=BN_INCEPTION_INPUT,
            url=f"{URL}/bn_inception-52deb4733.pth",
            digest="52deb4733",
            convert=without_leading_axes,
        ),
        Release(
            "inception_resnet_v2",
            "inceptionresnetv2",
            TIMM_INCEPTION_RESNET,
            input=INCEPTION_INPUT,
            url=f"{URL}/inceptionresnetv2-520b38e4.pth",
            digest="520b38e4",
            convert=without_background,
        ),
    ),
)
"""Files are named by the first digits of their SHA-256, as torch.hub expects."""
