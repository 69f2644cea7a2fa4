"""Predicted boxes as numbers, as COCO's results, as a picture."""

import numpy as np
import pytest
from PIL import Image

from senet.data.boxes import Outlines
from senet.data.coco.shapes import mask_shape
from senet.tasks.detection.prediction import PredictedBoxes, class_colours, draw_box


def boxes(**changes) -> PredictedBoxes:
    values = {
        "xyxy": np.array([[2, 4, 22, 34], [30, 10, 60, 40], [5, 5, 9.25, 12]], np.float32),
        "labels": np.array([1, 0, 1]),
        "scores": np.array([0.9, 0.6, 0.2], np.float32),
        "classes": ("cell", "platelet"),
        "size": (48, 64),
    }
    return PredictedBoxes(**(values | changes))


def test_all_objects_are_data_and_sure_ones_a_sentence():
    assert str(boxes()) == "1 platelet  1 cell"
    assert str(boxes(shown_score=0.95)) == "nothing of a score of 0.95 or more"
    assert boxes().to_dict() == {
        "height": 48,
        "width": 64,
        "boxes": [[2, 4, 22, 34], [30, 10, 60, 40], [5, 5, 9.25, 12]],
        "labels": ["platelet", "cell", "platelet"],
        "scores": [pytest.approx(score, abs=1e-5) for score in (0.9, 0.6, 0.2)],
    }


def test_results_are_cocos():
    assert boxes().coco_results(12, [7, 9])[0] == {"image_id": 12, "category_id": 9, "bbox": [2, 4, 20, 30], "score": 0.9}
    assert [one["category_id"] for one in boxes().coco_results(12, [7, 9])] == [9, 7, 9]


def test_sure_objects_are_drawn_in_the_colour_of_their_class_and_others_are_not():
    image = Image.new("L", (64, 48))
    drawn = np.asarray(boxes().draw(image))
    cell, platelet = class_colours(2)
    assert drawn.shape == (48, 64, 3)
    assert tuple(drawn[33, 12]) == platelet
    assert tuple(drawn[39, 45]) == cell
    assert tuple(drawn[20, 12]) == (0, 0, 0)
    assert not np.asarray(image).any()
    nothing = np.asarray(boxes(shown_score=0.95).draw(image))
    assert not nothing.any()


def test_outlines_are_data_and_drawn() -> None:
    masks = np.zeros((3, 48, 64), bool)
    masks[0, 6:30, 4:20] = masks[1, 15:35, 35:55] = masks[2, 5:12, 5:9] = True
    outlines = Outlines(tuple(map(mask_shape, masks)))
    found = boxes(outlines=outlines)
    assert found.to_dict()["segmentations"] == list(outlines.shapes)
    rows = found.coco_results(12, [7, 9])
    assert [row["segmentation"] for row in rows] == list(outlines.shapes)
    assert rows[0]["bbox"] == [2, 4, 20, 30]
    assert "segmentation" not in boxes().coco_results(12, [7, 9])[0]
    drawn = np.asarray(found.draw(Image.new("L", (64, 48), 100))).astype(float)
    cell, platelet = (np.array(colour) for colour in class_colours(2))
    assert (drawn[20, 4] == platelet).all(), "its edge"
    assert drawn[20, 12] == pytest.approx(60 + 0.4 * platelet, abs=0.5), "its inside"
    assert drawn[30, 45] == pytest.approx(60 + 0.4 * cell, abs=0.5)
    assert (drawn[34, 45] == cell).all()
    assert (drawn[44:, :30] == 100).all(), "outside of all"
    assert not (np.asarray(boxes(outlines=outlines, shown_score=0.95).draw(Image.new("L", (64, 48)))) > 0).any()


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (58, 44, 64, 48), (-4, -4, 70, 60), (10, 2, 10, 2)])
def test_a_label_lies_inside_the_image(box):
    image = Image.new("RGB", (64, 48))
    draw_box(image, box, (200, 0, 0), "cell 90")
    pixels = np.asarray(image).astype(int)
    ground = (pixels == (200, 0, 0)).all(2)
    assert ground.sum() > 60
    assert (pixels.min(2) > 200).sum() > 5


def test_classes_have_colours_of_their_own():
    colours = class_colours(80)
    assert len(set(colours)) == 80
    assert all(max(colour) > 90 for colour in colours)
