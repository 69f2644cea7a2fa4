"""The networks of other libraries that insertion must handle: how they are built, and where their sites are."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from foreign import networks


@dataclass(frozen=True)
class Host:
    """Facts of one network.

    Args:
        build: makes it, with random weights.
        paths: the sites for placement "standard", in the order of execution.
        recalibrated: how many of these have a gate already.
        kinds: what they are.
        size: side of a small image.
        at: modules to name where nothing can be traced.
        compiles: whether the plain network is one graph for torch.compile.
        synchronise: converts BatchNorm; torch's own conversion drops the activations in timm's.
    """

    build: Callable[[], nn.Module]
    paths: tuple[str, ...]
    kinds: frozenset[str] = frozenset({"residual"})
    recalibrated: int = 0
    size: int = 64
    at: str | None = None
    compiles: bool = True
    synchronise: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm

    def make(self) -> nn.Module:
        """Return the network in evaluation mode, as if it were trained: no scale is zero, every BN has statistics."""
        torch.manual_seed(0)
        model = self.build().eval()
        for name, parameter in model.named_parameters():
            if name.endswith((".weight", ".gain")) and not parameter.any():
                nn.init.uniform_(parameter, 0.5, 1.0)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.1, 0.1)
                nn.init.uniform_(module.running_var, 0.8, 1.2)
        return model

    def images(self) -> Tensor:
        """Return two small images."""
        return torch.randn(2, 3, self.size, self.size, generator=torch.Generator().manual_seed(1))


def stages(pattern: str, *counts: int, first: int = 1) -> tuple[str, ...]:
    """Return `pattern` for every unit of stages with so many units: {s} is the stage, {i} the unit, from 0."""
    return tuple(pattern.format(s=stage, i=index) for stage, count in enumerate(counts, first) for index in range(count))


def tv(name: str, **options: Any) -> Callable[[], nn.Module]:
    """Return what builds a network of torchvision, without downloads."""
    return lambda: torchvision.models.get_model(name, weights=None, **options)


def from_timm(name: str, paths: tuple[str, ...], **facts: Any) -> Host:
    """Return a host of timm, which is imported when the host is built: it takes seconds."""
    return Host(lambda: import_module("timm").create_model(name), paths, synchronise=_synchronise_timm, **facts)


def _synchronise_timm(model: nn.Module) -> nn.Module:
    return import_module("timm.layers").convert_sync_batchnorm(model)


def smp(name: str) -> Callable[[], nn.Module]:
    """Return what builds a network of segmentation-models-pytorch, without downloads."""
    return lambda: getattr(import_module("segmentation_models_pytorch"), name)("resnet18", encoder_weights=None)


def small_vgg() -> nn.Module:
    """Return torchvision's VGG-16 with a head of fewer than its 120 million weights."""
    model = torchvision.models.vgg16_bn(weights=None, init_weights=False, dropout=0.0, num_classes=10)
    model.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, 10))
    return model


INCEPTIONS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
VGG_RELUS = (2, 5, 9, 12, 16, 19, 22, 26, 29, 32, 36, 39, 42)
RESNET50 = (3, 4, 6, 3)
BOTH = frozenset({"residual", "depthwise"})

