"""U-Nets around another network by a recipe: trained, resumed, counted, exported, inserted into and compared as any other network."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import senet
from made_runs import assert_same_run, train_until
from senet.cli.main import main
from senet.comparison import compare, measure
from senet.models.create import from_pretrained
from senet.recipe import Recipe
from senet.results.run_folder import RunFolder
from senet.training.batchnorm import freeze_batchnorm
from tasks.segmentation.made_masks import tiny_masks

ENCODERS: dict[str, dict[str, Any]] = {
    "se_cifar_resnet20": {"encoder": "se_cifar_resnet20", "encoder_options": {"reduction": 4}, "widths": [8, 4]},
    "timm/resnet10t": {"encoder": "timm/resnet10t", "widths": [8, 8, 4, 4, 4]},
}
"""Encoder -> options of the network."""


def recipe_of(encoder: str, **changes: Any) -> Recipe:
    recipe = tiny_masks(**{"training__epochs": 2} | changes)
    return replace(recipe, model=replace(recipe.model, options=ENCODERS[encoder]))


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> str:
    return request.param


def test_runs_are_resumed_and_their_weights_are_read_counted_and_inserted_into(
    encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    recipe, run = recipe_of(encoder, training__freeze_bn_epochs=1), RunFolder(tmp_path / "run")
    senet.train(recipe, folder=tmp_path / "whole", progress=False)

    train_until(2, recipe, run.path)
    senet.train(resume=run.path, progress=False)
    assert_same_run(run.path, tmp_path / "whole")

    model: Any = from_pretrained(run.weights)
    assert model.config.options["encoder"] == encoder
    assert sum(isinstance(module, senet.ChannelSpatialSE) for module in model.modules()) == len(ENCODERS[encoder]["widths"])
    assert senet.evaluate(run.path, recipe.data).metrics["dice"] == pytest.approx(run.result().metrics["dice"], abs=1e-9)

    capsys.readouterr()
    assert main(["profile", str(run.path), "--input-size", "32", "--no-latency", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["params"] == sum(parameter.numel() for parameter in model.parameters())
    assert told["plain"]["params"] < told["params"]

    x = torch.randn(1, 1, 33, 38)
    with torch.no_grad():
        before = model.eval()(x)
        plan = senet.insert(model, "sse", init="identity", existing="add")
        assert len(plan) > 0
        torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_exported_files_take_images_of_any_size(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    senet.train(recipe_of("se_cifar_resnet20", training__epochs=1), folder=tmp_path / "run", progress=False)
    capsys.readouterr()
    assert main(["export", str(tmp_path / "run"), "--to", str(tmp_path / f"file{suffix}"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["free"] == ["batch", "height", "width"]
    assert max(check["error"] for check in told["checks"]) < 1e-5
    assert told["checks"][-1]["shape"] == [3, 1, 33, 56]


def test_trained_encoders_come_by_a_recipe_and_their_first_kernels_are_spread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    trained = senet.create_model("se_cifar_resnet20", num_classes=10, reduction=4)
    senet.save_weights(trained, tmp_path / "encoder.safetensors")
    recipe = recipe_of("se_cifar_resnet20", optim__lr=1e-9, training__epochs=1)
    options = recipe.model.options | {"encoder_weights": str(tmp_path / "encoder.safetensors")}
    recipe = replace(recipe, model=replace(recipe.model, options=options))
    with caplog.at_level(logging.INFO, "senet"):
        senet.train(recipe, folder=tmp_path / "run", progress=False)
    assert "first kernel" in caplog.text or "channels" in caplog.text
    model: Any = from_pretrained(RunFolder(tmp_path / "run").weights)
    (ours,) = [module.weight for name, module in model.named_modules() if name.startswith("encoder") and name.endswith("conv1")][:1]
    assert ours.shape[1] == 1
    torch.testing.assert_close(ours.sum(1), trained.get_submodule("conv1").get_parameter("weight").sum(1), rtol=1e-4, atol=1e-5)
    assert "encoder_weights" not in model.config.options


def test_encoders_are_varied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    recipe = recipe_of("se_cifar_resnet20", training__epochs=1)
    options = {name: value for name, value in recipe.model.options.items() if name != "encoder_options"}
    recipe = replace(recipe, model=replace(recipe.model, options=options))
    result = compare(
        recipe, vary={"model.options.encoder": ["cifar_resnet20", "se_cifar_resnet20"]}, seeds=1, out=tmp_path, report=False, progress=False
    )
    plain, recalibrated = result.variants
    assert [variant.label for variant in result.variants] == ["encoder cifar_resnet20", "encoder se_cifar_resnet20"]
    assert recalibrated.cost.params > plain.cost.params


def test_gradients_pass_through_an_encoder_whose_batch_normalisation_stands_still(encoder: str) -> None:
    torch.manual_seed(0)
    model: nn.Module = senet.create_model("scse_unet", num_classes=2, **ENCODERS[encoder]).double().train()
    for name, tensor in model.named_buffers():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if name.endswith("var") else tensor.normal_(0, 0.3)
    freeze_batchnorm(model)
    kept = {name: tensor.clone() for name, tensor in model.named_buffers()}
    x, weight = torch.randn(2, 3, 33, 38, dtype=torch.float64), torch.randn(2, 2, 33, 38, dtype=torch.float64)
    parameters = [parameter for parameter in model.get_submodule("encoder").parameters() if parameter.requires_grad]

    def loss() -> torch.Tensor:
        return (model(x) * weight).sum()

    gradients = torch.autograd.grad(loss(), parameters)
    directions = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    step, found = 1e-7, []
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += sign * step * direction
            found.append(loss())
    torch.testing.assert_close((found[0] - found[1]) / (2 * step), slope, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.named_buffers())
