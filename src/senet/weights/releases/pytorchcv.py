"""Weights of pytorchcv (osmr/pytorchcv): networks for ImageNet and CIFAR, plain and with SE."""

from senet.spec import InputSpec
from senet.weights.releases.inception import PYTORCHCV_BN_INCEPTION, PYTORCHCV_INCEPTION_RESNET, without_biases
from senet.weights.releases.library import Library, Release, Rule
from senet.weights.releases.timm import TORCHVISION_STEM, V1_5

CIFAR = InputSpec(size=32, resize=32, channels=3, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))

UNIT_RULES: tuple[Rule, ...] = (
    (r"^features\.stage(\d)\.unit(\d+)\.", lambda m: f"layer{m[1]}.{int(m[2]) - 1}."),
    (r"body\.conv(\d)\.conv", r"conv\1"),
    (r"body\.conv(\d)\.bn", r"bn\1"),
    (r"se\.conv(\d)", r"se.fc\1"),
    (r"identity_conv\.conv", "downsample.0"),
    (r"identity_conv\.bn", "downsample.1"),
    (r"identity_conv\.weight", "downsample.weight"),
    (r"^output\.(fc\.)?", "fc."),
)
RESNET_RULES: tuple[Rule, ...] = (
    (r"^features\.init_block\.conv\.conv\.", "conv1."),
    (r"^features\.init_block\.conv\.bn\.", "bn1."),
    *UNIT_RULES,
)
SENET_RULES: tuple[Rule, ...] = (
    (r"^features\.init_block\.conv(\d)\.conv\.", lambda m: f"conv1.{3 * int(m[1]) - 3}."),
    (r"^features\.init_block\.conv([12])\.bn\.", lambda m: f"conv1.{3 * int(m[1]) - 2}."),
    (r"^features\.init_block\.conv3\.bn\.", "bn1."),
    *UNIT_RULES,
)
CIFAR_RULES: tuple[Rule, ...] = (
    (r"^features\.init_block\.conv\.", "conv1."),
    (r"^features\.init_block\.bn\.", "bn1."),
    *UNIT_RULES,
)
MOBILENET_RULES: tuple[Rule, ...] = ((r"dw_conv\.(conv|bn)\.", r"\g<1>1."), (r"pw_conv\.(conv|bn)\.", r"\g<1>2."), *CIFAR_RULES)
SHUFFLENET_RULES: tuple[Rule, ...] = ((r"(?:compress|dw|expand)_(conv|bn)(\d)\.", r"\1\2."), *CIFAR_RULES)
PRERESNET_RULES: tuple[Rule, ...] = ((r"^features\.init_block\.", "conv1."), (r"^features\.post_activ\.bn\.", "bn."), *UNIT_RULES)

PYTORCHCV = Library(
    "pytorchcv",
    (
        *(
            Release(ours + name, theirs + name + suffix, RESNET_RULES, options)
            for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
            for ours, theirs in (("", ""), ("se_", "se"))
            for suffix, options in (("", TORCHVISION_STEM), ("b", V1_5))
            if suffix == "" or name in ("resnet50", "resnet101", "resnet152")
        ),
        *(
            Release(ours + name, theirs + name, RESNET_RULES, TORCHVISION_STEM)
            for name in ("resnext50_32x4d", "resnext101_32x4d", "resnext101_64x4d")
            for ours, theirs in (("", ""), ("se_", "se"))
        ),
        Release("senet154", "senet154", SENET_RULES, TORCHVISION_STEM),
        Release("bn_inception", "bninception", PYTORCHCV_BN_INCEPTION, input=None, convert=without_biases),
        Release("inception_resnet_v2", "inceptionresnetv2", PYTORCHCV_INCEPTION_RESNET, input=None),
        Release("mobilenet", "mobilenet_w1", MOBILENET_RULES),
        *(Release(f"shufflenet_g{groups}", f"shufflenet_g{groups}_w1", SHUFFLENET_RULES) for groups in (1, 2, 3, 4, 8)),
        *(
            Release(f"{ours}cifar_resnet{depth}", f"{theirs}resnet{depth}_cifar10", CIFAR_RULES, input=CIFAR)
            for depth in (20, 56, 110)
            for ours, theirs in (("", ""), ("se_", "se"))
        ),
        *(
            Release(f"preresnet{depth}", f"preresnet{depth}_cifar10", PRERESNET_RULES, {"first_shortcut": "raw"}, CIFAR)
            for depth in (20, 56, 110)
        ),
        Release("preresnet164", "preresnet164bn_cifar10", PRERESNET_RULES, {"v1_5": True}, CIFAR),
        Release("wrn28_10", "wrn28_10_cifar10", PRERESNET_RULES, input=CIFAR),
    ),
)
