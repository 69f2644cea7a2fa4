"""Pictures of a single image with its objects: what is found, gained, lost and wrong, pixel by pixel."""

from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from senet.data.batch import Batch
from senet.data.boxes import Boxes
from senet.data.source import input_spec
from senet.data.views import Views
from senet.recipe import DataRecipe, DetectionRecipe
from senet.tasks.detection.image_case import box_pictures, short_names
from senet.tasks.detection.judged_images import image_ap
from senet.tasks.detection.outcomes import FOUND, GAINED, LOST, OVERLOOKED, WRONG, Outcome, draw_outcomes
from senet.tasks.detection.prediction import PredictedBoxes, class_colours
from senet.tasks.detection.task import Detection
from senet.tasks.task import ImagePictures

CLASSES = ("cell", "platelet")
SIZE = (60, 200)
OBJECTS = np.array([[5, 10, 35, 50], [45, 10, 75, 50], [85, 10, 115, 50], [125, 10, 155, 50], [165, 10, 195, 50]], np.float32)
"""Found by both, gained, lost, missed, a crowd."""


def truth() -> Boxes:
    return Boxes(OBJECTS, np.array([0, 1, 0, 0, 0]), np.arange(5) == 4, np.full(5, 1200, np.float32), 1, SIZE)


def found(places: list[int], scores: list[float], **changes: object) -> PredictedBoxes:
    return PredictedBoxes(
        **{
            "xyxy": OBJECTS[places] + np.array([0, 0, 2, 0], np.float32),
            "labels": truth().labels[places],
            "scores": np.array(scores, np.float32),
            "classes": CLASSES,
            "size": SIZE,
            **changes,
        }
    )


def drawn(side: int = 200) -> ImagePictures:
    first, second = found([0, 2, 3], [0.9, 0.8, 0.3]), found([0, 1, 2, 4], [0.9, 0.8, 0.7, 0.6], labels=np.array([0, 1, 1, 0]))
    return box_pictures(Image.new("RGB", SIZE[::-1], (90, 20, 20)), truth(), [first, second], CLASSES, side)


def coloured(picture: Image.Image, outcome: Outcome) -> list[int]:
    """Return the numbers of the objects whose upper side, middle or end, has an outcome's colour."""
    pixels = np.asarray(picture)
    return [
        place
        for place, (left, top, right, _) in enumerate(OBJECTS.astype(int))
        if (pixels[top, left + 12 : right] == outcome.colour).all(1).any()
    ]


def test_objects_are_found_missed_gained_and_lost() -> None:
    pictures = drawn()
    assert list(pictures.shared) == ["image", "truth"]
    assert [list(one) for one in pictures.networks] == [
        ["boxes", "2 of 4 found, 0 wrong"],
        ["boxes", "2 of 4 found (1 gained, 1 lost), 1 wrong"],
    ]
    first, second = (list(one.values())[1] for one in pictures.networks)
    assert {kind: coloured(first, kind) for kind in (FOUND, OVERLOOKED, GAINED, LOST, WRONG)} == {
        FOUND: [0, 2], OVERLOOKED: [1, 3], GAINED: [], LOST: [], WRONG: []
    }  # fmt: skip
    others = {kind: coloured(second, kind) for kind in (FOUND, OVERLOOKED, GAINED, WRONG)}
    assert others == {FOUND: [0], OVERLOOKED: [3], GAINED: [1], WRONG: [2]}, (
        "the wrong box of another class is seen between the dashes of what is lost"
    )
    assert coloured(second, LOST) == [2]
    assert (np.asarray(second)[10:50, 116] == WRONG.colour).all(1).any()
    assert pictures.note == "boxes with a score of 0.5 or more"


def test_boxes_have_the_colours_of_their_classes() -> None:
    pictures, (cell, platelet) = drawn(), class_colours(2)
    shown = np.asarray(pictures.shared["truth"])
    assert [tuple(shown[49, left]) for left in (5, 45, 85, 125, 165)] == [cell, platelet, cell, cell, cell]
    boxes = np.asarray(pictures.networks[1]["boxes"])
    assert [tuple(boxes[49, left]) for left in (5, 45, 85)] == [cell, platelet, platelet]
    assert tuple(boxes[49, 125]) == (90, 20, 20)
    assert pictures.legend["cell (c)"] == cell
    assert pictures.legend["platelet (p)"] == platelet
    assert np.array_equal(np.asarray(pictures.shared["image"])[0, 0], (90, 20, 20))


