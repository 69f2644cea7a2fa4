"""torchvision's trained detectors in ours: detections, other classes, and what a recipe makes of them."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import detection, get_model_weights, resnet50
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d

from senet import backend, create_model, load_weights
from senet.errors import UsageError
from senet.models.create import config_of
from senet.weights.loaded import loaded_into
from senet.weights.source import Source

COCO = 91
"""Numbers of classes of COCO, with the background."""


def as_published() -> Any:
    """Return torchvision's Faster R-CNN as its weights for COCO have it: frozen norms that add nothing to variances."""
    torch.manual_seed(0)
    body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    model = detection.FasterRCNN(_resnet_fpn_extractor(body, 3), COCO, min_size=64, max_size=96, box_score_thresh=0.0)
    model.transform.image_mean, model.transform.image_std = [0.0] * 3, [1.0] * 3
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0
            torch.nn.init.uniform_(module.weight, 0.3, 0.7)
            torch.nn.init.uniform_(module.running_var, 1e-4, 1.5)
    model.roi_heads.box_predictor.cls_score.weight.data *= 20
    return model.eval()


@pytest.fixture(scope="module")
def theirs() -> Any:
    return as_published()


def test_detections_are_torchvisions(theirs: Any) -> None:
    ours: Any = create_model("faster_rcnn", num_classes=COCO - 1, weights=theirs.state_dict(), score_threshold=0.0).eval()
    options = config_of(ours).options
    assert (options["frozen_stages"], options["frozen_bn"]) == (2, True)
    assert options["backbone_options"] == {"v1_5": True, "stem_pool": "pad"}
    image = torch.rand(3, 64, 96)
    with torch.no_grad(), backend("reference"):
        (expected,), (found,) = theirs([image]), ours([image])
    assert len(found["boxes"]) > 5
    assert torch.equal(found["labels"], expected["labels"] - 1)
    torch.testing.assert_close(found["boxes"], expected["boxes"], atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(found["scores"], expected["scores"], atol=1e-4, rtol=1e-3)


def test_heads_for_other_classes_are_new_and_said(theirs: Any, caplog: pytest.LogCaptureFixture) -> None:
    state: dict[str, Tensor] = theirs.state_dict()
    model: Any = create_model("faster_rcnn", num_classes=3, weights=state)
    loaded = loaded_into(model)
    assert loaded is not None
    assert loaded.fresh == tuple(
        f"roi_heads.box_predictor.{name}" for name in ("cls_score.weight", "cls_score.bias", "bbox_pred.weight", "bbox_pred.bias")
    )
    assert "the head is new, for 3 classes" in caplog.text
    assert model.roi_heads.box_predictor.bbox_pred.out_features == 4 * 4
    assert torch.equal(model.roi_heads.box_head.fc6.weight, state["roi_heads.box_head.fc6.weight"])
    trained = create_model("faster_rcnn", num_classes=5, backbone="cifar_resnet20", fpn_channels=8, head_width=8)
    other = create_model("faster_rcnn", num_classes=2, backbone="cifar_resnet20", fpn_channels=8, head_width=8)
    with pytest.raises(UsageError, match="4 of another shape"):
        load_weights(other, trained.state_dict())
    report = load_weights(other, trained.state_dict(), new_head=True)
    assert len(report.fresh) == 4


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn"])
def test_a_name_means_the_published_file(name: str) -> None:
    release = Source.parse(f"torchvision/{name}").release
    assert release is not None
    assert release.url == get_model_weights(name)["COCO_V1"].url


def test_a_detector_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="fasterrcnn_resnet50_fpn"):
        Source.parse("torchvision/fasterrcnn_resnet50_fpn_v2")
