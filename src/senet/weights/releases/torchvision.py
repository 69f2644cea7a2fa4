"""Weights of torchvision: plain networks, whose names for tensors are also ours."""

from dataclasses import replace

from senet.weights.releases.library import Library, Release, Tensors
from senet.weights.releases.timm import TORCHVISION_STEM, V1_5, release

URL = "https://download.pytorch.org/models"

ON_RESNET50 = {"backbone": "resnet50", "backbone_options": V1_5}

EPS = 1e-5
"""What batch norms add to a variance here."""

LEAST = 1e-10
"""Smallest variance that is taken as it is, so that a norm of a dead channel divides by something."""


def with_our_eps(tensors: Tensors) -> Tensors:
    """Return a detector's tensors for batch norms that add `EPS` to variances: those of torchvision's, frozen, add nothing to them."""
    norms = [name for name in tensors if name.startswith("backbone.body.") and name.endswith("running_var")]
    return tensors | {name: tensors[name].clamp_min(LEAST) - EPS for name in norms}


def detector(model: str, name: str, file: str) -> Release:
    """Return a detector for COCO, whose images are normalised as ImageNet's are."""
    return replace(release(model, name, f"{URL}/{file}", options=ON_RESNET50), convert=with_our_eps)


TORCHVISION = Library(
    "torchvision",
    (
        release("resnet18", "resnet18", f"{URL}/resnet18-f37072fd.pth", options=V1_5),
        release("resnet34", "resnet34", f"{URL}/resnet34-b627a593.pth", options=V1_5),
        release("resnet50", "resnet50", f"{URL}/resnet50-0676ba61.pth", options=V1_5),
        release("resnet101", "resnet101", f"{URL}/resnet101-63fe2227.pth", options=V1_5),
        release("resnet152", "resnet152", f"{URL}/resnet152-394f9c45.pth", options=V1_5),
        release("resnext50_32x4d", "resnext50_32x4d", f"{URL}/resnext50_32x4d-7cdf4587.pth", options=TORCHVISION_STEM),
        release("resnext101_64x4d", "resnext101_64x4d", f"{URL}/resnext101_64x4d-173b62eb.pth", options=TORCHVISION_STEM, resize=232),
        release("vgg11_bn", "vgg11_bn", f"{URL}/vgg11_bn-6002323d.pth"),
        release("vgg13_bn", "vgg13_bn", f"{URL}/vgg13_bn-abd245e5.pth"),
        release("vgg16_bn", "vgg16_bn", f"{URL}/vgg16_bn-6c64b313.pth"),
        release("vgg19_bn", "vgg19_bn", f"{URL}/vgg19_bn-c79401a0.pth"),
        detector("faster_rcnn", "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"),
        detector("mask_rcnn", "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"),
        Release("", "SqueezeExcitation", input=None),
    ),
)
