"""Detectors against torchvision's own, with the same weights: detections, losses and every gradient."""

import re
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import detection, resnet50
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.retinanet import _default_anchorgen
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from senet import backend, create_model

SIZES = {"faster_rcnn": detection.fasterrcnn_resnet50_fpn, "mask_rcnn": detection.maskrcnn_resnet50_fpn}
SMALL = {"faster_rcnn": detection.FasterRCNN, "mask_rcnn": detection.MaskRCNN}
PARAMETERS = {"faster_rcnn": 41_808_406, "mask_rcnn": 44_454_513}
"""Of torchvision's networks for COCO with trainable batch norms: 90 classes and the background."""

WIDTH = 32
"""Of the head of the small networks."""

AS_TORCHVISION: dict[str, Any] = {"backbone_options": {"v1_5": True, "stem_pool": "pad"}}
SHORT: dict[str, Any] = {
    "backbone": "resnet18",
    "backbone_options": {"stem_pool": "pad"},
    "head_width": WIDTH,
    "regions": 32,
    "detections_per_image": 12,
}
SHORT |= {"proposals_train": 100, "proposals_test": 50}


def batch() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return two images of odd sizes, one of them without objects."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(3, 75, 101, generator=generator), torch.randn(3, 64, 90, generator=generator)]
    boxes = [torch.tensor([[3.0, 4.0, 50.0, 60.0], [40.0, 20.0, 90.5, 70.0]]), torch.zeros(0, 4)]
    labels = [torch.tensor([1, 2]), torch.zeros(0, dtype=torch.long)]
    masks = [torch.zeros(len(b), *image.shape[1:], dtype=torch.uint8) for b, image in zip(boxes, images, strict=True)]
    masks[0][0, 10:50, 10:40] = 1
    masks[0][1, 25:60, 45:80] = 1
    return images, [{"boxes": b, "labels": c, "masks": m} for b, c, m in zip(boxes, labels, masks, strict=True)]


class Untouched(GeneralizedRCNNTransform):
    """torchvision's preparation without its normalisation and resizing."""

    def normalize(self, image: Tensor) -> Tensor:
        """Return the image."""
        return image

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        """Return image and target."""
        return image, target


