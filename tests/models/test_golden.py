"""The papers' tables: parameters of every network, to the last one.

Sources: Hu et al., 1709.01507v4 (tables named below), the official release, and counts derived from its layer lists; CIFAR: the tables of
SENet and CMPE-SE with counts derived from the layer lists.
"""

import pytest

from senet import BlockSpec, create_model

PAPER = BlockSpec("se", bias=False)
"""The block of the paper's ablations: no biases in the FCs."""

PLAIN = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "vgg11_bn": 132_868_840,
    "vgg16_bn": 138_365_992,
    "mobilenet": 4_231_976,
    "shufflenet_g1": 1_531_936,
    "shufflenet_g2": 1_733_848,
    "shufflenet_g3": 1_865_728,
    "shufflenet_g4": 1_968_344,
    "shufflenet_g8": 2_434_768,
    "bn_inception": 11_285_224,
    "inception_resnet_v2": 55_843_464,
    "cifar_resnet20": 272_474,
    "cifar_resnet110": 1_730_714,
    "preresnet110": 1_730_522,
    "preresnet164": 1_703_258,
    "wrn16_8": 10_961_370,
    "wrn22_10": 26_797_914,
    "wrn28_10": 36_479_194,
    "shake_shake26_2x32d": 2_923_162,
    "shake_shake26_2x96d": 26_192_922,
    "shake_even29_2x4x64d": 34_529_700,
}
RECALIBRATED = {
    "se_resnet18": 11_778_592,
    "se_resnet34": 21_958_868,
    "se_resnet50": 28_088_024,
    "se_resnet101": 49_326_872,
    "se_resnet152": 66_821_848,
    "se_mobilenet": 4_718_044,
    "se_shufflenet_g3": 2_484_533,
    "se_bn_inception": 11_931_622,
    "se_inception_resnet_v2": 65_092_718,
    "se_cifar_resnet20": 274_847,
    "se_cifar_resnet56": 862_889,
    "se_cifar_resnet110": 1_744_952,
}
WITHOUT_BIAS = {  # what the blocks add, r = 16
    "resnet50": 2_514_944,
    "vgg16_bn": 226_304,
    "mobilenet": 4_711_720 - 4_231_976,
    "shufflenet_g3": 2_476_144 - 1_865_728,
    "preresnet110": 12_096,
    "preresnet164": 193_536,
    "wrn16_8": 86_016,
    "wrn22_10": 26_999_514 - 26_797_914,
    "wrn28_10": 36_747_994 - 36_479_194,
    "shake_shake26_2x96d": 96_768,
    "shake_even29_2x4x64d": 516_096,
}
TABLE_10 = {2: 45_676_584, 4: 35_616_808, 8: 30_586_920, 16: 28_071_976, 32: 26_814_504}
TABLE_13 = {2: 24_576, 3: 131_072, 4: 786_432, 5: 1_572_864}
PLACEMENTS = {"standard": 28_088_024, "identity": 28_088_024, "post": 28_088_024, "pre": 27_562_140, "inner": 25_718_228}


def parameters(name: str, **options: object) -> int:
    return sum(p.numel() for p in create_model(name, device="meta", **options).parameters())


@pytest.mark.parametrize(("name", "count"), (PLAIN | RECALIBRATED).items())
def test_parameters(name: str, count: int) -> None:
    assert parameters(name) == count


@pytest.mark.parametrize(("name", "added"), WITHOUT_BIAS.items())
def test_blocks_without_bias_add(name: str, added: int) -> None:
    assert parameters(name, block=PAPER) - parameters(name) == added


@pytest.mark.parametrize(("reduction", "count"), TABLE_10.items())
def test_reduction_ratios_of_table_10(reduction: int, count: int) -> None:
    assert parameters("resnet50", block=PAPER, reduction=reduction) == count


@pytest.mark.parametrize(("stage", "added"), TABLE_13.items())
def test_stages_of_table_13(stage: int, added: int) -> None:
    assert parameters("resnet50", block=PAPER, stages=(stage,)) - PLAIN["resnet50"] == added


def test_reduction_per_stage_is_the_sum_of_its_stages() -> None:
    formula = sum(
        2 * count * width**2 // ratio for count, width, ratio in zip((3, 4, 6, 3), (256, 512, 1024, 2048), (4, 8, 16, 32), strict=True)
    )
    assert parameters("resnet50", block=PAPER, reduction={2: 4, 3: 8, 4: 16, 5: 32}) - PLAIN["resnet50"] == formula


@pytest.mark.parametrize(("placement", "count"), PLACEMENTS.items())
def test_placements(placement: str, count: int) -> None:
    assert parameters("se_resnet50", placement=placement) == count


def test_se_3x3_of_table_15() -> None:
    assert parameters("resnet50", block=PAPER, placement="inner") - PLAIN["resnet50"] == 157_184


def test_no_squeeze_of_table_16_has_the_same_parameters() -> None:
    assert parameters("resnet50", block=BlockSpec("se", squeeze="none", bias=False)) == TABLE_10[16]
