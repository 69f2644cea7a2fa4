from torch import nn

from senet import create_model
from senet.surgery.stages import numbered_stages


def test_a_networks_own_numbers() -> None:
    model = create_model("unet", width=4)
    assert numbered_stages(model) == model.stages
    assert list(numbered_stages(model)) == list(range(1, 10))


def test_a_network_in_it_numbers_what_is_free() -> None:
    model = create_model("unet", encoder="cifar_resnet20")
    encoder = next(module for path, module in model.named_modules() if path.endswith("encoder.network"))
    assert numbered_stages(model) == encoder.stages | model.stages
    assert list(numbered_stages(model)) == [4, 5, 1, 2, 3]


def test_a_list_of_stages_has_no_numbers() -> None:
    model = nn.Module()
    model.stages = nn.ModuleList([nn.Conv2d(1, 1, 1)])
    assert numbered_stages(model) == {}
