"""Weights that libraries have for their own networks, by name; what they would fetch is made here instead."""

import pytest
import torch
from torch import nn

from senet.errors import UsageError
from senet.models import libraries
from senet.models.create import model_from_recipe
from senet.models.library_weights import LibraryWeights
from senet.recipe import ModelRecipe
from senet.weights.loaded import loaded_into

timm = pytest.importorskip("timm")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Return a list that notes which trained networks timm and torchvision are asked for; they come with the weights of seed 7."""
    asked: list[tuple[str, object]] = []

    def trained(library: str, name: str, num_classes: int | None, in_channels: int, options: dict[str, object]) -> nn.Module:
        own = dict(options)
        asked.append((name, own.pop("pretrained", None)))
        with torch.random.fork_rng():
            torch.manual_seed(7 if asked[-1][1] else 8)
            return made[library](name, num_classes, in_channels, own)

    made = dict(libraries.LIBRARIES)
    for library in made:
        monkeypatch.setitem(libraries.LIBRARIES, library, lambda *given, library=library: trained(library, *given))
    return asked


@pytest.mark.parametrize(
    ("network", "weights", "wanted"),
    [
        ("timm/resnet10t", "timm/resnet10t.c3_in1k", ("resnet10t.c3_in1k", True)),
        ("timm/resnet10t", "timm/resnet10t", ("resnet10t", True)),
        ("torchvision/resnet18", "torchvision/resnet18", ("resnet18", True)),
        ("torchvision/resnet18", "torchvision/resnet18.IMAGENET1K_V1", ("resnet18", "IMAGENET1K_V1")),
    ],
)
def test_a_library_is_asked_for_the_weights_of_that_name(network, weights, wanted, asked, caplog):
    recipe = ModelRecipe(network, "se", weights=weights, init="identity")
    outline = model_from_recipe(recipe, num_classes=5, in_channels=3, device="meta")
    assert not any(pretrained for _, pretrained in asked), "an outline fetches nothing"
    model = model_from_recipe(recipe, num_classes=5, in_channels=3)
    assert asked[-1] == wanted
    assert outline.state_dict().keys() == model.state_dict().keys()
    loaded = loaded_into(model)
    assert loaded is not None
    assert (loaded.source, loaded.fresh) == (weights, ("fc.weight", "fc.bias"))
    assert "the head is new, for 5 classes" in caplog.text
    full = loaded_into(model_from_recipe(recipe, num_classes=1000, in_channels=3))
    assert full is not None
    assert full.fresh == ()
    assert full.fingerprint != loaded.fingerprint
    again = loaded_into(model_from_recipe(recipe, num_classes=5, in_channels=3))
    assert again is not None
    assert again.fingerprint == loaded.fingerprint


def test_weights_of_another_network_are_refused_and_files_are_files(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="are weights for timm/resnet50, and the network is timm/resnet10t"):
        LibraryWeights.parse("timm/resnet10t", "timm/resnet50.a1_in1k")
    assert LibraryWeights.parse("resnet50", "timm/resnet50") is None
    assert LibraryWeights.parse("timm/resnet10t", None) is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "resnet10t").write_bytes(b"")
    assert LibraryWeights.parse("timm/resnet10t", "timm/resnet10t") is None
