"""Images and boxes move together, whatever is drawn; sizes are Detectron's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from senet.data.batch import Sample
from senet.data.boxes import Boxes, Outlines, box_areas
from senet.data.source import UnreadableImageError
from senet.data.transforms import normalise_pixels
from senet.data.views import Views
from senet.errors import UsageError
from senet.recipe import DataRecipe, DetectionRecipe
from senet.spec import InputSpec
from senet.tasks.detection.preparation import BoxPreparation, resized_size

SPEC = InputSpec(64, 64, 3, (0.0,) * 3, (1.0,) * 3)


def made(height: int, width: int, *corners: tuple[int, int, int, int], crowd: int = 0, outlined: bool = False) -> tuple[Image.Image, Boxes]:
    """Return a black image with a rectangle of its own colour for each box, and the boxes, of which the first are crowd."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for place, (left, top, right, bottom) in enumerate(corners):
        pixels[top:bottom, left:right, place] = 255
    xyxy = np.array(corners, np.float32).reshape(-1, 4)
    shapes = [[[left, top, right, top, right, bottom, left, bottom]] for left, top, right, bottom in corners]
    known = np.arange(len(corners))
    outlines = Outlines(tuple(shapes)) if outlined else None
    return Image.fromarray(pixels), Boxes(xyxy, known, known < crowd, box_areas(xyxy), 7, (height, width), outlines)


def seen_box(channel: torch.Tensor) -> list[int]:
    """Return the box around the pixels of at least half of a channel's highest value."""
    rows, columns = torch.where(channel >= channel.max() / 2)
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


@pytest.mark.parametrize("seed", range(24))
def test_boxes_and_outlines_lie_where_their_objects_are_after_every_augmentation(seed: int) -> None:
    image, boxes = made(67, 91, (3, 5, 30, 40), (50, 20, 90, 60), (33, 41, 49, 66), outlined=True)
    plan = DetectionRecipe(shorter_sides=(48, 67, 100), longest_side=120, crop_share=0.6, photometric=0.3, outlines=True)
    transform = BoxPreparation(plan).train_transform(DataRecipe(flip=True, jitter=3), SPEC)
    values, target = transform(image, boxes, np.random.default_rng(seed))
    assert (values.dtype, target["boxes"].dtype, target["labels"].dtype) == (torch.float32, torch.float32, torch.int64)
    assert target["masks"].shape == (len(target["labels"]), *values.shape[1:])
    assert len(target["labels"]) >= 2
    for box, label, mask in zip(target["boxes"], target["labels"], target["masks"], strict=True):
        others = [place for place in range(3) if place != label]
        own = (values[label] - values[others].amax(0)).clamp_min(0)
        assert (box - torch.tensor(seen_box(own))).abs().max() <= 1.01
        assert (box - torch.tensor(seen_box(mask))).abs().max() <= 0.501, "rounded to whole pixels"
        assert (box >= 0).all()
        assert box[2] <= values.shape[2]
        assert box[3] <= values.shape[1]


def test_outlines_of_no_object_are_resized_and_the_network_sees_them_where_the_boxes_are() -> None:
    preparation = BoxPreparation(DetectionRecipe(shorter_sides=(31,), longest_side=90, outlines=True))
    _, target = preparation.eval_transform(SPEC, Views())(*made(40, 60, outlined=True))
    assert target["masks"].shape == (0, 31, 47)
    _, target = preparation.eval_transform(SPEC, Views())(*made(40, 60, (3, 5, 30, 30), outlined=True))
    assert (target["boxes"][0] - torch.tensor(seen_box(target["masks"][0]))).abs().max() <= 0.501
    assert target["masks"].dtype == torch.uint8


