"""Detectors against torchvision's own, with the same weights: detections, losses and every gradient."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import detection, resnet50
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform

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


@pytest.mark.parametrize("name", SIZES)
def test_parameters_are_those_of_torchvision(name: str) -> None:
    ours = create_model(name, num_classes=90, device="meta", **AS_TORCHVISION)
    theirs = SIZES[name]
    with torch.device("meta"):
        expected = theirs(weights=None, weights_backbone=None, num_classes=91)
    assert sum(p.numel() for p in ours.parameters()) == PARAMETERS[name]
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in expected.state_dict().items()}


def test_the_backbone_is_torchvisions_too() -> None:
    with torch.device("meta"):
        names = {name for name in resnet50().state_dict() if not name.startswith("fc.")}
    ours = create_model("faster_rcnn", device="meta")
    assert names == {k.removeprefix("backbone.body.") for k in ours.state_dict() if k.startswith("backbone.body.")}
