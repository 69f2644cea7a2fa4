"""Inserted networks in the training loop, and a trained network that goes on with blocks only."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

import senet
from senet.data.source import open_data
from senet.recipe import DataRecipe, build_recipe
from senet.results.run_folder import RunFolder
from senet.weights.store import read_metadata

OWN = Path(__file__).with_name("networks.py")


def recipe(name: str, **model: object):
    return build_recipe(
        {
            "name": "foreign",
            "model": {"name": name, "block": "se", **model},
            "data": {"name": "digits", "image_size": 8, "batch_size": 256},
            "training": {"epochs": 1},
        }
    )


@pytest.mark.parametrize(
    ("name", "model"),
    [("torchvision/resnet18", {"placement": "identity", "stages": (3,)}), (f"{OWN}:Shared", {})],
    ids=["torchvision", "file"],
)
def test_recipes_train_inserted_networks(name: str, model: dict[str, object], tmp_path: Path) -> None:
    result = senet.train(recipe(name, **model), out=tmp_path, progress=False)
    weights = RunFolder(result.folder).weights
    plans = read_metadata(weights).model["options"]["inserted"]
    assert [plan["init"] for plan in plans] == ["paper"]
    again = senet.from_pretrained(weights)
    assert any(isinstance(module, senet.ChannelSE) for module in again.modules())
    measured = senet.evaluate([again], DataRecipe(name="digits", image_size=8))
    assert measured.metrics["top1"] == pytest.approx(result.metrics["top1"])


def test_a_trained_network_goes_on_with_blocks_only_and_comes_back() -> None:
    torch.manual_seed(0)
    pretrained = torchvision.models.resnet18(num_classes=10)
    model = torchvision.models.resnet18(num_classes=10)
    model.load_state_dict(pretrained.state_dict())
    images, labels = digits()
    pretrained.eval()
    plan = senet.insert(model.eval(), senet.BlockSpec("se", reduction=4), init="identity")
    with torch.no_grad():
        torch.testing.assert_close(model(images), pretrained(images))

    model.train()
    senet.freeze_host(model)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]

    plain = torchvision.models.resnet18(num_classes=10).eval()
    plain.load_state_dict(senet.rename_keys(model.state_dict(), plan, to="plain"))
    with torch.no_grad():
        torch.testing.assert_close(plain(images), pretrained(images), rtol=0, atol=0)
    senet.remove(model)
    assert not any(isinstance(module, senet.ChannelSE | senet.Gated) for module in model.modules())
    assert isinstance(model, nn.Module)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return 64 digits as (N, 3, 32, 32) in -1..1, and their labels."""
    source = open_data(DataRecipe(name="digits"))
    pixels = [torchvision.transforms.functional.pil_to_tensor(source.train.read(i).convert("RGB").resize((32, 32))) for i in range(64)]
    return torch.stack(pixels) / 127.5 - 1, torch.from_numpy(source.train.targets[:64])
