import pytest

from senet.data.source import open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe


def digits(**changes):
    return open_data(DataRecipe(**changes))


def test_recipe_wins_over_the_source():
    spec = digits(image_size=16, eval_resize=20, mean=(0.5,), std=(0.25,)).input
    assert (spec.size, spec.resize, spec.channels, spec.mean, spec.std) == (16, 20, 1, (0.5,), (0.25,))


def test_unknown_source_names_the_nearest():
    allowed = (
        "digits, cifar10, cifar100, folder, shards, places365, masks, coco_semantic, coco_panoptic, boxes, coco_boxes, voc, yolo, "
        "volumes, path/to/file.py:function"
    )
    with pytest.raises(UsageError, match=rf"unknown data 'cifar' \(did you mean 'cifar10'\?\); allowed: {allowed}"):
        digits(name="cifar")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "data.batch_size must be at least 1, got 0"),
        ({"workers": -1}, "data.workers must be between 0 and 4096, got -1"),
        ({"pad": -4}, "data.pad must be between 0 and 16384, got -4"),
        ({"cutout": -1}, "data.cutout must be between 0 and 16384, got -1"),
        ({"rotation": 200.0}, "data.rotation must be between 0 and 180, got 200.0"),
        ({"max_corrupt": 5.0}, "data.max_corrupt must be between 0 and 1, got 5.0"),
        ({"max_corrupt": float("nan")}, "data.max_corrupt must be between 0 and 1, got nan"),
        ({"image_size": 0}, "data.image_size must be between 1 and 16384, got 0"),
        ({"scale": (0.5, 0.1)}, "data.scale must be two numbers, 0 < low <= high <= 1, got 0.5 and 0.1"),
        ({"scale": (0.1, 2.0)}, "data.scale must be two numbers, 0 < low <= high <= 1, got 0.1 and 2.0"),
        ({"ratio": (0.0, 2.0)}, "data.ratio must be two numbers, 0 < low <= high, got 0.0 and 2.0"),
        ({"image_size": 16, "eval_resize": 8}, "data.eval_resize must be at least the image size, 16, got 8"),
        ({"mean": (0.5, 0.5, 0.5)}, r"data.mean must have 1 values for digits, one per channel, got [0.5, 0.5, 0.5]"),
        ({"std": (0.0,)}, "data.std must be positive, got [0.0]"),
        ({"num_classes": 7}, "data.num_classes is 7 but digits has 10 classes; set it to 10, or to null to take what is found"),
    ],
)
def test_impossible_numbers_are_refused(changes, message):
    with pytest.raises(UsageError) as caught:
        digits(**changes)
    assert str(caught.value) == message
