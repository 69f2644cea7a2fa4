"""Weights of torchvision: plain networks, whose names for tensors are also ours."""

from senet.weights.releases.library import Library, Release
from senet.weights.releases.timm import TORCHVISION_STEM, V1_5, release

URL = "https://download.pytorch.org/models"

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
        Release("", "SqueezeExcitation", input=None),
    ),
)
