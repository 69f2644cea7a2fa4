"""What the options of networks for segmentation may be, and what errors say of them."""

import pytest
import torch

from senet import BlockSpec, ChannelSE, SpatialSE, create_model
from senet.errors import UsageError


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("unet", {"kernel": 4}, "kernel must be odd, so that a map keeps its size, got 4; 3 or 5 is"),
        ("sd_net", {"kernel": 2.5}, "kernel must be an integer of at least 1, got 2.5"),
        ("unet", {"width": 0}, "width must be"),
        ("fc_densenet", {"depth": 0}, "depth must be"),
        ("fc_densenet", {"convs": 0}, "convs must be"),
        ("unet", {"dropout": 1.0}, "dropout is a share of the channels"),
        ("unet", {"norm": "bach"}, "did you mean 'batch'"),
        ("unet3d", {"upsample": "linear"}, "allowed: nearest, bilinear, transposed"),
        ("sd_net", {"activation": "gelu"}, "allowed: prelu, relu"),
        ("sd_net", {"norm": "batch"}, "sd_net has no option 'norm'"),
        ("scse_unet", {"placement": "pre"}, "placement standard only"),
        ("scse_unet", {"stages": (5,)}, "no stage 5 for a block; its stages are 1, 2, 3, 4, 6, 7, 8, 9"),
        ("scse_unet", {"depth": 2, "stages": (3,)}, "no stage 3 for a block; its stages are 1, 2, 4, 5"),
        ("unet", {"block": "cmpe_se"}, "sees the shortcut|weighs a branch against the shortcut"),
        ("cmpe_se_unet", {}, "unknown model"),
        ("unet", {"features_only": True, "out_indices": (9,)}, "9 maps: 0 to 8"),
    ],
)
def test_impossible_requests_say_what_is_allowed(name: str, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        create_model(name, device="meta", **options)


def test_stages_choose_which_blocks_there_are() -> None:
    model = create_model("unet", device="meta", block="sse", stages=(4, 6, 9))
    paths = [path for path, module in model.named_modules() if isinstance(module, SpatialSE)]
    assert paths == ["encoder4.se", "decoder1.se", "decoder4.se"]


def test_a_rule_decides_for_each_stage() -> None:
    seen = []

    def rule(stage: int, index: int, channels: int) -> BlockSpec | None:
        seen.append((stage, index, channels))
        return BlockSpec("se" if stage < 5 else "sse")

    model = create_model("unet", device="meta", width=8, block=rule)
    assert seen == [(stage, 1, 8) for stage in (1, 2, 3, 4, 6, 7, 8, 9)]
    assert isinstance(model.encoder1.se, ChannelSE)
    assert model.encoder1.se.hidden == 4
    assert isinstance(model.decoder1.se, SpatialSE)


@pytest.mark.parametrize("name", ["unet", "sd_net", "fc_densenet", "unet3d"])
def test_dropout_drops_whole_maps_in_training_only(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, width=8, depth=1, kernel=3, dropout=0.5)
    x = torch.randn(2, 3, *(8, 6, 4)[: 3 if name == "unet3d" else 2])
    encoder, _, decoder = model.train().maps(x)
    for found in (encoder, decoder):
        silent = (found.flatten(2) == 0).all(2)
        assert 0 < silent.sum() < silent.numel()
    assert torch.equal(model.eval()(x), model(x))


def test_convolutions_are_drawn_by_fan_in_and_learned_enlarging_by_its_own() -> None:
    torch.manual_seed(0)
    model = create_model("unet", upsample="transposed")
    assert model.decoder1.layers[0].weight.std().item() == pytest.approx((2 / (25 * 128)) ** 0.5, rel=0.02)
    assert model.up1.conv.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)
    assert not model.up1.conv.bias.any()


def test_maps_are_not_padded_where_sides_are_odd() -> None:
    model = create_model("se_unet", width=4, depth=1, kernel=1, in_channels=1).double().eval()
    x = torch.randn(1, 1, 5, 7, dtype=torch.float64)
    seen: list[torch.Tensor] = []
    model.decoder1.se.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(x)
    gate = model.decoder1.se.gate(seen[0])
    hidden = model.decoder1.se.fc1(seen[0].sum((2, 3)) / 35).relu()
    torch.testing.assert_close(gate.flatten(), model.decoder1.se.fc2(hidden).sigmoid().flatten(), rtol=1e-12, atol=1e-12)