def test_the_legend_says_what_can_be_seen() -> None:
    assert list(drawn().legend) == ["cell (c)", "platelet (p)", *(kind.meaning for kind in (FOUND, OVERLOOKED, GAINED, LOST, WRONG))]
    alone = box_pictures(Image.new("L", SIZE[::-1]), truth(), [found([0], [0.9])], CLASSES, 100)
    assert list(alone.legend) == ["cell (c)", "platelet (p)", *(kind.meaning for kind in (FOUND, OVERLOOKED, WRONG))]
    many = tuple(f"class {number}" for number in range(20))
    named = box_pictures(Image.new("L", SIZE[::-1]), truth(), [found([0], [0.9], classes=many)], many, 100).legend
    assert [name for name in named if name.startswith("class")] == ["class 0 (class 0)", "class 1 (class 1)"]
    single = truth().chosen(np.array([0]))
    only = box_pictures(Image.new("L", SIZE[::-1]), single, [found([0], [0.9], classes=CLASSES[:1])], CLASSES[:1], 100)
    assert next(iter(only.legend)) == "cell"


def test_large_images_are_shown_smaller_with_their_boxes() -> None:
    pictures = drawn(side=100)
    assert {picture.size for group in (pictures.shared, *pictures.networks) for picture in group.values()} == {(100, 30)}
    assert list(pictures.networks[1]) == list(drawn().networks[1])
    second = np.asarray(list(pictures.networks[1].values())[1])
    assert tuple(second[24, 30]) == GAINED.colour


@pytest.mark.parametrize("box", [(0, 0, 4, 4), (58, 44, 64, 48), (-9, -9, 99, 99), (64, 48, 64, 48), (10, 2, 10, 2)])
@pytest.mark.parametrize("outcome", [FOUND, OVERLOOKED, GAINED, LOST, WRONG])
def test_marks_lie_inside_the_image(outcome: Outcome, box: tuple[int, ...]) -> None:
    image = draw_outcomes(Image.new("RGB", (64, 48)), [(outcome, np.array([box], float))], 1.0)
    assert image.size == (64, 48)
    assert (np.asarray(image) == outcome.colour).all(2).any()


def test_marks_do_not_differ_by_colour_alone() -> None:
    kinds = (FOUND, OVERLOOKED, GAINED, LOST, WRONG)
    for one, other in combinations(kinds, 2):
        assert (one.dashes, one.width, one.sign) != (other.dashes, other.width, other.sign)
    shapes = [
        (np.asarray(draw_outcomes(Image.new("L", (64, 48)), [(kind, np.array([[4.0, 4, 40, 40]]))], 1.0)) == kind.colour).all(2)
        for kind in kinds
    ]
    assert len({shape.tobytes() for shape in shapes}) == len(kinds)


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["RBC", "WBC", "Platelets"], ["R", "W", "P"]),
        (["bird", "bicycle", "boat"], ["bir", "bic", "bo"]),
        (["car", "carrot"], ["car", "carr"]),
        (["one"], [""]),
        ([], []),
    ],
)
def test_names_are_shortened_so_that_they_stay_apart(names: list[str], short: list[str]) -> None:
    assert short_names(names) == short


def test_an_image_is_scored_by_all_its_boxes_in_the_pixels_that_were_read() -> None:
    task, spec = Detection(DetectionRecipe(shorter_sides=(30,))), input_spec(DataRecipe(), size=30, mean=(0.5,) * 3, std=(0.5,) * 3)
    image, target = task.eval_transform(spec, Views())(Image.new("RGB", SIZE[::-1]), truth())
    empty = task.eval_transform(spec, Views())(Image.new("RGB", SIZE[::-1]), truth().chosen(np.zeros(5, bool)))
    assert image.shape[1:] == (30, 100)
    seen = {"boxes": torch.tensor(OBJECTS[[0, 2, 4]]), "scores": torch.tensor([0.9, 0.5, 0.7]), "labels": torch.tensor([0, 1, 0])}
    scores = task.image_scores(({}, [seen, seen]), Batch([image, empty[0]], [target, empty[1]], []), CLASSES)
    assert scores[0] == pytest.approx(image_ap(seen, truth(), 2), abs=1e-12)
    assert 0 < scores[0] < 100
    assert np.isnan(scores[1])
    one = task.pictures(Image.new("RGB", SIZE[::-1]), Batch([image], [target], []), [found([0], [0.9])], CLASSES, side=200)
    assert list(one.networks[0]) == ["boxes", "1 of 4 found, 0 wrong"]
