"""VGGs: names and places of layers and blocks, stages and levels, the head."""

import pytest
import torch
import torchvision
from torch import nn

from oracles.weights import blank
from senet import ChannelSE, create_model, list_models, profile, record_excitations
from senet.errors import UsageError
from senet.models.vgg import WIDTHS

DEPTHS = (11, 13, 16, 19)
RELUS_OF_16 = (2, 5, 9, 12, 16, 19, 22, 26, 29, 32, 36, 39, 42)


@pytest.mark.parametrize("depth", DEPTHS)
def test_names_and_shapes_are_torchvisions(depth: int) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"vgg{depth}_bn").state_dict()
    ours = create_model(f"vgg{depth}_bn", device="meta").state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


def test_blocks_sit_behind_every_relu_of_the_convolutions() -> None:
    model = create_model("se_vgg16_bn", device="meta")
    assert [name for name, _ in model.named_modules() if name.endswith(".se")] == [f"features.{index}.se" for index in RELUS_OF_16]
    assert "features.2.se.fc1.weight" in model.state_dict()


def test_units_count_from_1_in_stages_1_to_5() -> None:
    seen = []
    create_model("vgg16_bn", device="meta", block=lambda *unit: seen.append(unit))
    assert seen == [
        (stage, index, width)
        for stage, (count, width) in enumerate(zip((2, 2, 3, 3, 3), WIDTHS, strict=True), 1)
        for index in range(1, count + 1)
    ]
    chosen = create_model("se_vgg16_bn", device="meta", stages=(2, 5))
    assert [name for name, module in chosen.named_modules() if isinstance(module, ChannelSE)] == [
        f"features.{index}.se" for index in (9, 12, 36, 39, 42)
    ]


def test_stages_hold_units_of_three_layers() -> None:
    model = create_model("vgg16_bn", device="meta")
    assert {number: len(stage) for number, stage in model.stages.items()} == {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
    units = [unit for stage in model.stages.values() for unit in stage]
    assert {tuple(type(layer) for layer in unit) for unit in units} == {(nn.Conv2d, nn.BatchNorm2d, nn.ReLU)}
    assert [unit[2] for unit in units] == [model.features[index] for index in RELUS_OF_16]


def test_recorded_gates_have_the_papers_names() -> None:
    model = blank(create_model("se_vgg11_bn", num_classes=2, device="meta"))
    excitations = record_excitations(model, [(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))])
    names = ["SE_1_1", "SE_2_1", "SE_3_1", "SE_3_2", "SE_4_1", "SE_4_2", "SE_5_1", "SE_5_2"]
    assert [block.name for block in excitations.blocks] == names
    assert [block.name for block in excitations.blocks if block.ends_stage] == ["SE_1_1", "SE_2_1", "SE_3_2", "SE_4_2", "SE_5_2"]


def test_maps_come_before_each_pool() -> None:
    x = torch.randn(1, 3, 37, 53)
    features = create_model("se_vgg11_bn", num_classes=2, features_only=True).eval()
    model = create_model("se_vgg11_bn", num_classes=2, device="meta").eval()
    model.features.load_state_dict(features.network.features.state_dict(), assign=True)
    maps = [x]
    for layer in model.features[:-1]:
        x = layer(x)
        maps.append(x)
    before = [index for index, layer in enumerate(model.features) if isinstance(layer, nn.MaxPool2d)]
    assert [tuple(value.shape[2:]) for value in features(maps[0])] == [(37, 53), (18, 26), (9, 13), (4, 6), (2, 3)]
    for got, index in zip(features(maps[0]), before, strict=True):
        assert torch.equal(got, maps[index])


def test_hidden_layers_are_drawn_as_he_et_al() -> None:
    torch.manual_seed(0)
    model = create_model("vgg11_bn")
    for index, fan_in in ((0, 512 * 49), (3, 4096)):
        layer = model.classifier[index]
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.01)
        assert not layer.bias.any()
    assert model.features[4].weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.01)


def test_reset_classifier_replaces_the_last_layer_only() -> None:
    model = blank(create_model("vgg11_bn", device="meta"))
    hidden = model.classifier[3].weight
    model.reset_classifier(7)
    assert model.classifier[3].weight is hidden
    assert isinstance(model.classifier[6], nn.Linear)
    assert model.classifier[6].weight.shape == (7, 4096)
    assert model.config.options["num_classes"] == 7
    assert model.eval()(torch.randn(1, 3, 32, 32)).shape == (1, 7)


def test_dropout_acts_on_both_hidden_layers() -> None:
    model = create_model("vgg11_bn", device="meta", dropout=0.25)
    assert [layer.p for layer in model.classifier if isinstance(layer, nn.Dropout)] == [0.25, 0.25]
    assert create_model("vgg11_bn", device="meta").config.options["dropout"] == 0.5


def test_operations_are_the_papers() -> None:
    assert profile(create_model("vgg16_bn", device="meta"), latency=False).macs / 1e9 == pytest.approx(15.47, abs=0.005)
    assert profile(create_model("se_vgg16_bn", device="meta"), latency=False).macs / 1e9 == pytest.approx(15.48, abs=0.005)


def test_prefixes_are_those_of_networks_without_shortcuts() -> None:
    assert list_models("*vgg16_bn") == ["vgg16_bn", "se_vgg16_bn", "sse_vgg16_bn", "scse_vgg16_bn"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"placement": "post"}, "takes the placement standard only, got 'post'"),
        ({"stages": (6,)}, "no stage 6 for a block; its stages are 1, 2, 3, 4, 5"),
        ({"droput": 0.1}, "did you mean 'dropout'"),
    ],
)
def test_impossible_requests_say_what_is_allowed(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        create_model("se_vgg16_bn", device="meta", **options)


def test_competitive_blocks_need_a_shortcut() -> None:
    with pytest.raises(UsageError, match="not every unit of this network has: use 'se'"):
        create_model("vgg16_bn", device="meta", block="cmpe_se")
