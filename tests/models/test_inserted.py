"""Networks of recipes that begin from trained weights, and blocks that are inserted into them afterwards."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import senet
from senet.blocks.kinds import is_block
from senet.errors import UsageError
from senet.models import libraries
from senet.models.create import as_begun, config_of, model_from_config, model_from_recipe
from senet.recipe import ModelRecipe
from senet.weights.loaded import fingerprint_of_file, loaded_into

NETWORKS: dict[str, dict[str, Any]] = {
    "preresnet20": {},
    "resnet18": {"options": {"v1_5": True}},
    "unet": {"options": {"width": 4}, "block": "scse"},
    "unet with an encoder": {"name": "unet", "options": {"encoder": "resnet18", "widths": [4, 4, 4, 4, 4]}, "block": "sse"},
    "timm/resnet10t": {},
    "torchvision/mobilenet_v3_small": {"options": {"existing": "add"}},
    "cmpe": {"name": "cifar_resnet20", "block": "cmpe_se"},
}


def built(recipe: ModelRecipe, classes: int = 3, channels: int = 3, device: str | None = None, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return model_from_recipe(recipe, num_classes=classes, in_channels=channels, device=device)


def blocks_of(model: nn.Module) -> int:
    return sum(map(is_block, model.modules()))


@pytest.mark.parametrize("case", NETWORKS)
def test_blocks_that_begin_as_the_identity_leave_trained_outputs_as_they_are(case: str, tmp_path: Path) -> None:
    fields = {"name": case, "block": "se"} | NETWORKS[case]
    options = {name: value for name, value in fields.get("options", {}).items() if name != "existing"}
    plain = ModelRecipe(**fields | {"block": None, "options": options})
    trained = built(plain, seed=1)
    senet.save_weights(trained, tmp_path / "plain.safetensors")
    recipe = ModelRecipe(**fields, weights=str(tmp_path / "plain.safetensors"), init="identity")
    model = built(recipe).eval()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(model(images), trained.eval()(images))
    assert blocks_of(model) > 0
    outline = built(recipe, device="meta")
    assert {name: tuple(value.shape) for name, value in outline.state_dict().items()} == {
        name: tuple(value.shape) for name, value in model.state_dict().items()
    }
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    again = model_from_config(config_of(model).to_dict())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(images), model(images))


def test_blocks_have_the_options_that_the_network_itself_would_give_them() -> None:
    own = built(ModelRecipe("unet", "scse", options={"width": 4}))
    inserted = built(ModelRecipe("unet", "scse", options={"width": 4}, init="paper"))
    ratios = [[module.cse.hidden for module in model.modules() if type(module).__name__ == "ChannelSpatialSE"] for model in (own, inserted)]
    assert ratios[0] == ratios[1]
    assert ratios[0]


def test_a_start_of_blocks_is_nothing_to_a_plain_network() -> None:
    plain, told = (built(ModelRecipe("preresnet20", init=init)) for init in (None, "identity"))
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), told.parameters(), strict=True))


def test_weights_of_the_paper_start_do_change_outputs(tmp_path: Path) -> None:
    trained = built(ModelRecipe("preresnet20"))
    senet.save_weights(trained, tmp_path / "plain.safetensors")
    model = built(ModelRecipe("se_preresnet20", weights=str(tmp_path / "plain.safetensors"), init="paper"))
    images = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(model.eval()(images), trained.eval()(images), rtol=1e-2)
    assert all(
        torch.equal(value, trained.state_dict()["stem.weight"]) for name, value in model.state_dict().items() if name == "stem.weight"
    )


def test_other_classes_and_channels_leave_the_head_fresh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "plain.safetensors"
    trained = built(ModelRecipe("preresnet20"), classes=5)
    senet.save_weights(trained, path)
    model = built(ModelRecipe("preresnet20", "se", weights=str(path), init="identity"), classes=2, channels=1)
    loaded = loaded_into(model)
    assert loaded is not None
    assert loaded.fresh == ("fc.weight", "fc.bias")
    assert loaded.fingerprint == fingerprint_of_file(path)
    assert "the head is new, for 2 classes" in caplog.text
    assert "spread from 3 to 1 channels" in caplog.text


def test_a_network_is_built_as_a_release_needs_it_and_again_without_the_file(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    path = tmp_path / "resnet50-0676ba61.pth"
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), path)
    recipe = ModelRecipe("resnet50", "se", stages=(5,), weights=str(path), init="identity")
    model = built(recipe, classes=1000)
    loaded = loaded_into(model)
    assert loaded is not None
    assert loaded.options["v1_5"] is True
    path.unlink()
    again = built(as_begun(recipe, loaded.to_dict()["options"]), classes=1000)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert config_of(again).options["v1_5"] is True


def test_weights_that_lack_blocks_say_how_to_put_them_in(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    senet.save_weights(built(ModelRecipe("preresnet20")), path)
    with pytest.raises(UsageError, match=r"model\.init identity"):
        built(ModelRecipe("preresnet20", "se", weights=str(path)))
    with pytest.raises(UsageError, match=r"model\.init identity"):
        built(ModelRecipe("preresnet20", "se", weights=str(path)), device="meta")


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.safetensors"):
        built(ModelRecipe("preresnet20", weights=str(tmp_path / "none.safetensors")), device="meta")
    with pytest.raises(UsageError, match="weights is given twice"):
        ModelRecipe(weights="a.pth", options={"weights": "b.pth"})
    with pytest.raises(UsageError, match="tanh"):
        built(ModelRecipe("preresnet20", senet.BlockSpec("se", gate="tanh"), init="identity"))


def test_a_trained_detector_is_built_again_with_the_stages_frozen_that_were(tmp_path: Path) -> None:
    small = {"backbone": "resnet18", "fpn_channels": 8, "head_width": 8}
    path = tmp_path / "plain.safetensors"
    senet.save_weights(built(ModelRecipe("faster_rcnn", options=small | {"frozen_stages": 2, "frozen_bn": True})), path)
    recipe = ModelRecipe("faster_rcnn", options=small, weights=str(path))
    model = built(recipe)
    loaded = loaded_into(model)
    assert loaded is not None
    again = built(as_begun(recipe, loaded.to_dict()["options"]))
    assert config_of(again) == config_of(model)
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in model.parameters()]


DETECTORS: dict[str, dict[str, Any]] = {
    "faster_rcnn": {"fpn_channels": 8, "head_width": 8, "proposals_test": 20},
    "faster_rcnn c4": {"neck": "c4", "proposals_test": 20},
    "mask_rcnn": {"fpn_channels": 8, "head_width": 8, "mask_width": 8, "proposals_test": 20},
    "retinanet": {"fpn_channels": 8},
}


@pytest.mark.parametrize("case", DETECTORS)
def test_detections_of_a_trained_detector_stay_as_they_are(case: str, tmp_path: Path) -> None:
    options = {"backbone": "cifar_resnet20", "score_threshold": 0.0, "anchor_scale": 2.0} | DETECTORS[case]
    plain = built(ModelRecipe(case.partition(" ")[0], options=options), seed=1)
    senet.save_weights(plain, tmp_path / "plain.safetensors")
    recipe = ModelRecipe(case.partition(" ")[0], "se", options=options, weights=str(tmp_path / "plain.safetensors"), init="identity")
    model, outline = built(recipe), built(recipe, device="meta")
    images = [torch.rand(3, 33, 47), torch.rand(3, 40, 32)]
    with torch.no_grad():
        before, after = plain.eval()(images), model.eval()(images)
    assert all(torch.equal(one[key], other[key]) for one, other in zip(before, after, strict=True) for key in one)
    assert len(before[0]["boxes"]) > 0
    assert blocks_of(model) == blocks_of(built(ModelRecipe(recipe.name, "se", options=options)))
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes == {name: tuple(value.shape) for name, value in outline.state_dict().items()}
    again = model_from_config(config_of(model).to_dict())
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        found = again.eval()(images)
    assert all(torch.equal(one[key], other[key]) for one, other in zip(found, after, strict=True) for key in one)
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in model.parameters()]


def test_weights_with_inserted_blocks_begin_the_same_network_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "arm.safetensors"
    recipe = ModelRecipe("preresnet20", "se", init="identity")
    arm = built(recipe, seed=1)
    senet.save_weights(arm, path)
    again = built(replace(recipe, weights=str(path)))
    assert all(torch.equal(one, other) for one, other in zip(arm.parameters(), again.parameters(), strict=True))
    assert config_of(again) == config_of(arm)
    built(replace(recipe, weights=str(path)), device="meta")
    how = r"inserted se blocks begun as identity at 9 sites.* --model\.block se --model\.init identity"
    for other, message in (
        (ModelRecipe("preresnet20", weights=str(path)), how),
        (ModelRecipe("se_preresnet20", weights=str(path)), r"--model\.init identity"),
        (ModelRecipe("preresnet20", "sse", weights=str(path), init="identity"), "other ones are asked for: inserted sse blocks"),
        (ModelRecipe("preresnet20", "se", weights=str(path), init="paper"), "inserted se blocks begun as paper"),
        (ModelRecipe("preresnet20", "se", stages=(2,), weights=str(path), init="identity"), "at 3 sites"),
    ):
        with pytest.raises(UsageError, match=message):
            built(other)


def rebuilt(recipe: ModelRecipe) -> tuple[nn.Module, nn.Module]:
    """Return the network that a run begins with, and the one that it goes on with, by what its folder says of the weights."""
    model = built(recipe)
    loaded = loaded_into(model)
    assert loaded is not None
    return model, built(as_begun(recipe, loaded.to_dict()["options"]), seed=1)


def assert_goes_on(model: nn.Module, again: nn.Module) -> None:
    """Assert that two networks are the same but for their numbers: tensors, what trains, and what comes out of equal numbers."""
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in model.parameters()]
    again.load_state_dict(model.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert str(again.eval()(images)) == str(model.eval()(images))


PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("encoder_weights", {"encoder": "se_preresnet20", "widths": [4, 4, 4]}),
    "faster_rcnn": ("backbone_weights", {"backbone": "se_preresnet20", "fpn_channels": 8, "head_width": 8, "proposals_test": 10}),
    "se_retinanet": ("backbone_weights", {"backbone": "preresnet20", "fpn_channels": 8}),
}


@pytest.mark.parametrize("name", PARTS)
def test_weights_of_a_part_are_read_once_and_told_from_others(name: str, tmp_path: Path) -> None:
    option, options = PARTS[name]
    path = tmp_path / "part.safetensors"
    senet.save_weights(built(ModelRecipe("se_preresnet20"), classes=7), path)
    recipe = ModelRecipe(name, options=options | {option: str(path)})
    loaded = loaded_into(built(recipe))
    assert loaded is not None
    assert (loaded.source, loaded.fingerprint) == (str(path), fingerprint_of_file(path))
    assert recipe.trained == str(path)
    model = built(recipe)
    path.unlink()
    assert_goes_on(model, built(as_begun(recipe, loaded.to_dict()["options"]), seed=1))


def test_weights_of_a_library_are_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = dict(libraries.LIBRARIES)
    asked: list[object] = []

    def trained(name: str, num_classes: int | None, in_channels: int, options: dict[str, object]) -> nn.Module:
        asked.append(options.get("pretrained"))
        return made["timm"](name, num_classes, in_channels, {key: value for key, value in options.items() if key != "pretrained"})

    monkeypatch.setitem(libraries.LIBRARIES, "timm", trained)
    model, again = rebuilt(ModelRecipe("timm/resnet10t", "se", options={"pretrained": True}))
    assert asked == [True, None]
    assert_goes_on(model, again)