def pair(name: str) -> tuple[Any, Any]:
    """Return torchvision's network and ours with its weights, both small."""
    torch.manual_seed(1)
    trunk = resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d, trainable_layers=5)
    head, predictor = TwoMLPHead(256 * 7**2, WIDTH), FastRCNNPredictor(WIDTH, 4)
    of_rpn = {f"rpn_{when}_nms_top_n_{mode}": count for mode, count in (("train", 100), ("test", 50)) for when in ("pre", "post")}
    masks = {"mask_head": MaskRCNNHeads(256, (8,) * 4, 1), "mask_predictor": MaskRCNNPredictor(8, 8, 4)} if name == "mask_rcnn" else {}
    theirs = SMALL[name](
        trunk, box_head=head, box_predictor=predictor, box_batch_size_per_image=32, box_detections_per_img=12, **of_rpn, **masks
    )
    width: dict[str, Any] = {"mask_width": 8} if masks else {}
    ours: Any = create_model(name, num_classes=3, **SHORT, **width)
    norms: list[Any] = [module for module in theirs.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in norms:
        torch.nn.init.uniform_(module.weight, 0.3, 0.7)
        torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    theirs.roi_heads.box_predictor.cls_score.weight.data *= 20  # scores that differ
    ours.load_state_dict(theirs.state_dict())
    theirs.transform = Untouched(800, 1333, [0.0], [1.0])
    return theirs, ours


@pytest.mark.parametrize("name", SMALL)
def test_equals_torchvision_bit_for_bit(name: str) -> None:
    theirs, ours = pair(name)
    images, targets = batch()
    shifted = [{**target, "labels": target["labels"] + 1} for target in targets]
    with torch.no_grad(), backend("reference"):
        expected, found = theirs.eval()(images), ours.eval()(images)
    for a, b in zip(expected, found, strict=True):
        assert len(a["boxes"]) > 10
        assert torch.equal(a["boxes"], b["boxes"])
        assert torch.equal(a["scores"], b["scores"])
        assert torch.equal(a["labels"] - 1, b["labels"])
        if "masks" in a:
            assert torch.equal(a["masks"][:, 0], b["masks"])
    torch.manual_seed(3)
    expected = theirs.train()(images, shifted)
    torch.manual_seed(3)
    with backend("reference"):
        losses = ours.train()(images, targets)
    assert {name: loss.item() for name, loss in expected.items()} == {name: loss.item() for name, loss in losses.items()}
    torch.stack(list(expected.values())).sum().backward()
    torch.stack(list(losses.values())).sum().backward()
    gradients = {key: p.grad for key, p in theirs.named_parameters()}
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    for key, parameter in ours.named_parameters():
        assert torch.equal(parameter.grad, gradients[key]), key


class LastStage(nn.Module):
    """torchvision's last stage as the head of every region; its map for masks, the mean over it for boxes."""

    def __init__(self, stage: nn.Module, *, mean: bool) -> None:
        super().__init__()
        self.stage, self.mean = stage, mean

    def forward(self, regions: Tensor) -> Tensor:
        found = self.stage(regions)
        return found.mean((2, 3)) if self.mean else found


def c4_pair(name: str, network: str) -> tuple[Any, Any, dict[str, str]]:
    """Return torchvision's generic detector around its ResNet up to layer3, ours with its weights, and our names of theirs."""
    torch.manual_seed(1)
    trunk: Any = models.get_model(network, weights=None)
    body: Any = nn.Sequential(
        OrderedDict((part, module) for part, module in trunk.named_children() if part not in ("layer4", "avgpool", "fc"))
    )
    outputs, last = trunk.fc.in_features, trunk.layer4
    body.out_channels = outputs // 2
    of_rpn = {f"rpn_pre_nms_top_n_{mode}": 6 * count for mode, count in (("train", 30), ("test", 12))}
    of_rpn |= {"rpn_post_nms_top_n_train": 30, "rpn_post_nms_top_n_test": 12}
    pool = MultiScaleRoIAlign(["0"], 14, 2)
    masks = {"mask_roi_pool": pool, "mask_head": LastStage(last, mean=False), "mask_predictor": MaskRCNNPredictor(outputs, 8, 4)}
    theirs: Any = SMALL[name](
        body,
        rpn_anchor_generator=AnchorGenerator(((32, 64, 128, 256, 512),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=pool,
        box_head=LastStage(last, mean=True),
        box_predictor=FastRCNNPredictor(outputs, 4),
        box_batch_size_per_image=8,
        box_detections_per_img=6,
        **of_rpn,
        **(masks if name == "mask_rcnn" else {}),
    )
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 0.7)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    theirs.roi_heads.box_predictor.cls_score.weight.data *= 20
    theirs.transform = Untouched(800, 1333, [0.0], [1.0])
    options: dict[str, Any] = {"backbone": network, "backbone_options": {"stem_pool": "pad"}, "neck": "c4", "num_classes": 3}
    options["backbone_options"] |= {"v1_5": True} if network == "resnet50" else {}
    options |= {"regions": 8, "detections_per_image": 6, "proposals_train": 30, "proposals_test": 12}
    ours: Any = create_model(name, **options, **({"mask_width": 8} if name == "mask_rcnn" else {}))
    names = {}
    for key in theirs.state_dict():
        own = re.sub(r"^roi_heads\.(box|mask)_head\.stage\.", "backbone.body.layer4.", key)
        names[key] = own if own.startswith(("rpn", "roi_heads", "backbone.body")) else own.replace("backbone.", "backbone.body.", 1)
    ours.load_state_dict({names[key]: tensor for key, tensor in theirs.state_dict().items()})
    return theirs, ours, names


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("faster_rcnn", "resnet18"),
        ("mask_rcnn", "resnet18"),
        pytest.param("faster_rcnn", "resnet50", marks=pytest.mark.slow),
        pytest.param("mask_rcnn", "resnet50", marks=pytest.mark.slow),
    ],
)
def test_c4_equals_torchvisions_generic_detector_bit_for_bit(name: str, network: str) -> None:
    theirs, ours, names = c4_pair(name, network)
    images, targets = batch()
    shifted = [{**target, "labels": target["labels"] + 1} for target in targets]
    with torch.no_grad(), backend("reference"):
        expected, found = theirs.eval()(images), ours.eval()(images)
    for a, b in zip(expected, found, strict=True):
        assert len(a["boxes"]) > 3
        assert torch.equal(a["boxes"], b["boxes"])
        assert torch.equal(a["scores"], b["scores"])
        assert torch.equal(a["labels"] - 1, b["labels"])
        assert "masks" not in a or torch.equal(a["masks"][:, 0], b["masks"])
    torch.manual_seed(3)
    expected = theirs.train()(images, shifted)
    torch.manual_seed(3)
    with backend("reference"):
        losses = ours.train()(images, targets)
    assert {name: loss.item() for name, loss in expected.items()} == {name: loss.item() for name, loss in losses.items()}
    torch.stack(list(expected.values())).sum().backward()
    torch.stack(list(losses.values())).sum().backward()
    gradients = {names[key]: p.grad for key, p in theirs.named_parameters()}
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    for key, parameter in ours.named_parameters():
        assert torch.equal(parameter.grad, gradients[key]), key