def test_what_is_drawn_comes_from_the_generator_alone() -> None:
    image, boxes = made(40, 60, (3, 5, 30, 30))
    plan = DetectionRecipe(shorter_sides=(30, 40, 50), crop_share=0.5, photometric=0.3)
    transform = BoxPreparation(plan).train_transform(DataRecipe(flip=True, jitter=3), SPEC)
    torch.manual_seed(0)
    first = transform(image, boxes, np.random.default_rng(3))
    state = torch.get_rng_state()
    again = transform(image, boxes, np.random.default_rng(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1]["boxes"], again[1]["boxes"])
    seen = {transform(image, boxes, np.random.default_rng(seed))[0].shape for seed in range(20)}
    assert len(seen) > 5
    assert boxes.xyxy.tolist() == [[3, 5, 30, 30]]


def test_a_mirrored_image_has_mirrored_boxes() -> None:
    image, boxes = made(40, 60, (3, 5, 30, 30))
    transform = BoxPreparation(DetectionRecipe(shorter_sides=(40,))).train_transform(DataRecipe(flip=True), SPEC)
    found = {tuple(transform(image, boxes, np.random.default_rng(seed))[1]["boxes"][0].tolist()) for seed in range(12)}
    assert found == {(3, 5, 30, 30), (30, 5, 57, 30)}


def test_boxes_outside_a_crop_are_dropped_and_others_cut() -> None:
    image, boxes = made(60, 60, (0, 0, 12, 12), (10, 10, 50, 50), (56, 56, 60, 60))
    transform = BoxPreparation(DetectionRecipe(shorter_sides=(60,), crop_share=0.5)).train_transform(DataRecipe(), SPEC)
    labels = [transform(image, boxes, np.random.default_rng(seed))[1]["labels"].tolist() for seed in range(40)]
    assert all(1 in found for found in labels)
    assert {(0 in found, 2 in found) for found in labels} == {(True, True), (True, False), (False, True), (False, False)}


@pytest.mark.parametrize("seed", range(12))
def test_an_object_that_is_cut_has_the_box_of_what_is_left_of_its_outline(seed: int) -> None:
    """Of angles, whose outline fills less than their box where they are cut."""
    image, boxes = made(60, 80, (2, 2, 40, 40), (30, 25, 78, 58))
    shapes = tuple(
        [[left, top, right, top, right, top + 4, left + 4, top + 4, left + 4, bottom, left, bottom]]
        for left, top, right, bottom in boxes.xyxy.tolist()
    )
    plan = DetectionRecipe(shorter_sides=(60, 90), longest_side=200, crop_share=0.5, outlines=True)
    transform = BoxPreparation(plan).train_transform(DataRecipe(flip=True), SPEC)
    _, target = transform(image, replace(boxes, masks=Outlines(shapes)), np.random.default_rng(seed))
    whole = BoxPreparation(replace(plan, outlines=False)).train_transform(DataRecipe(flip=True), SPEC)
    _, plain = whole(image, boxes, np.random.default_rng(seed))
    assert set(target["labels"].tolist()) <= set(plain["labels"].tolist())
    assert len(target["labels"])
    for box, mask in zip(target["boxes"], target["masks"], strict=True):
        assert mask.any()
        assert (box - torch.tensor(seen_box(mask))).abs().max() <= 0.501


def test_crowd_is_not_learnt_and_an_image_may_be_empty() -> None:
    image, boxes = made(40, 60, (3, 5, 30, 30), (40, 5, 50, 30), crowd=1)
    preparation = BoxPreparation(DetectionRecipe(shorter_sides=(40,)))
    _, target = preparation.train_transform(DataRecipe(), SPEC)(image, boxes, np.random.default_rng(0))
    assert target["labels"].tolist() == [1]
    empty = made(40, 60)
    for found in (
        preparation.train_transform(DataRecipe(), SPEC)(*empty, np.random.default_rng(0)),
        preparation.eval_transform(SPEC, Views())(*empty),
    ):
        assert found[1]["boxes"].shape == (0, 4)
        assert found[1]["labels"].shape == (0,)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (500, 500), (333, 1000), (1000, 333), (1, 900), (427, 640), (37, 53)])
