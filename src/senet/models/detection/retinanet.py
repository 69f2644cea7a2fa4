"""RetinaNet (Lin et al., 1708.02002): torchvision's, on a backbone of this package."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from senet.models.detection.backbone import DetectionBackbone, make_body
from senet.models.detection.detector import Detections, Detector, check_number
from senet.models.detection.exact_boxes import compute_boxes_exactly
from senet.models.detection.freezing import Freezing
from senet.models.detection.necks import extended_pyramid
from senet.models.detection.rcnn import RATIOS
from senet.models.unit_blocks import UnitBlocks
from senet.spec import check_positive

DENSE_VARIANTS = {"retinanet": None}
"""Names of detectors of one stage; there is nothing that distinguishes them."""

OCTAVES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
"""Sides of the anchors of a map, as multiples of the smallest."""


class RetinaNet(Detector):
    """Detector of one stage: a head says of every anchor of a feature pyramid what it shows and where exactly, by the focal loss.

    The pyramid joins the maps of strides 8 to 32 and adds two of strides 64 and 128. Recalibration is that of the backbone, and stages are
    the backbone's. Layers, defaults and initialisation are torchvision's, state-dict names too but for the head, which is below `dense.`.

    Args:
        variant: None.
        num_classes: classes of objects; there is no background.
        in_channels: channels of the images.
        blocks: which unit of the backbone gets which block.
        backbone: a classifier of the zoo.
        backbone_options: options of that network.
        fpn_channels: channels of the pyramid's maps, and of the head's.
        frozen_stages: see `Freezing`, as the next two.
        frozen_bn: whether the backbone's batch norms stand still.
        frozen_blocks: whether the recalibration blocks of frozen stages do.
        anchor_scale: side of the smallest anchor in cells of its map; 4 = 32 pixels at stride 8.
        score_threshold: detections with a lower score are left out.
        nms_threshold: intersection over union from which the lower of two boxes of a class is left out.
        detections_per_image: the best that are kept.

    Raises:
        UsageError: for an unknown backbone, a stage that is not there, a count below 1, or a number that is out of range; where
            torchvision is not installed.
    """

    head = "dense.head.classification_head.cls_logits"
    class_layers = (head,)
    dense: Any

    def __init__(
        self,
        variant: None,
        num_classes: int,
        in_channels: int,
        blocks: UnitBlocks,
        *,
        backbone: str = "resnet50",
        backbone_options: Mapping[str, Any] | None = None,
        fpn_channels: int = 256,
        frozen_stages: int = 0,
        frozen_bn: bool = False,
        frozen_blocks: bool = False,
        anchor_scale: float = 4.0,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        detections_per_image: int = 300,
    ) -> None:
        super().__init__()
        self.classes, self.anchor_scale = num_classes, check_number("anchor_scale", anchor_scale, above_zero=True)
        check_positive("fpn_channels", fpn_channels)
        kept = check_positive("detections_per_image", detections_per_image)
        least, overlap = check_number("score_threshold", score_threshold, 1), check_number("nms_threshold", nms_threshold, 1)
        self.limits = {"score_thresh": least, "nms_thresh": overlap, "detections_per_img": kept}
        body = make_body(backbone, in_channels, blocks, backbone_options or {})
        self.freezing = Freezing(frozen_stages, frozen_bn, frozen_blocks)
        self.backbone = DetectionBackbone(body, "fpn", extended_pyramid, channels=fpn_channels, extra_levels=2, finest=8)
        self.feature_info = self.backbone.feature_info
        for path, module in self.parts(num_classes).items():
            self.set_submodule(path, module)
        self.freeze()

    def parts(self, num_classes: int) -> dict[str, nn.Module]:
        """Make the pyramid, and the head with its anchors, with fresh weights."""
        from torchvision.models.detection import retinanet
        from torchvision.models.detection.anchor_utils import AnchorGenerator

        info = self.backbone.feature_info
        channels = info[0]["channels"]
        sizes = tuple(tuple(int(self.anchor_scale * one["stride"] * octave) for octave in OCTAVES) for one in info)
        elsewhere: Any = nn.Identity()  # the backbone stands beside
        elsewhere.out_channels = channels
        anchors = AnchorGenerator(sizes, (RATIOS,) * len(sizes))
        dense = retinanet.RetinaNet(elsewhere, num_classes, anchor_generator=anchors, **self.limits)
        compute_boxes_exactly(anchors, dense.head)
        return {"backbone.fpn": extended_pyramid(self.backbone.inputs, channels), "dense": dense}

    def replace_head(self, num_classes: int) -> None:
        """Put a new layer for `num_classes` classes where the last one of the head is."""
        super().replace_head(num_classes)
        self.dense.head.classification_head.num_classes = num_classes

    def head_pass(self, maps: list[Tensor]) -> list[Tensor]:
        """Pass the maps through the head; return what it says of every anchor."""
        return list(self.dense.head(maps).values())

    def losses(self, images: Any, maps: Mapping[str, Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses of classes and of boxes."""
        outputs, anchors = self._outputs(images, maps)
        return self.dense.compute_loss(targets, outputs, anchors)

    def detections(self, images: Any, maps: Mapping[str, Tensor]) -> Detections:
        """Return boxes, scores and labels from 0."""
        outputs, anchors = self._outputs(images, maps)
        cells = [tensor.shape[2] * tensor.shape[3] for tensor in maps.values()]
        counts = [count * (anchors[0].shape[0] // sum(cells)) for count in cells]
        levels = {name: list(output.split(counts, 1)) for name, output in outputs.items()}
        return self.dense.postprocess_detections(levels, [list(one.split(counts)) for one in anchors], images.image_sizes)

    def _outputs(self, images: Any, maps: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return what the head says of every anchor, and of every image its anchors (A, 4)."""
        levels = list(maps.values())
        return self.dense.head(levels), self.dense.anchor_generator(images, levels)
