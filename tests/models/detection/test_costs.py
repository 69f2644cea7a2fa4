"""What detectors cost: against formulas written down here, and against the passes that real images and boxes go through."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import senet
from senet import create_model
from senet.measuring.attribution import growth_by_part, record_readings
from senet.measuring.parts import unit_paths
from senet.measuring.saved import SavedBytes
from senet.ops.backend import backend

SMALL: dict[str, Any] = {"num_classes": 3, "backbone": "resnet18", "fpn_channels": 8, "frozen_stages": 0, "frozen_bn": False}
REGIONS: dict[str, Any] = {"head_width": 16, "regions": 8, "proposals_train": 30, "proposals_test": 10, "detections_per_image": 5}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "faster_rcnn": ("se_faster_rcnn", SMALL | REGIONS),
    "faster_rcnn c4": ("se_faster_rcnn", SMALL | REGIONS | {"neck": "c4"}),
    "mask_rcnn": ("se_mask_rcnn", SMALL | REGIONS | {"mask_width": 8, "score_threshold": 0.0}),
    "mask_rcnn c4": ("se_mask_rcnn", SMALL | REGIONS | {"mask_width": 8, "score_threshold": 0.0, "neck": "c4"}),
    "retinanet": ("se_retinanet", SMALL),
}
SIDES = (96, 160)
WIDTHS, STRIDES = (64, 128, 256, 512), (4, 8, 16, 32)


def create(form: str, **options: Any) -> Any:
    name, own = FORMS[form]
    torch.manual_seed(0)
    return create_model(name, **(own | options))


def cells(stride: int) -> int:
    """Return how many cells a map has."""
    height, width = (-(-side // stride) for side in SIDES)
    return height * width


def parts(model: nn.Module, prefix: str) -> int:
    """Return the MACs of the parts whose path begins so."""
    profile = senet.profile(model, (2, 3, *SIDES), latency=False)
    return sum(row.cost.macs for row in profile.blocks if row.path.startswith(prefix))


def test_faster_rcnn_counts_as_on_paper() -> None:
    model = create("faster_rcnn", device="meta")
    profile = senet.profile(model, (1, 3, *SIDES), latency=False)
    classifier = senet.profile(create_model("se_resnet18", num_classes=1, device="meta"), (1, 3, *SIDES), latency=False)
    pyramid = sum(cells(stride) * (width * 8 + 9 * 8 * 8) for width, stride in zip(WIDTHS, STRIDES, strict=True))
    proposing = sum(cells(stride) * (9 * 8 * 8 + 8 * 3 + 8 * 12) for stride in (*STRIDES, 64))
    head = 10 * (8 * 49 * 16 + 16 * 16 + 16 * 4 + 16 * 16)
    assert profile.macs == classifier.macs - 512 + pyramid + proposing + head
    assert profile.params == sum(p.numel() for p in model.parameters())
    assert profile.latency is None
    assert "10 regions an image, memory for 8" in profile.counted_for
    assert profile.to_dict()["counted_for"] == profile.counted_for
    assert profile.plain is not None
    assert profile.macs - profile.plain.macs == profile.share.macs == classifier.share.macs


def test_the_last_stage_is_counted_for_every_region_of_c4() -> None:
    model = create("faster_rcnn c4", device="meta")
    unit = 7 * 7 * 9 * 512
    block = 2 * 512 * 32 + 512 * 7 * 7
    assert parts(model, "backbone.body.layer4") == 10 * (unit * (256 + 512 + 512 + 512) + 7 * 7 * 256 * 512 + 2 * block)
    assert parts(model, "rpn") == cells(16) * (9 * 256 * 256 + 256 * 15 + 256 * 60)


def test_masks_are_counted_for_the_most_detections() -> None:
    model = create("mask_rcnn", device="meta")
    per_mask = 14 * 14 * 4 * 9 * 8 * 8 + 28 * 28 * (8 * 8 + 8 * 4)  # a cell of 28 x 28 has one tap of the 2x2 kernel
    assert parts(model, "roi_heads.mask") == 5 * per_mask
    assert "of masks 5, memory for 8, of masks 2" in model.counted_for


def test_retinanet_counts_its_head_on_every_map() -> None:
    model = create("retinanet", device="meta")
    assert parts(model, "dense") == sum(cells(stride) * (2 * 4 * 9 * 8 * 8 + 9 * 8 * 9 * (3 + 4)) for stride in (8, 16, 32, 64, 128))
    assert model.counted_for == ""


def batch() -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Return two images with boxes."""
    images = torch.randn(2, 3, *SIDES, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[3.0, 4.0, 50.0, 60.0], [60.0, 10.0, 150.0, 90.0]])
    target = {"boxes": boxes, "labels": torch.tensor([0, 2]), "masks": torch.ones(2, *SIDES, dtype=torch.uint8)}
    return images, [target, target]


def called(model: nn.Module, run: Any) -> set[str]:
    """Return the layers with parameters that a pass calls."""
    names: set[str] = set()
    layers = [(path, module) for path, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))]
    handles = [module.register_forward_hook(lambda *_, path=path: names.add(path)) for path, module in layers]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return names


@pytest.mark.parametrize("form", FORMS)
def test_the_pass_that_is_counted_calls_all_layers(form: str) -> None:
    model = create(form).eval()
    images, _ = batch()
    assert called(model, lambda: model.nominal_pass(images)) == called(model, lambda: model(images))


@pytest.mark.parametrize("form", FORMS)
def test_memory_is_that_of_a_step_with_boxes(form: str) -> None:
    """Layer by layer; where fewer regions lie on objects than may, masks take less."""
    model = create(form).train()
    profile = senet.profile(model, (2, 3, *SIDES), latency=False)
    images, targets = batch()
    with backend("reference"), SavedBytes((*model.parameters(), *model.buffers())) as saved:
        kept: list[Any] = []
        readings = record_readings(lambda: kept.append(model(images, targets)), model, unit_paths(model), lambda: saved.total)
    real = growth_by_part(readings)
    layers = {row.path: 2 * row.cost.activation_bytes for row in profile.blocks if row.cost.params and "mask" not in row.path}
    assert {path: real[path] for path in layers} == layers
