"""Weights of MONAI's two-dimensional SE networks and of its SE layer; those that it trained are for other images than photographs."""

from senet.spec import BlockSpec
from senet.weights.releases.library import Library, Release, Rule
from senet.weights.releases.moskomule import LINEAR_RULES
from senet.weights.releases.timm import LEGACY, LEGACY_154

LAYER_RULES: tuple[Rule, ...] = (
    (r"\.conv([123])\.conv\.", r".conv\1."),
    (r"\.conv([123])\.adn\.N\.", r".bn\1."),
    (r"\.project\.conv\.", ".downsample.0."),
    (r"\.project\.adn\.N\.", ".downsample.1."),
    (r"\.se_layer\.fc\.0\.", ".se.fc1."),
    (r"\.se_layer\.fc\.2\.", ".se.fc2."),
)

MONAI = Library(
    "monai",
    (
        *(
            Release(model, name, (*LAYER_RULES, *rules), input=None)
            for model, name, rules in (
                ("se_resnet50", "SEResNet50", LEGACY),
                ("se_resnet101", "SEResNet101", LEGACY),
                ("se_resnet152", "SEResNet152", LEGACY),
                ("se_resnext50_32x4d", "SEResNext50", LEGACY),
                ("se_resnext101_32x4d", "SEResNext101", LEGACY),
                ("senet154", "SENet154", LEGACY_154),
            )
        ),
        Release("", "ChannelSELayer", LINEAR_RULES, {"block": BlockSpec("se")}, input=None),
    ),
)
