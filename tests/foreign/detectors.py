"""Detectors of torchvision: how they are built without downloads, for small images, and which of their units take a gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from foreign.hosts import RESNET50, stages

SIZES = {"min_size": 64, "max_size": 96}
CLASSES = 3
"""Classes with the background, which torchvision counts, so that labels are 1 and 2."""


@dataclass(frozen=True)
class Detector:
    """Facts of one detector.

    Args:
        name: its name in torchvision.
        sites: kind of unit -> paths, in the order of execution.
        options: what keeps it small, and shows its boxes though it is not trained.
        recalibrated: how many of its units have a gate already.
    """

    name: str
    sites: Mapping[str, tuple[str, ...]]
    options: Mapping[str, Any]
    recalibrated: int = 0

    def make(self) -> nn.Module:
        """Return the network in evaluation mode; the same one each time.

        SSDlite is drawn with weights so small that what it finds does not depend on its blocks: its convolutions are drawn anew.
        """
        torch.manual_seed(0)
        made = torchvision.models.get_model(self.name, weights=None, weights_backbone=None, num_classes=CLASSES, **self.options)
        if self.name.startswith("ssdlite"):
            for module in made.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
        return made.eval()


RESIDUAL = {"residual": stages("backbone.body.layer{s}.{i}.bn3", *RESNET50)}
TWO_STAGES = SIZES | {"box_score_thresh": 0.0, "box_detections_per_img": 20, "rpn_pre_nms_top_n_test": 40, "rpn_post_nms_top_n_test": 20}
ONE_STAGE = SIZES | {"score_thresh": 0.0, "detections_per_img": 20, "topk_candidates": 40}
MOBILE = {
    "residual": tuple(f"{path}.1" for path in ("1.block.1", "3.block.2", "8.block.2", "9.block.2", "10.block.2")),
    "depthwise": ("2.block.2.1", "7.block.2.1"),
}


def under(prefix: str) -> dict[str, tuple[str, ...]]:
    """Return the units of MobileNet V3 that have no gate of their own, of a network that holds it there."""
    return {kind: tuple(f"{prefix}.{path}" for path in paths) for kind, paths in MOBILE.items()}


EXTRA = tuple(f"backbone.extra.{index}.2.2" for index in range(4))
CHAIN = (
    *(f"backbone.features.{index}" for index in (1, 3, 6, 8, 11, 13, 15, 18, 20, 22)),
    *(f"backbone.extra.0.{index}" for index in ("2", "4", "6", "7.2", "7.4")),
    *(f"backbone.extra.{block}.{index}" for block in range(1, 5) for index in (1, 3)),
)

DETECTORS = {
    detector.name: detector
    for detector in (
        *(Detector(f"fasterrcnn_resnet50_{end}", RESIDUAL, TWO_STAGES) for end in ("fpn", "fpn_v2")),
        *(
            Detector(f"fasterrcnn_mobilenet_v3_large_{end}", under("backbone.body"), TWO_STAGES | {"rpn_score_thresh": 0.0}, recalibrated=8)
            for end in ("fpn", "320_fpn")
        ),
        *(Detector(f"maskrcnn_resnet50_{end}", RESIDUAL, TWO_STAGES) for end in ("fpn", "fpn_v2")),
        Detector("keypointrcnn_resnet50_fpn", RESIDUAL, TWO_STAGES),
        *(Detector(f"retinanet_resnet50_{end}", RESIDUAL, ONE_STAGE) for end in ("fpn", "fpn_v2")),
        Detector("fcos_resnet50_fpn", RESIDUAL, ONE_STAGE),
        Detector("ssd300_vgg16", {"chain": CHAIN}, {"score_thresh": 0.0, "detections_per_img": 20, "topk_candidates": 40}),
        Detector(
            "ssdlite320_mobilenet_v3_large",
            {kind: (EXTRA if kind == "depthwise" else ()) + paths for kind, paths in under("backbone.features.0").items()},
            {"score_thresh": 0.0, "detections_per_img": 20, "topk_candidates": 40},
            recalibrated=8,
        ),
    )
}


def images() -> list[Tensor]:
    """Return two images of different, odd sizes."""
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(size, generator=generator) for size in ((3, 61, 83), (3, 80, 57))]


def targets(name: str) -> list[dict[str, Tensor]]:
    """Return what a detector is trained with: two boxes in one image, none in the other."""
    found = {"boxes": torch.tensor([[5.0, 6.0, 40.0, 50.0], [20.0, 10.0, 70.0, 44.0]]), "labels": torch.tensor([1, 2])}
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    if name.startswith("maskrcnn"):
        found["masks"], none["masks"] = torch.ones(2, 61, 83, dtype=torch.uint8), torch.zeros(0, 80, 57, dtype=torch.uint8)
    if name.startswith("keypointrcnn"):
        found["keypoints"], none["keypoints"] = torch.tensor([[[12.0, 14.0, 1.0]] * 17] * 2), torch.zeros(0, 17, 3)
    return [found, none]
