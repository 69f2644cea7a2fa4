"""Encoder, bottleneck and decoder: blocks in the parts that are named, in networks of other libraries and in recipes."""

from pathlib import Path

import pytest
import torch

import senet
from foreign.segmenters import SEGMENTERS, made
from senet.cli.main import main
from senet.errors import UsageError
from senet.models.create import model_from_recipe
from senet.recipe import load_recipe

BOTTLENECKS = {
    "nnU-Net": ["encoder.stages.2.0"],
    "nnU-Net, 3-D, anisotropic, deep supervision": ["encoder.stages.2.0"],
    "nnU-Net, residual": ["encoder.stages.2.blocks.0.conv2", "encoder.stages.2.blocks.1.conv2"],
    "MONAI UNet": ["model.1.submodule.1.submodule.adn.A"],
    "MONAI UNet, residual": ["model.1.submodule.1.submodule.conv.unit1.adn.A"],
    "MONAI BasicUNet": ["down_4.convs.conv_1.adn.A"],
    "MONAI DynUNet": ["bottleneck"],
    "MONAI SegResNet": ["down_layers.2.1.conv2.conv"],
    "smp Unet": ["encoder.layer4.0.bn2", "encoder.layer4.1.bn2"],
}

NETWORK = """
import sys
sys.path.insert(0, TESTS)
from foreign.segmenters import nnunet


def build(in_channels=3):
    return nnunet(input_channels=in_channels)()
"""


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_parts_are_told_apart(name: str) -> None:
    model, images = made(name), torch.randn(SEGMENTERS[name].sizes[0])
    every = [site.path for site in senet.find_sites(model, "scse", example_input=images)]
    bottleneck = [site.path for site in senet.find_sites(model, "scse", example_input=images, parts=("bottleneck",))]
    others = [site.path for site in senet.find_sites(model, "scse", example_input=images, parts=("encoder", "decoder"))]
    assert bottleneck == BOTTLENECKS[name]
    assert others == [path for path in every if path not in bottleneck]


def test_a_block_between_encoder_and_decoder_starts_as_the_identity_and_is_undone() -> None:
    model, images = made("nnU-Net"), torch.randn(SEGMENTERS["nnU-Net"].sizes[0])
    with torch.no_grad():
        before = model(images)
        plan = senet.insert(model, "scse", init="identity", parts=("encoder", "bottleneck", "decoder"))
        assert [site.kind for site in plan] == ["encoder", "encoder", "bottleneck", "decoder", "decoder"]
        assert torch.equal(model(images), before)
        again = made("nnU-Net")
        assert senet.insert(again, senet.InsertPlan.from_json(plan.to_json())) == plan
        again.load_state_dict(model.state_dict())
        assert torch.equal(again(images), before)
        senet.remove(model)
        assert torch.equal(model(images), before)


def test_recipes_name_parts(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(f"TESTS = {str(Path(__file__).parents[1])!r}\n{NETWORK}")
    changes = {"model.name": f"{file}:build", "model.block": "scse", "model.options": {"parts": ["bottleneck"]}}
    model = model_from_recipe(load_recipe("segmentation", changes | {"data.root": "."}).model, num_classes=3, in_channels=1)
    assert [path for path, module in model.named_modules() if isinstance(module, senet.ChannelSpatialSE)] == ["encoder.stages.2.0.se"]


def test_the_command_names_parts(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "net.py").write_text(f"TESTS = {str(Path(__file__).parents[1])!r}\n{NETWORK}")
    assert main(["insert", f"{tmp_path / 'net.py'}:build", "--block", "scse", "--parts", "encoder,decoder", "--dry-run"]) == 0
    assert "4 blocks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ("encoder", "parts are some of"),
        ((), "parts are some of"),
        (("middle",), "unknown parts 'middle'"),
        (["encoder", "decoders"], "unknown parts 'decoders'"),
    ],
)
def test_wrong_parts(parts: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        senet.find_sites(made("nnU-Net"), "scse", parts=parts)  # pyright: ignore[reportArgumentType]


def test_a_classifier_has_no_parts() -> None:
    with pytest.raises(UsageError, match="no encoder and decoder"):
        senet.find_sites(senet.create_model("cifar_resnet20"), "se", parts=("encoder",))


def test_modules_that_are_named_have_no_parts() -> None:
    with pytest.raises(UsageError, match="leave out parts"):
        senet.find_sites(made("nnU-Net"), "se", at=r"encoder\.stages\.0", parts=("encoder",))
