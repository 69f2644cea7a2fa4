import numpy as np
import pytest
from PIL import Image

from senet.data.mask_statistics import mask_statistics
from senet.data.masks import IGNORE
from senet.data.source import UnreadableImageError, open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe, Recipe, build_recipe


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def put(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def write(root, images, masks, labels, count=2, first=0, size=(6, 5)):
    """Write images, and masks in which labels come one after the other."""
    for number in range(first, first + count):
        put(root / images / f"{number}.png", np.full((*size, 3), number))
        put(root / masks / f"{number}.png", np.resize(labels, size))


def opened(root, **fields):
    return open_data(DataRecipe(name="masks", root=str(root), **fields))


LAYOUTS = {
    "beside": (("train/images", "train/masks"), ("val/images", "val/masks")),
    "camvid": (("train", "trainannot"), ("val", "valannot")),
    "ade": (("images/training", "annotations/training"), ("images/validation", "annotations/validation")),
    "capitals": (("Train/Images", "Train/Labels"), ("Test/Images", "Test/Labels")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_recognised_and_said(tmp_path, layout):
    train, val = LAYOUTS[layout]
    write(tmp_path, *train, [0, 1, 2], count=3)
    write(tmp_path, *val, [0, 1, 2], count=2, first=7)
    source = opened(tmp_path)
    assert (len(source.train), len(source.val), source.classes) == (3, 2, ("0", "1", "2"))
    assert source.val.describe(1) == f"{val[0]}/8.png"
    assert np.asarray(source.val.read(1)).max() == 8
    assert source.val.targets[1].tolist() == np.resize([0, 1, 2], (6, 5)).tolist()
    where = [
        f"{count} images for {split} in {images} with {masks}" for count, split, (images, masks) in ((3, "train", train), (2, "val", val))
    ]
    assert source.notes[0] == f"{tmp_path}: {'; '.join(where)}; masks by index, 3 classes"


def test_nuclei_are_read_as_they_lie(shared_data):
    source = opened(shared_data / "nuclei_dsb2018")
    assert (len(source.train), len(source.val), source.classes) == (356, 89, ("background", "foreground"))
    ids = np.asarray(Image.open(source.train.targets.root / source.train.targets.paths[5].decode()))
    assert (source.train.targets[5] == (ids > 0)).all()
    assert source.train.read(5).size == ids.shape[::-1]
    assert mask_statistics(source.train, 2).pixels.tolist() == [21894674, 2959854]


def test_recipe_fields_survive_yaml_and_do_not_touch_old_digests(tmp_path):
    fields = {"label_map": {"7": 0, "others": None}, "palette": [[0, 0, 0], [1, 2, 3]], "classes": ["a", "b"], "ignore_index": 3}
    recipe = build_recipe({"data": {"name": "masks", **fields}})
    assert recipe.data.label_map == {7: 0, "others": None}
    assert recipe.data.palette == ((0, 0, 0), (1, 2, 3))
    assert build_recipe(recipe.to_dict()) == recipe
    assert recipe.digest() != build_recipe({"data": {"name": "masks"}}).digest()
    assert Recipe().digest() == "6cc22771678c"


def test_two_labels_are_two_classes_whatever_the_second_is(tmp_path):
    for root, label in (("a", 255), ("b", 1), ("c", 128)):
        write(tmp_path / root, "images", "masks", [0, label], count=5)
        source = opened(tmp_path / root)
        assert source.classes == ("background", "foreground")
        assert source.train.targets[0].max() == 1


def test_255_is_ignored_beside_other_labels(tmp_path):
    write(tmp_path, "images", "masks", [0, 1, 255], count=5)
    source = opened(tmp_path)
    assert source.train.targets[0].max() == IGNORE
    assert mask_statistics(source.train, 2).pixels.tolist() == [40, 40]


def test_one_folder_is_split_by_names_alone(tmp_path):
    write(tmp_path, "images", "masks", [0, 1], count=10)
    source = opened(tmp_path, val_share=0.3)
    val = {source.val.describe(i) for i in range(len(source.val))}
    assert (len(source.train), len(val)) == (7, 3)
    assert val.isdisjoint(source.train.describe(i) for i in range(7))
    write(tmp_path, "images", "masks", [0, 1], count=1, first=10)
    again = opened(tmp_path, val_share=0.3)
    assert len(val & {again.val.describe(i) for i in range(len(again.val))}) >= 2


def test_lists_say_who_is_held_out(tmp_path):
    write(tmp_path, "JPEGImages", "SegmentationClass", [0, 1], count=5)
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("3\n1.png\n")
    source = opened(tmp_path)
    assert [source.val.describe(i) for i in range(2)] == ["JPEGImages/3.png", "JPEGImages/1.png"]
    assert [source.train.describe(i) for i in range(3)] == [f"JPEGImages/{i}.png" for i in (0, 2, 4)]
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("0\n1\n")
    with pytest.raises(UsageError, match=r"train.txt, val.txt: 1 images are in both lists, such as .*1"):
        opened(tmp_path)
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("0\nnone\n")
    with pytest.raises(UsageError, match=r"train.txt: 1 of 2 images that it lists are not there: none"):
        opened(tmp_path)


def test_names_of_masks_may_have_an_ending(tmp_path):
    for number in range(5):
        put(tmp_path / "images" / f"{number}.jpg", np.zeros((4, 4, 3)))
        put(tmp_path / "masks" / f"{number}_mask.png", np.resize([0, 1], (4, 4)))
    assert len(opened(tmp_path).train) == 4


def test_a_mask_that_changed_since_is_seen_when_it_is_read(tmp_path):
    write(tmp_path, "images", "masks", [0, 1], count=5)
    source = opened(tmp_path)
    put(tmp_path / "masks" / source.train.describe(0).rpartition("/")[2], np.zeros((7, 7)))
    with pytest.raises(UnreadableImageError, match=r"has 7 x 7 pixels, and its image 5 x 6"):
        source.train.targets[0]
