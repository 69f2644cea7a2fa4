import json

import numpy as np
import pytest
from PIL import Image

from data.coco.made_coco import CATEGORIES, annotation, image, put_images, put_json, rectangle, write_semantic
from senet.data.fingerprint import fingerprint
from senet.data.mask_statistics import mask_statistics
from senet.data.masks import IGNORE
from senet.data.source import UnreadableImageError, open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def opened(root, **fields):
    return open_data(DataRecipe(name="coco_semantic", root=str(root), **fields))


SKY_WITH_CAT = np.zeros((6, 8), np.uint8)
SKY_WITH_CAT[:3] = 2
SKY_WITH_CAT[1:4, 1:4] = 1


def test_things_lie_on_stuff_and_pixels_of_neither_are_background(tmp_path):
    source = opened(write_semantic(tmp_path))
    assert (len(source.train), len(source.val)) == (2, 1)
    assert source.classes == ("background", "cat", "sky")
    assert source.palette == ((0, 0, 0), (200, 0, 0), (0, 0, 200))
    assert source.train.targets[1].tolist() == SKY_WITH_CAT.tolist()
    assert source.val.describe(0) == "val2017/003.jpg"
    assert source.val.read(0).size == (8, 6)
    assert mask_statistics(source.train, 3).pixels.tolist() == (2 * np.bincount(SKY_WITH_CAT.ravel())).tolist()
    assert source.notes[0] == f"{tmp_path}: 2 images for train listed in instances_train2017.json"


def test_the_smaller_object_lies_on_top_whatever_their_order_and_crowds_below(tmp_path):
    small, large = annotation(1, 3, rectangle(2, 2, 4, 4)), annotation(1, 5, rectangle(0, 0, 6, 5))
    crowd = annotation(1, 3, {"size": [6, 8], "counts": [0, 48]}, iscrowd=1)
    categories = [*CATEGORIES, {"id": 5, "name": "dog"}]
    put_images(tmp_path / "images", (1, 2))
    found = []
    for order in ([small, large, crowd], [crowd, large, small]):
        put_json(tmp_path / "train.json", images=[image(1), image(2)], annotations=order, categories=categories)
        source = opened(tmp_path, val_share=0.5)
        masks = {part.describe(0): part.targets[0] for part in (source.train, source.val)}
        found.append(masks["images/001.jpg"])
    expected = np.full((6, 8), 1)
    expected[:5, :6] = 2
    expected[2:4, 2:4] = 1
    assert found[0].tolist() == found[1].tolist() == expected.tolist()
    assert masks["images/002.jpg"].max() == 0


def test_files_of_things_and_of_stuff_are_drawn_together(tmp_path):
    write_semantic(tmp_path, categories=CATEGORIES[:1], annotations=[])
    for split, number in (("train2017", 2), ("val2017", 3)):
        things = json.loads((tmp_path / "annotations" / f"instances_{split}.json").read_text())
        things["annotations"] = [annotation(number, 3, rectangle(1, 1, 4, 4))]
        put_json(tmp_path / "annotations" / f"instances_{split}.json", **things)
        stuff = {"images": things["images"][::-1], "categories": [{"id": 7, "name": "sky"}]}
        put_json(tmp_path / "annotations" / f"stuff_{split}.json", **stuff, annotations=[annotation(number, 7, rectangle(0, 0, 8, 3))])
    source = opened(tmp_path)
    assert source.train.targets[1].tolist() == SKY_WITH_CAT.tolist()
    assert source.train.targets[0].max() == 0


def test_a_label_map_goes_by_categories(tmp_path):
    source = opened(write_semantic(tmp_path), label_map={7: None, 3: 1, "others": 0}, classes=("rest", "cat"))
    expected = np.array([0, 1, IGNORE])[SKY_WITH_CAT]
    assert source.train.targets[0].tolist() == expected.tolist()


def test_layouts_of_exports_are_recognised(tmp_path):
    for split, number in (("train", 1), ("valid", 2)):
        put_images(tmp_path / split, (number,))
        categories = [{"id": 0, "name": "cell"}, {"id": 1, "name": "rim"}]
        annotations = [annotation(number, 0, rectangle(0, 0, 2, 2)), annotation(number, 1, rectangle(4, 4, 6, 6))]
        put_json(tmp_path / split / "_annotations.coco.json", images=[image(number)], annotations=annotations, categories=categories)
    source = opened(tmp_path)
    assert source.classes == ("background", "cell", "rim")
    assert np.bincount(source.val.targets[0].ravel()).tolist() == [40, 4, 4]