@pytest.mark.parametrize(("shorter", "longest"), [(800, 1333), (640, 1333), (32, 40)])
def test_sizes_are_those_of_detectron(size: tuple[int, int], shorter: int, longest: int) -> None:
    def resize_shortest_edge(oldh: int, oldw: int) -> tuple[int, int]:
        """Return what detectron2.data.transforms.ResizeShortestEdge.get_output_shape returns (Apache 2.0, Facebook)."""
        h, w = oldh, oldw
        scale = shorter * 1.0 / min(h, w)
        newh, neww = (shorter, scale * w) if h < w else (scale * h, shorter)
        if max(newh, neww) > longest:
            scale = longest * 1.0 / max(newh, neww)
            newh, neww = newh * scale, neww * scale
        return int(newh + 0.5), int(neww + 0.5)

    assert resized_size(*size, shorter, longest) == tuple(max(1, side) for side in resize_shortest_edge(*size))


def test_evaluation_sees_the_whole_image_and_knows_its_size() -> None:
    image, boxes = made(40, 60, (3, 5, 30, 30))
    values, target = BoxPreparation(DetectionRecipe(shorter_sides=(20, 80), longest_side=200)).eval_transform(SPEC, Views())(image, boxes)
    assert values.shape == (3, 80, 120)
    assert target["size"].tolist() == [40, 60]
    assert target["boxes"].tolist() == [[6, 10, 60, 60]]
    plain = BoxPreparation(DetectionRecipe(shorter_sides=(20,), eval_shorter_side=40)).eval_transform(SPEC, Views())
    values, target = plain(image, None)
    assert torch.equal(values, torch.from_numpy(normalise_pixels(image, SPEC)))
    assert target.keys() == {"size"}


def test_images_keep_their_sizes_in_a_batch() -> None:
    preparation = BoxPreparation(DetectionRecipe(shorter_sides=(32,)))
    transform = preparation.eval_transform(SPEC, Views())
    samples = [Sample(*transform(*made(*size)), [], place) for place, size in enumerate(((40, 60), (60, 40)))]
    batch = preparation.collate([samples[0], Sample(None, None, ["broken"]), samples[1]])
    assert [tuple(image.shape) for image in batch.images] == [(3, 32, 48), (3, 48, 32)]
    assert (batch.corrupt, batch.indices) == (["broken"], [0, 1])
    moved = batch.to(torch.device("meta"))
    assert {image.device.type for image in moved.images} == {target["boxes"].device.type for target in moved.targets} == {"meta"}


def test_what_cannot_be_prepared_is_said() -> None:
    preparation = BoxPreparation(DetectionRecipe(shorter_sides=(32,)))
    image, boxes = made(40, 60, (3, 5, 30, 30))
    with pytest.raises(UsageError, match=r"data\.rotation 5\.0 does not move boxes"):
        preparation.train_transform(DataRecipe(rotation=5.0), SPEC)
    with pytest.raises(UsageError, match="boxes are found in whole images"):
        preparation.eval_transform(SPEC, Views("ten"))
    with pytest.raises(UnreadableImageError, match="the image has 30 x 20 pixels, and its boxes are for 60 x 40"):
        preparation.eval_transform(SPEC, Views())(image.resize((30, 20)), boxes)
    with pytest.raises(UsageError, match=r"detection\.outlines is true, and nothing says the outlines"):
        BoxPreparation(DetectionRecipe(outlines=True)).eval_transform(SPEC, Views())(image, boxes)
    with pytest.raises(UsageError, match="no arrays or volumes"):
        preparation.eval_transform(SPEC, Views())(np.zeros((40, 60, 4), np.float32), None)


def test_images_of_other_modes_are_seen_in_the_networks_channels() -> None:
    transform = BoxPreparation(DetectionRecipe(shorter_sides=(80,))).eval_transform(SPEC, Views())
    grey = made(40, 60, (3, 5, 30, 30))[0].convert("L")
    assert torch.equal(transform(grey, None)[0], transform(grey.convert("RGB"), None)[0])
    palette = made(40, 60, (3, 5, 30, 30))[0].convert("P")
    assert torch.equal(transform(palette, None)[0], transform(palette.convert("RGB"), None)[0])