HOSTS = {
    "torchvision/resnet18": Host(tv("resnet18"), stages("layer{s}.{i}.bn2", 2, 2, 2, 2)),
    "torchvision/resnet50": Host(tv("resnet50"), stages("layer{s}.{i}.bn3", *RESNET50)),
    "torchvision/resnext50_32x4d": Host(tv("resnext50_32x4d"), stages("layer{s}.{i}.bn3", *RESNET50)),
    "torchvision/wide_resnet50_2": Host(tv("wide_resnet50_2"), stages("layer{s}.{i}.bn3", *RESNET50)),
    "torchvision/densenet121": Host(
        tv("densenet121"),
        tuple(f"features.denseblock{s}.denselayer{i}" for s, count in enumerate((6, 12, 24, 16), 1) for i in range(1, count + 1)),
        frozenset({"dense"}),
    ),
    "torchvision/googlenet": Host(
        tv("googlenet", init_weights=False),
        tuple(f"inception{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")),
        frozenset({"concat"}),
    ),
    "torchvision/inception_v3": Host(
        tv("inception_v3", init_weights=False), tuple(f"Mixed_{name}" for name in INCEPTIONS), frozenset({"concat"}), size=80
    ),
    "torchvision/vgg16_bn": Host(small_vgg, tuple(f"features.{index}" for index in VGG_RELUS), frozenset({"chain"})),
    "torchvision/mobilenet_v2": Host(
        tv("mobilenet_v2"), ("features.1.conv.2", *(f"features.{index}.conv.3" for index in range(2, 18))), BOTH
    ),
    "torchvision/mobilenet_v3_large": Host(
        tv("mobilenet_v3_large"),
        ("features.1.block.1.1", *(f"features.{i}.block.{3 if i in (4, 5, 6, 11, 12, 13, 14, 15) else 2}.1" for i in range(2, 16))),
        BOTH,
        recalibrated=8,
    ),
    "torchvision/efficientnet_b0": Host(
        tv("efficientnet_b0"),
        ("features.1.0.block.2.1", *stages("features.{s}.{i}.block.3.1", 2, 2, 3, 3, 4, 1, first=2)),
        BOTH,
        recalibrated=16,
    ),
    "torchvision/regnet_y_400mf": Host(
        tv("regnet_y_400mf"), stages("trunk_output.block{s}.block{s}-{i}.f.c.1", 1, 3, 6, 6), recalibrated=16
    ),
    "torchvision/shufflenet_v2_x0_5": Host(
        tv("shufflenet_v2_x0_5"),
        tuple(f"stage{s}.{i}.branch2.7" if i else f"stage{s}.0" for s, count in ((2, 4), (3, 8), (4, 4)) for i in range(count)),
        frozenset({"dense", "concat"}),
    ),
    "torchvision/convnext_tiny": Host(
        tv("convnext_tiny"), tuple(f"features.{s}.{i}.block.6" for s, count in ((1, 3), (3, 3), (5, 9), (7, 3)) for i in range(count))
    ),
    "torchvision/deeplabv3_resnet50": Host(
        tv("deeplabv3_resnet50", weights_backbone=None),
        (*stages("backbone.layer{s}.{i}.bn3", *RESNET50), "classifier.0.project.0"),
        frozenset({"residual", "concat"}),
    ),
    "torchvision/fasterrcnn_resnet50_fpn": Host(
        tv("fasterrcnn_resnet50_fpn", weights_backbone=None, min_size=64, max_size=64, box_score_thresh=0.0, rpn_post_nms_top_n_test=8),
        stages("backbone.body.layer{s}.{i}.bn3", *RESNET50),
        compiles=False,
    ),
    "timm/resnet50d": from_timm("resnet50d", stages("layer{s}.{i}.bn3", *RESNET50)),
    "timm/resnetv2_50": from_timm("resnetv2_50", stages("stages.{s}.blocks.{i}.conv3", *RESNET50, first=0)),
    "timm/seresnet50": from_timm("seresnet50", stages("layer{s}.{i}.se", *RESNET50), recalibrated=16),
    "timm/efficientnet_b0": from_timm(
        "efficientnet_b0", ("blocks.0.0.bn2", *stages("blocks.{s}.{i}.bn3", 2, 2, 3, 3, 4, 1)), kinds=BOTH, recalibrated=16
    ),
    "timm/nf_resnet26": from_timm("nf_resnet26", stages("stages.{s}.{i}.conv3", 2, 2, 2, 2, first=0)),
    "timm/convnext_atto": from_timm("convnext_atto", stages("stages.{s}.blocks.{i}.mlp", 2, 2, 6, 2, first=0)),
    "smp/Unet": Host(
        smp("Unet"),
        (*stages("encoder.layer{s}.{i}.bn2", 2, 2, 2, 2), *(f"decoder.blocks.{index}.conv2.2" for index in range(5))),
        frozenset({"residual", "decoder"}),
    ),
    "smp/FPN": Host(
        smp("FPN"),
        (*stages("encoder.layer{s}.{i}.bn2", 2, 2, 2, 2), "decoder.p4", "decoder.p3", "decoder.p2"),
        frozenset({"residual", "decoder"}),
    ),
    "own/functional": Host(networks.Functional, ("bn2", "bn4"), size=16),
    "own/shared": Host(networks.Shared, ("first.bn", "other.bn"), size=16),
    "own/unet": Host(networks.UNet, ("inc.5", "down1.5", "up1.conv.5", "up2.conv.5"), frozenset({"encoder", "decoder"}), size=16),
    "own/untraceable": Host(
        networks.Untraceable, ("units.0.bn", "units.1.bn"), frozenset({"module"}), size=16, at=r"units\.\d\.bn", compiles=False
    ),
}
