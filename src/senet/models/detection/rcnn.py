"""Faster R-CNN (Ren et al., 1506.01497) and Mask R-CNN (He et al., 1703.06870): torchvision's, on a backbone of this package."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from senet.models.detection.backbone import DetectionBackbone, make_body
from senet.models.detection.detector import Detections, Detector, check_number
from senet.models.detection.exact_boxes import compute_boxes_exactly
from senet.models.detection.freezing import Freezing
from senet.models.detection.necks import feature_pyramid, region_pool
from senet.models.unit_blocks import UnitBlocks
from senet.spec import check_positive

VARIANTS = {"faster_rcnn": False}
"""Name -> whether it finds masks."""

MASK_VARIANTS = {"mask_rcnn": True}
"""As `VARIANTS`."""

RATIOS = (0.5, 1.0, 2.0)
"""Height over width of the anchors."""

POSITIVE_SHARE = 0.25
"""Largest share of the sampled regions that lies on objects."""

C4_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Sides of the anchors of a single map, as shares of the middle one."""


class RCNN(Detector):
    """Detector of two stages: a network proposes regions, and a head says of each region what it shows and where exactly.

    With neck "fpn" the regions are pooled from a feature pyramid and classified by two linear layers. With "c4" they are pooled from the
    map before the backbone's last stage, which is then the head that every region goes through, as in the "basic" Faster R-CNN of the
    ResNet paper (1512.03385, appendix A) and of the first version of the SE paper.

    Recalibration is that of the backbone, and stages are the backbone's. The network has torchvision's layers, defaults, initialisation and
    state-dict names.

    Args:
        masks: whether it finds masks beside the boxes.
        num_classes: classes of objects; the background is one more, inside.
        in_channels: channels of the images.
        blocks: which unit of the backbone gets which block.
        backbone: a classifier of the zoo.
        backbone_options: options of that network.
        neck: "fpn" or "c4".
        fpn_channels: channels of the pyramid's maps; "c4" has none.
        head_width: width of the two linear layers of the head; "c4" has none.
        mask_width: channels of the convolutions of the mask head.
        frozen_stages: see `Freezing`, as the next two.
        frozen_bn: whether the backbone's batch norms stand still.
        frozen_blocks: whether the recalibration blocks of frozen stages do.
        anchor_scale: side of an anchor in cells of its map; 8 = 32 pixels at stride 4. A single map has halves, quarters, doubles too.
        proposals_train: regions that are proposed of an image in training.
        proposals_test: regions that are proposed of an image in evaluation.
        regions: regions of an image that are sampled for the loss of the head.
        score_threshold: detections with a lower score are left out.
        nms_threshold: intersection over union from which the lower of two boxes of a class is left out.
        detections_per_image: the best that are kept.

    Raises:
        UsageError: for an unknown backbone or neck, a stage that is not there, a count below 1, or a number that is out of range; where
            torchvision is not installed.
    """

    head = "roi_heads.box_predictor.cls_score"
    background = 1
    """Outputs of the head beside those of the classes."""

    def __init__(
        self,
        masks: bool,
        num_classes: int,
        in_channels: int,
        blocks: UnitBlocks,
        *,
        backbone: str = "resnet50",
        backbone_options: Mapping[str, Any] | None = None,
        neck: str = "fpn",
        fpn_channels: int = 256,
        head_width: int = 1024,
        mask_width: int = 256,
        frozen_stages: int = 0,
        frozen_bn: bool = False,
        frozen_blocks: bool = False,
        anchor_scale: float = 8.0,
        proposals_train: int = 2000,
        proposals_test: int = 1000,
        regions: int = 512,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        detections_per_image: int = 100,
    ) -> None:
        super().__init__()
        counts = {"fpn_channels": fpn_channels, "head_width": head_width, "mask_width": mask_width, "regions": regions}
        counts |= {"proposals_train": proposals_train, "proposals_test": proposals_test, "detections_per_image": detections_per_image}
        self.counts = {name: check_positive(name, count) for name, count in counts.items()}
        self.masks, self.classes, self.anchor_scale = masks, num_classes, check_number("anchor_scale", anchor_scale, above_zero=True)
        least, overlap = check_number("score_threshold", score_threshold, 1), check_number("nms_threshold", nms_threshold, 1)
        self.thresholds = {"box_score_thresh": least, "box_nms_thresh": overlap}
        body = make_body(backbone, in_channels, blocks, backbone_options or {})
        self.freezing = Freezing(frozen_stages, frozen_bn, frozen_blocks)
        self.backbone = DetectionBackbone(body, neck, feature_pyramid, channels=fpn_channels)
        self.feature_info = self.backbone.feature_info
        self.class_layers = ("roi_heads.box_predictor", *(["roi_heads.mask_predictor.mask_fcn_logits"] if masks else []))
        for path, module in self.parts(num_classes).items():
            self.set_submodule(path, module)
        self.freeze()

    def parts(self, num_classes: int) -> dict[str, nn.Module]:
        """Make the pyramid, what proposes regions, and the heads, with fresh weights."""
        from torchvision.models.detection import faster_rcnn, mask_rcnn
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.models.detection.roi_heads import RoIHeads
        from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

        backbone, counts, width = self.backbone, self.counts, self.counts["head_width"]
        is_c4 = backbone.fpn is None
        before_nms = 6 if is_c4 else 1  # of each level: as in Detectron
        channels = backbone.feature_info[0]["channels"]
        scales = C4_SCALES if is_c4 else (1.0,)
        sizes = tuple(tuple(self.anchor_scale * info["stride"] * scale for scale in scales) for info in backbone.feature_info)
        anchors = AnchorGenerator(sizes, (RATIOS,) * len(sizes))
        kept = {"training": counts["proposals_train"], "testing": counts["proposals_test"]}
        looked_at = {mode: before_nms * count for mode, count in kept.items()}
        rpn_head = RPNHead(channels, anchors.num_anchors_per_location()[0])
        rpn = RegionProposalNetwork(anchors, rpn_head, 0.7, 0.3, 256, 0.5, looked_at, kept, 0.7)
        outputs = backbone.body.feature_info[-1]["channels"]
        pool = region_pool(backbone.strides, 14 if is_c4 else 7)
        head: Any = self.pooled_stage if is_c4 else faster_rcnn.TwoMLPHead(channels * 7**2, width)
        predictor = faster_rcnn.FastRCNNPredictor(outputs if is_c4 else width, num_classes + 1)
        exact: list[nn.Module] = [rpn_head, predictor]
        limits = (self.thresholds["box_score_thresh"], self.thresholds["box_nms_thresh"], counts["detections_per_image"])
        heads = RoIHeads(pool, head, predictor, 0.5, 0.5, counts["regions"], POSITIVE_SHARE, None, *limits)
        if self.masks:
            wide = self.counts["mask_width"]
            mask_head: Any = backbone.last_stage if is_c4 else mask_rcnn.MaskRCNNHeads(channels, (wide,) * 4, 1)
            heads.mask_roi_pool = region_pool(backbone.strides, 14)
            heads.mask_head = mask_head
            mask_predictor = mask_rcnn.MaskRCNNPredictor(outputs if is_c4 else wide, wide, num_classes + 1)
            heads.mask_predictor = mask_predictor
            exact.append(mask_predictor)
        compute_boxes_exactly(anchors, *exact)
        pyramid = {} if is_c4 else {"backbone.fpn": feature_pyramid(backbone.inputs, counts["fpn_channels"])}
        return {**pyramid, "rpn": rpn, "roi_heads": heads}

    def pooled_stage(self, regions: Tensor) -> Tensor:
        """Map regions (K, C, 14, 14) through the backbone's last stage to (K, channels)."""
        return self.backbone.last_stage(regions).mean((2, 3))

    @property
    def counted_for(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - constant elsewhere
        """What the costs of the heads are counted for."""
        (regions, outlined), (sampled, learned) = (self._most_regions(training=training) for training in (False, True))
        words = (f", of masks {outlined}", f", of masks {learned}") if self.masks else ("", "")
        return f"MACs of heads are for {regions} regions an image{words[0]}, memory for {sampled}{words[1]}; ms for what is in noise."

    def _most_regions(self, *, training: bool) -> tuple[int, int]:
        """Return the most regions of an image that the head of boxes and that of masks get."""
        if training:
            return self.counts["regions"], int(POSITIVE_SHARE * self.counts["regions"])
        return self.counts["proposals_test"], self.counts["detections_per_image"]

    def head_pass(self, maps: list[Tensor]) -> list[Tensor]:
        """Pass the maps through what proposes regions, and the most regions through the heads; return what all of them say."""
        anchors, offsets = self.rpn.head(maps)
        heads = self.roi_heads
        boxes, masks = self._most_regions(training=self.training)
        said = [*anchors, *offsets, *heads.box_predictor(heads.box_head(_pooled(maps[0], boxes, heads.box_roi_pool)))]
        if self.masks:
            said.append(heads.mask_predictor(heads.mask_head(_pooled(maps[0], masks, heads.mask_roi_pool))))
        return said

    def losses(self, images: Any, maps: Mapping[str, Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses of proposals (objectness, boxes) and of heads (classes, boxes, masks)."""
        shifted = [{**target, "labels": target["labels"] + 1} for target in targets]  # 0 is the background
        with self._mode(training=True):
            proposals, losses = self.rpn(images, maps, shifted)
            _, of_heads = self.roi_heads(maps, proposals, images.image_sizes, shifted)
        return {**of_heads, **losses}

    def detections(self, images: Any, maps: Mapping[str, Tensor]) -> Detections:
        """Return boxes, scores, labels from 0, and masks as probabilities of every pixel."""
        from torchvision.models.detection.roi_heads import paste_masks_in_image

        with self._mode(training=False):
            proposals, _ = self.rpn(images, maps)
            found, _ = self.roi_heads(maps, proposals, images.image_sizes)
        for one, size in zip(found, images.image_sizes, strict=True):
            one["labels"] = one["labels"] - 1
            if self.masks:
                one["masks"] = paste_masks_in_image(one["masks"], one["boxes"], size)[:, 0]
        return found

    @contextmanager
    def _mode(self, *, training: bool) -> Iterator[None]:
        """Let torchvision's heads, which ask their own flags, compute losses or detections."""
        parts: list[nn.Module] = [self.rpn, self.roi_heads]
        before = [part.training for part in parts]
        try:
            for part in parts:
                part.training = training
            yield
        finally:
            for part, flag in zip(parts, before, strict=True):
                part.training = flag

    rpn: Any
    roi_heads: Any


def _pooled(features: Tensor, regions: int, pool: Any) -> Tensor:
    """Return zeros in place of so many pooled regions of each image of a map."""
    return features.new_zeros(len(features) * regions, features.shape[1], *pool.output_size)
