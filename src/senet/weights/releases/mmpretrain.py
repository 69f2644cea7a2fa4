"""Weights of MMPretrain (open-mmlab; mmcls before 1.0): SE-ResNets and SE-ResNeXts, all with torchvision's max-pool."""

from senet.weights.releases.library import Library, Release, Rule
from senet.weights.releases.timm import TORCHVISION_STEM, V1_5, release

URL = "https://download.openmmlab.com/mmclassification/v0/se-resnet"

RULES: tuple[Rule, ...] = (
    (r"^backbone\.", ""),
    (r"\.se_layer\.conv([12])\.conv\.", r".se.fc\1."),
    (r"^head\.fc\.", "fc."),
)

MMPRETRAIN = Library(
    "mmpretrain",
    (
        release("se_resnet50", "seresnet50", f"{URL}/se-resnet50_batch256_imagenet_20200804-ae206104.pth", rules=RULES, options=V1_5),
        release("se_resnet101", "seresnet101", f"{URL}/se-resnet101_batch256_imagenet_20200804-ba5b51d4.pth", rules=RULES, options=V1_5),
        release("se_resnet152", "seresnet152", rules=RULES, options=V1_5),
        *(Release(f"se_resnet{depth}", f"seresnet{depth}_caffe", RULES, TORCHVISION_STEM, input=None) for depth in (50, 101, 152)),
        release("se_resnext50_32x4d", "seresnext50-32x4d", rules=RULES, options=TORCHVISION_STEM),
        release("se_resnext101_32x4d", "seresnext101-32x4d", rules=RULES, options=TORCHVISION_STEM),
    ),
)
"""Its option `style` decides where bottlenecks stride: "pytorch", in the 3x3, or "caffe", in the first 1x1; files do not show which."""