@pytest.mark.parametrize("name", SIZES)
def test_parameters_are_those_of_torchvision(name: str) -> None:
    ours = create_model(name, num_classes=90, device="meta", **AS_TORCHVISION)
    theirs = SIZES[name]
    with torch.device("meta"):
        expected = theirs(weights=None, weights_backbone=None, num_classes=91)
    assert sum(p.numel() for p in ours.parameters()) == PARAMETERS[name]
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in expected.state_dict().items()}


def test_retinanet_equals_torchvision_bit_for_bit() -> None:
    torch.manual_seed(1)
    extra = LastLevelP6P7(256, 256)
    trunk = resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=torch.nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=extra,
    )
    theirs: Any = detection.RetinaNet(trunk, num_classes=3, anchor_generator=_default_anchorgen(), score_thresh=0.02)
    theirs.transform = Untouched(800, 1333, [0.0], [1.0])
    theirs.head.classification_head.cls_logits.weight.data *= 20
    options: dict[str, Any] = {"backbone_options": {"stem_pool": "pad"}, "score_threshold": 0.02}
    ours: Any = create_model("retinanet", num_classes=3, backbone="resnet18", **options)
    ours.load_state_dict({key if key.startswith("backbone") else f"dense.{key}": value for key, value in theirs.state_dict().items()})
    images, targets = batch()
    with torch.no_grad(), backend("reference"):
        expected, found = theirs.eval()(images), ours.eval()(images)
    assert all(torch.equal(a[key], b[key]) for a, b in zip(expected, found, strict=True) for key in a)
    assert all(len(one["boxes"]) > 10 for one in found)
    with backend("reference"):
        losses = ours.train()(images, targets)
    expected = theirs.train()(images, targets)
    assert {name: loss.item() for name, loss in expected.items()} == {name: loss.item() for name, loss in losses.items()}
    torch.stack(list(expected.values())).sum().backward()
    torch.stack(list(losses.values())).sum().backward()
    own = {key.removeprefix("dense."): p.grad for key, p in ours.named_parameters()}
    assert all(torch.equal(p.grad, own[key]) for key, p in theirs.named_parameters())


def test_the_backbone_is_torchvisions_too() -> None:
    with torch.device("meta"):
        names = {name for name in resnet50().state_dict() if not name.startswith("fc.")}
    ours = create_model("faster_rcnn", device="meta")
    assert names == {k.removeprefix("backbone.body.") for k in ours.state_dict() if k.startswith("backbone.body.")}
