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


def test_fc_densenet() -> None:
    assert parameters("fc_densenet", num_classes=33) == 3_517_296
    assert parameters("scse_fc_densenet", num_classes=33) == 3_517_296 + 34_056


@pytest.mark.parametrize(("options", "slopes"), [({}, 9), ({"activation": "relu"}, 0)])
def test_sd_net(options: dict, slopes: int) -> None:
    first, wide, twice = (49 * inputs * 64 + 64 + 128 for inputs in (1, 64, 128))
    assert parameters("sd_net", **options) == first + 4 * wide + 4 * twice + 28 * 65 + slopes
    assert options or parameters("sd_net") == 2_415_141
    assert parameters("scse_sd_net", **options) == parameters("sd_net", **options) + 34_056


def test_unet3d_is_the_same_network_in_three_dimensions() -> None:
    flat, deep = (create_model(name, **PAPER, width=8, kernel=3) for name in ("scse_unet", "scse_unet3d"))
    shapes = {key: tuple(tensor.shape) for key, tensor in deep.state_dict().items()}
    convolutions = {key for key, shape in shapes.items() if len(shape) == 5}
    assert len(convolutions) == 18 + 1  # two a block, and the classifier; the blocks are the same for maps of any dimension
    assert {key: shape[:-1] if key in convolutions else shape for key, shape in shapes.items()} == {
        key: tuple(tensor.shape) for key, tensor in flat.state_dict().items()
    }


def test_blocks_have_a_reduction_of_2_unless_told_otherwise() -> None:
    assert parameters("se_unet", reduction=16) - parameters("unet") == 8 * (2 * 64 * 4 + 4 + 64)
    assert create_model("se_unet", **PAPER).encoder1.se.hidden == 32
