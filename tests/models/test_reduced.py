"""Networks that were made smaller are written down and rebuilt."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import senet
from senet.errors import UsageError
from senet.models.create import config_of, model_from_config, model_from_recipe
from senet.models.reduced import FoldedBlock, ReducedStep, layer_widths, module_at, record_step
from senet.recipe import ModelRecipe
from senet.surgery.channel_scale import ChannelScale, PassThrough
from senet.surgery.widths import Widths


def inner_width(model: nn.Module, unit: str, layers: tuple[str, str, str], width: int) -> ReducedStep:
    """Narrow the channels between two convolutions of a unit, and say so."""
    before = layer_widths(model)
    first, norm, second = (f"{unit}.{layer}" for layer in layers)
    after = {
        first: Widths(before[first].inputs, width),
        norm: Widths(width, width),
        second: Widths(width, before[second].outputs),
    }
    return ReducedStep.between(before, after)


def reduced(model: nn.Module, step: ReducedStep) -> nn.Module:
    step.carry_out(model)
    record_step(model, step)
    torch.manual_seed(1)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.1, 0.5)
    return model.eval()


def narrow(block: Any, unit: str = "layer1.0") -> nn.Module:
    model = senet.create_model("preresnet20", block=block, num_classes=4)
    return reduced(model, inner_width(model, unit, ("conv1", "bn2", "conv2"), 8))


def folded(model: nn.Module, path: str, channels: int, *, scale: bool = False) -> nn.Module:
    return reduced(model, ReducedStep((FoldedBlock(path, channels, scale),)))


def foreign(path: str, channels: int) -> nn.Module:
    return folded(senet.create_model("timm/mobilenetv3_small_050", num_classes=4), path, channels)


def wrapped() -> nn.Module:
    model = senet.create_model("torchvision/resnet18", num_classes=4, block="se")
    path = next(name for name, module in model.named_modules() if type(module).__name__ == "Gated")
    return folded(model, f"{path}.se", 64)


CASES = {
    "narrow": lambda: narrow("se"),
    "narrow plain": lambda: narrow(None),
    "folded": lambda: folded(senet.create_model("se_preresnet20", num_classes=4), "layer2.1.se", 32),
    "folded cmpe": lambda: folded(senet.create_model("cmpe_se_preresnet20", num_classes=4), "layer2.1.se", 32),
    "scaled": lambda: folded(senet.create_model("se_preresnet20", num_classes=4), "layer2.1.se", 32, scale=True),
    "inserted": wrapped,
    "foreign": lambda: foreign("blocks.0.0.se", 16),
}


@pytest.mark.parametrize("case", CASES)
def test_a_reduced_network_is_saved_and_rebuilt(case: str, tmp_path: Path) -> None:
    model = CASES[case]()
    side = 32 if "preresnet" in config_of(model).name else 64
    images = torch.randn(2, 3, side, side)
    senet.save_weights(model, tmp_path / "small.safetensors")
    again = senet.from_pretrained(tmp_path / "small.safetensors")
    assert config_of(again) == config_of(model)
    assert torch.equal(again(images), model(images))
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
    plain = model_from_config(config_of(model).to_dict(), plain=True)
    assert not any("se." in name for name in plain.state_dict() if case != "foreign")


def test_steps_follow_each_other() -> None:
    model = narrow("se")
    folded(model, "layer2.1.se", 32)
    assert len(config_of(model).options["reduced"]) == 2
    again = model_from_config(config_of(model).to_dict())
    again.load_state_dict(model.state_dict())
    assert again.get_submodule("layer2.1").se is None


def test_training_begins_from_reduced_weights_of_other_classes(tmp_path: Path) -> None:
    model = narrow("se")
    senet.save_weights(model, tmp_path / "small.safetensors")
    recipe = ModelRecipe("se_preresnet20", weights=str(tmp_path / "small.safetensors"))
    begun = model_from_recipe(recipe, num_classes=7, in_channels=3)
    assert begun.get_submodule("layer1.0.conv1").get_parameter("weight").shape[0] == 8
    assert begun(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert torch.equal(begun.state_dict()["layer3.2.conv2.weight"], model.state_dict()["layer3.2.conv2.weight"])


def test_what_takes_a_block_s_place() -> None:
    assert isinstance(CASES["scaled"]().get_submodule("layer2.1.se"), ChannelScale)
    assert isinstance(CASES["foreign"]().get_submodule("blocks.0.0.se"), PassThrough)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"widths": {"layer9.conv1": [1, 1, 1]}}, "the network has no 'layer9.conv1'"),
        ({"widths": {"layer1.0.conv1": [16, 32, 1]}}, "a step that reduces it would make them"),
        ({"folded": [{"path": "layer1.7.se", "channels": 16, "scale": False}]}, "the network has no 'layer1.7.se'"),
        ({"widths": {"": [1, 1, 1]}}, "the network has no ''"),
        ({"widths": {"layer1": [1, 1, 1]}}, "is no layer whose widths are known"),
        ({"widths": {"layer1.0.conv1": [1, 1]}}, "expected a list of 3 values"),
        ({"widths": {"layer1.0.conv1": [-1, 1, 1]}}, "expected an integer from 0"),
        ({"narrowed": []}, "unknown field 'narrowed'"),
    ],
)
def test_steps_of_another_network_are_refused(step: dict[str, Any], message: str) -> None:
    config = config_of(senet.create_model("se_preresnet20")).to_dict()
    with pytest.raises(UsageError, match=message):
        model_from_config({"name": config["name"], "options": config["options"] | {"reduced": [step]}})


def test_a_path_is_looked_up_by_any_of_its_names() -> None:
    model = nn.Module()
    model.a = model.b = nn.ReLU()
    assert module_at(model, "b") is model.a
