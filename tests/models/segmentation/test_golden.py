"""Parameters of the papers' F-CNNs, to the last one (1803.02579: "~2.1 million" and 3.3e4 more with scSE; layer lists: AI-Med)."""

import pytest

from senet import BlockSpec, create_model

PAPER = {"in_channels": 1, "num_classes": 28, "device": "meta"}


def parameters(name: str, **options: object) -> int:
    return sum(p.numel() for p in create_model(name, **PAPER | options).parameters())


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 2_154_972),
        ({"upsample": "bilinear"}, 2_154_972),
        ({"upsample": "transposed"}, 2_154_972 + 4 * (64 * 64 * 4 + 64)),
        ({"upsample": "transposed", "norm": "batch"}, 2_223_580),
        ({"kernel": 7, "convs": 1}, 2_413_980),
        ({"kernel": 3}, 777_692),
    ],
)
def test_unet(options: dict, count: int) -> None:
    assert parameters("unet", **options) == count


@pytest.mark.parametrize(
    ("kind", "biases", "added"),
    [
        ("scse", False, 33_280),
        ("scse", True, 34_056),
        ("se", False, 8 * 64**2),
        ("se", True, 8 * (64**2 + 32 + 64)),
        ("sse", False, 8 * 64),
        ("sse", True, 8 * 65),
    ],
)
def test_blocks_add_what_the_paper_says(kind: str, biases: bool, added: int) -> None:
    assert parameters("unet", block=BlockSpec(kind, bias=biases)) - parameters("unet") == added


def test_blocks_have_a_reduction_of_2_unless_told_otherwise() -> None:
    assert parameters("se_unet", reduction=16) - parameters("unet") == 8 * (2 * 64 * 4 + 4 + 64)
    assert create_model("se_unet", **PAPER).encoder1.se.hidden == 32
