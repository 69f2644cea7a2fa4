"""Trained networks of torchvision get layers for other classes, and only those; what would be fetched is drawn here instead."""

from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum

from foreign.detectors import DETECTORS, images, targets
from senet import create_model

QUICK = ("fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large")


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trained networks keep the weights that they are drawn with."""
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: {})
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("name", [*DETECTORS, "fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "squeezenet1_1"])
def test_shapes_are_those_of_a_network_for_these_classes(name: str) -> None:
    with torch.device("meta"):
        auxiliary = {"aux_loss": True} if "fcn" in name or "deeplab" in name else {}
        untrained = {"weights_backbone": None} if name != "squeezenet1_1" else {}
        wanted = shapes(models.get_model(name, weights=None, num_classes=4, **untrained, **auxiliary))
        assert shapes(create_model(f"torchvision/{name}", pretrained=True, num_classes=4)) == wanted


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in DETECTORS])
def test_a_trained_detector_learns_other_classes(name: str) -> None:
    torch.manual_seed(0)
    model: Any = create_model(f"torchvision/{name}", pretrained=True, num_classes=4, **DETECTORS[name].options)
    wanted = targets(name)
    wanted[0]["labels"] = torch.tensor([1, 3])
    losses = model.train()(images(), wanted)
    assert all(loss.isfinite() for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    trained = {path for path, weight in model.named_parameters() if weight.requires_grad and weight.grad is None}
    assert trained == set()
    with torch.no_grad():
        assert len(model.eval()(images())) == 2


def test_all_but_the_new_layers_stays() -> None:
    name = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"
    kept: list[dict[str, torch.Tensor]] = []
    for classes in (None, 4):
        torch.manual_seed(0)
        kept.append(create_model(name, pretrained=True, num_classes=classes).state_dict())
    changed = {path for path, tensor in kept[0].items() if tensor.shape != kept[1][path].shape or not torch.equal(tensor, kept[1][path])}
    predictor = "roi_heads.box_predictor"
    assert changed == {f"{predictor}.{layer}.{kind}" for layer in ("cls_score", "bbox_pred") for kind in ("weight", "bias")}
