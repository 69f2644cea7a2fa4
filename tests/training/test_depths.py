"""Layers are stages where a network numbers them, and children in their order elsewhere."""

import pytest
import torchvision
from torch import nn

from senet.models.create import create_model
from senet.training.depths import layer_paths, layers_to_head


def depths(model: nn.Module, *names: str) -> list[int]:
    found = layers_to_head(model)
    assert found.keys() == {name for name, _ in model.named_parameters()}
    return [found[name] for name in names]


def test_stages_are_the_layers_of_the_zoo() -> None:
    names = ("conv1.weight", "layer1.0.conv1.weight", "layer2.2.conv2.weight", "layer3.0.se.fc1.weight", "bn.weight", "fc.bias")
    assert depths(create_model("se_preresnet20"), *names) == [4, 3, 2, 1, 0, 0]


def test_a_decoder_goes_on_from_its_encoder() -> None:
    names = ("encoder1.layers.0.weight", "bottleneck.layers.0.weight", "decoder4.layers.0.weight", "classifier.weight")
    assert depths(create_model("scse_unet"), *names) == [9, 5, 1, 0]


def test_a_library_s_resnet_has_the_layers_of_the_zoo_s() -> None:
    ours, theirs = create_model("resnet18", v1_5=True), torchvision.models.resnet18()
    assert layers_to_head(ours) == layers_to_head(theirs)


@pytest.mark.parametrize(
    ("build", "names", "wanted"),
    [
        (
            lambda: torchvision.models.vit_b_16(image_size=32),
            ("class_token", "conv_proj.weight", "encoder.layers.encoder_layer_0.ln_1.weight", "encoder.ln.bias", "heads.head.bias"),
            [13, 13, 12, 0, 0],
        ),
        (lambda: torchvision.models.mobilenet_v2(), ("features.0.0.weight", "features.18.1.bias", "classifier.1.weight"), [19, 1, 0]),
    ],
)
def test_a_module_that_is_nearly_all_is_looked_into(build, names, wanted) -> None:
    assert depths(build(), *names) == wanted


def test_a_norm_between_two_layers_belongs_to_the_one_before() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    assert layer_paths(model) == ["0", "2"]
    assert depths(model, "0.weight", "1.weight", "2.bias", "3.bias") == [2, 2, 1, 0]


def test_a_network_without_layers_has_no_depth() -> None:
    assert depths(nn.BatchNorm1d(3), "weight", "bias") == [0, 0]
