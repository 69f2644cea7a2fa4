"""Weights of moskomule/senet.pytorch: torchvision's ResNets with SE blocks that have no biases, and CIFAR networks."""

from senet.spec import BlockSpec
from senet.weights.releases.library import Library, Release, Rule
from senet.weights.releases.timm import V1_5

URL = "https://github.com/moskomule/senet.pytorch/releases/download/archive/seresnet50-60a8950a85b2b.pkl"

LINEAR_RULES: tuple[Rule, ...] = ((r"(^|\.se\.)fc\.0\.", r"\1fc1."), (r"(^|\.se\.)fc\.2\.", r"\1fc2."))
WITHOUT_BIAS = {"block": BlockSpec("se", bias=False)}

MOSKOMULE = Library(
    "moskomule",
    (
        Release("se_resnet50", "se_resnet50", LINEAR_RULES, V1_5 | WITHOUT_BIAS, url=URL, digest="60a8950a85b2b"),
        *(Release(f"se_resnet{depth}", f"se_resnet{depth}", LINEAR_RULES, V1_5 | WITHOUT_BIAS) for depth in (18, 34, 101, 152)),
        *(Release(f"se_cifar_resnet{depth}", f"se_resnet{depth}", LINEAR_RULES, WITHOUT_BIAS, input=None) for depth in (20, 32, 56)),
        Release("", "SELayer", LINEAR_RULES, {"block": BlockSpec("se")}, input=None),
    ),
)