def test_another_annotation_is_another_set_of_images(tmp_path):
    first = opened(write_semantic(tmp_path))
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text().replace("[[1, 1, 4, 1, 4, 4, 1, 4]]", "[[1, 1, 4, 1, 4, 5, 1, 5]]", 1))
    again = opened(tmp_path)
    assert fingerprint(again.train) != fingerprint(first.train)
    assert fingerprint(again.val) == fingerprint(first.val)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": [image(1) | {"file_name": "../../etc/passwd"}]},
            "1 names of images lead out of their folder, such as ../../etc/passwd",
        ),
        ({"images": [image(1), image(1)]}, "1 images have the id of another"),
        ({"images": [image(1), image(9) | {"file_name": "001.jpg"}]}, "1 images have the file_name of another"),
        ({"images": [image(1), image(9)]}, r"1 of 2 images that instances_train2017.json lists are missing: 009.jpg"),
        ({"images": [image(1) | {"width": "8"}]}, r"images\[0\].width: expected an integer from 1"),
        (
            {"images": [image(1) | {"width": 9}, image(2)]},
            r"1 of [12] masks have another size than their image, such as .*001.jpg: 9 x 6, and .* 8 x 6",
        ),
        ({"categories": [CATEGORIES[0]] * 2}, "1 categories have the id of another"),
        ({"categories": [CATEGORIES[0], CATEGORIES[1] | {"name": "cat"}]}, "two categories have the same name"),
        (
            {"categories": CATEGORIES[:1]},
            r"2 annotations are of no image or category that the file lists: annotation 17 \(image 1, category 7\)",
        ),
        (
            {"annotations": [annotation(1, 3, [[1, 2]])]},
            r"cannot be read.* annotations of 001.jpg: has a polygon that is no list",
        ),
        ({"annotations": 3}, "annotations: expected a list"),
        ({"annotations": [3]}, r"annotations\[0\]: expected a mapping"),
        ({"categories": [{"id": number, "name": str(number)} for number in range(1, 300)]}, "299 categories, more than 254"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, changes, message):
    write_semantic(tmp_path)
    path = tmp_path / "annotations" / "instances_train2017.json"
    put_json(path, **{**json.loads(path.read_text()), **changes})
    (tmp_path / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(UsageError, match=message) as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ("a", "b")}, "data.classes names 2 classes, and the files have 3; say data.label_map, too"),
        ({"masks": "index"}, "say nothing of coco_semantic"),
        ({"ignore_index": 0}, "say nothing of coco_semantic"),
        ({"label_map": {3: 1}}, r"2 of 2 masks, such as annotations of 001.jpg, have labels that are no class \(7: "),
    ],
)
def test_fields_that_say_nothing_here_are_refused(tmp_path, fields, message):
    with pytest.raises(UsageError, match=message):
        opened(write_semantic(tmp_path), **({"classes": ("a", "b")} if "label_map" in fields else {}), **fields)


def test_no_root_no_files_and_no_json_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"coco_semantic needs --data.root DIR"):
        open_data(DataRecipe(name="coco_semantic"))
    with pytest.raises(UsageError, match=r"there is no annotations/instances_train2017.json, .*JSON files there: none"):
        opened(tmp_path)
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(UsageError, match=r"train.json: not JSON that can be read"):
        opened(tmp_path)


def test_images_larger_than_allowed_are_not_drawn(tmp_path):
    source = opened(write_semantic(tmp_path), max_corrupt=1.0, max_pixels=40)
    with pytest.raises(UnreadableImageError, match=r"8 x 6 pixels, more than data.max_pixels 40"):
        source.train.targets[0]


def test_an_image_that_changed_its_size_is_seen(tmp_path):
    write_semantic(tmp_path)
    Image.new("RGB", (9, 9)).save(tmp_path / "train2017" / "002.jpg")
    with pytest.raises(UsageError, match=r"1 of 2 masks have another size than their image, such as annotations of 002.jpg: 8 x 6"):
        opened(tmp_path)
