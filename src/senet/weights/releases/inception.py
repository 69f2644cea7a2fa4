"""What other libraries call the layers of the Inceptions, and what else their files need to become ours."""

import re
from collections.abc import Callable

from senet.spec import InputSpec
from senet.weights.releases.library import Rule, Tensors

MIXED = ("1x1", "3x3", "double_3x3", "pool")
HALVING = {"3c": MIXED[1:], "4e": MIXED[1:]}
"""Branches of BN-Inception's modules, in the order of concatenation: of most, and of those that halve the resolution."""

FIRST_BRANCHES = {
    "3": ("1x1", "5x5", "double_3x3", "pool"),
    "4": ("3x3", "double_3x3", "pool"),
    "5": ("3x3", "narrow_3x3", "double_3x3", "pool"),
}
UNIT_BRANCHES = {"3": ("1x1", "3x3", "double_3x3"), "4": ("1x1", "7x7"), "5": ("1x1", "3x3")}
"""Branches of Inception-ResNet-v2, by stage: of the module that a stage begins with, and of its residual units."""

INCEPTION_INPUT = InputSpec(size=299, resize=333, channels=3, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""The images that Inception-ResNet-v2 was trained on by its authors: -1..1, 0.8975 of the shorter side."""

NUMBERED_LAYER = (
    r"^stage(?P<stage>\d)\.(?P<unit>\w+)\.(?:branches\.)?branch(?P<branch>\d)\."
    r"(?:conv_list\.)?(?:(?:conv)?(?P<layer>\d*)\.)?(?P<own>(?:conv|bn)\.\w+)$"
)
"""A tensor of a numbered layer (or an only one) of a numbered branch, in a module that has our name already."""


def without_biases(tensors: Tensors) -> Tensors:
    """Fold the biases of convolutions in front of BNs, which these make redundant, into the means that the BNs subtract."""
    folded = dict(tensors)
    for name in tensors:
        mean = name.replace(".conv.bias", ".bn.running_mean")
        if mean != name and mean in tensors:
            folded[mean] = tensors[mean] - folded.pop(name)
    return folded


def without_leading_axes(tensors: Tensors) -> Tensors:
    """Read the parameters of BNs that Cadene's file of BN-Inception has as (1, C), and fold the biases."""
    flat = {name: tensor.squeeze(0) for name, tensor in tensors.items() if ".bn." in name and tensor.ndim == 2}
    return without_biases(tensors | flat)


def without_background(tensors: Tensors) -> Tensors:
    """Drop the first of 1001 classes: networks trained with TF-slim count ImageNet's classes from 1, and class 0 is the background."""
    head = {name: tensor for name, tensor in tensors.items() if name in ("fc.weight", "fc.bias") and len(tensor) == 1001}
    return tensors | {name: tensor[1:] for name, tensor in head.items()}


def _bn_branches(stage: str, unit: str) -> tuple[str, ...]:
    return HALVING.get(stage + unit, MIXED)


def _resnet_branches(stage: str, unit: str) -> tuple[str, ...]:
    return (FIRST_BRANCHES if unit == "0" else UNIT_BRANCHES).get(stage, ())


def _numbered(branches: Callable[[str, str], tuple[str, ...]], first: int) -> Rule:
    """Return the rule that names the branches which a library counts from `first`, and counts their layers from 0."""

    def name(match: re.Match[str]) -> str:
        names, index = branches(match["stage"], match["unit"]), int(match["branch"]) - first
        if index not in range(len(names)):
            return match[0]
        layer = 1 if names[index] == "pool" else int(match["layer"] or first) - first  # a pool comes before its convolution
        return f"stage{match['stage']}.{match['unit']}.branches.{names[index]}.{layer}.{match['own']}"

    return NUMBERED_LAYER, name


def _looked_up(table: dict[str, str]) -> Callable[[re.Match[str]], str]:
    """Return a replacement by what a table has for the first group; other names stay."""
    return lambda match: table.get(match[1], match[0])


PYTORCHCV_BN_INCEPTION: tuple[Rule, ...] = (
    (r"^features\.init_block\.conv1\.", "conv1."),
    (r"^features\.init_block\.conv2\.conv1\.", "conv2_reduce."),
    (r"^features\.init_block\.conv2\.conv2\.", "conv2."),
    (
        r"^features\.(stage\d\.unit\d)\.",
        _looked_up(
            {
                f"stage{stage}.unit{index}": f"stage{module[0]}.{module[1]}."
                for stage, modules in enumerate((("3a", "3b"), ("3c", "4a", "4b", "4c", "4d"), ("4e", "5a", "5b")), 1)
                for index, module in enumerate(modules, 1)
            }
        ),
    ),
    _numbered(_bn_branches, 1),
    (r"^output\.", "fc."),
)
"""pytorchcv's stages are the modules of equal resolution."""

PYTORCHCV_INCEPTION_RESNET: tuple[Rule, ...] = (
    (
        r"^features\.init_block\.(conv\d)\.",
        _looked_up({f"conv{number}": f"convolutions.{index}." for number, index in enumerate((0, 1, 2, 4, 5), 1)}),
    ),
    (r"^features\.init_block\.block\.", "stage3.0."),
    (r"^features\.stage1\.unit(\d+)\.", r"stage3.\1."),
    (r"^features\.stage([23])\.unit(\d+)\.", lambda m: f"stage{int(m[1]) + 2}.{int(m[2]) - 1}."),
    _numbered(_resnet_branches, 1),
    (r"^(stage\d\.\d+)\.conv\.", r"\1.up."),
    (r"^features\.final_conv\.", "conv7b."),
    (r"^output\.fc\.", "fc."),
)

TIMM_INCEPTION_RESNET: tuple[Rule, ...] = (
    (
        r"^conv2d_(\d[ab])\.",
        _looked_up(
            {"7b": "conv7b."} | dict(zip(("1a", "2a", "2b", "3b", "4a"), (f"convolutions.{i}." for i in (0, 1, 2, 4, 5)), strict=True))
        ),
    ),
    (
        r"^(mixed_\d[ab]|block8)\.",
        _looked_up({"mixed_5b": "stage3.0.", "mixed_6a": "stage4.0.", "mixed_7a": "stage5.0.", "block8": "stage5.10."}),
    ),
    (r"^repeat(?:_(\d))?\.(\d+)\.", lambda m: f"stage{int(m[1] or 0) + 3}.{int(m[2]) + 1}."),
    _numbered(_resnet_branches, 0),
    (r"^(stage\d\.\d+)\.conv2d\.", r"\1.up."),
    (r"^(?:classif|last_linear)\.", "fc."),
)
"""Also the names of Cadene's port, from which timm's came."""

CADENE_BN_INCEPTION: tuple[Rule, ...] = (
    (
        r"^(conv1_7x7_s2|conv2_3x3_reduce|conv2_3x3)(?=_bn\.|\.)",
        _looked_up({"conv1_7x7_s2": "conv1", "conv2_3x3_reduce": "conv2_reduce", "conv2_3x3": "conv2"}),
    ),
    (
        r"^inception_(\d)([a-e])_(1x1|3x3|double_3x3|pool)(?:_(reduce|proj|1|2))?(?=_bn\.|\.)",
        lambda m: f"stage{m[1]}.{m[2]}.branches.{m[3]}.{LAYER_NUMBERS.get(m[4], int(m[3] == '3x3'))}",
    ),
    (r"^((?:conv|stage).*)_bn\.", r"\1.bn."),
    (r"^(conv\w+|stage\d\.[a-e]\.branches\.\w+\.\d)\.(?!bn\.)", r"\1.conv."),
    (r"^last_linear\.", "fc."),
)
LAYER_NUMBERS = {"reduce": 0, "proj": 1, "1": 1, "2": 2}
"""The layer of a branch that a name's ending means; a 3x3 without one follows its reduction, and a 1x1 is alone."""
