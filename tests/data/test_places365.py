import shutil

import numpy as np
import pytest
from PIL import Image

from senet.data.loaders import train_loader
from senet.data.places365 import FOLDERS, LISTS
from senet.data.source import open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe

CLASSES = ("/a/airfield", "/a/apartment_building/outdoor", "/b/bakery/shop")
TRAIN = {"challenge": (3, 1, 4), "standard": (1, 1, 1)}


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), "red").save(path)


def write_train(root, part, folder):
    lines = [f"{name}/{i:08d}.png {label}" for label, name in enumerate(CLASSES) for i in range(TRAIN[part][label])]
    for line in lines:
        write_image(root / folder / line.split()[0].lstrip("/"))
    (root / LISTS[part]).write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "categories_places365.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(CLASSES)))
    write_train(tmp_path, "challenge", "data_256_challenge")
    (tmp_path / LISTS["val"]).write_text("Places365_val_00000001.png 2\nPlaces365_val_00000002.png 0\n")
    for number in (1, 2):
        write_image(tmp_path / "val_256" / f"Places365_val_0000000{number}.png")
    return tmp_path


def places(root, **changes):
    return open_data(DataRecipe(name="places365", root=None if root is None else str(root), **changes))


def test_lists_give_paths_labels_and_names(root):
    source = places(root, num_classes=3)
    assert source.classes == ("airfield", "apartment_building/outdoor", "bakery/shop")
    assert source.train.targets.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert source.val.targets.tolist() == [2, 0]
    assert source.train.describe(3) == "a/apartment_building/outdoor/00000000.png"
    assert source.val.describe(0) == "Places365_val_00000001.png"
    assert source.train.paths.base is not None  # one block for all paths
    assert np.asarray(source.train.read(0)).tolist() == [[[255, 0, 0]] * 12] * 10
    assert (source.input.size, source.input.resize, source.input.mean) == (224, 256, (0.485, 0.456, 0.406))


def test_order_in_the_categories_file_does_not_matter(root):
    (root / "categories_places365.txt").write_text("/b/bakery/shop 2\n/a/airfield 0\n/a/apartment_building/outdoor 1\n")
    assert places(root).classes == ("airfield", "apartment_building/outdoor", "bakery/shop")


@pytest.mark.parametrize("folder", FOLDERS["challenge"])
def test_every_name_of_the_folder(root, folder):
    if folder != "data_256_challenge":
        (root / "data_256_challenge").rename(root / folder)
    assert places(root).train.root == root / folder


def test_the_challenge_wins_where_its_images_are(root):
    write_train(root, "standard", "data_256_standard")
    assert len(places(root).train) == sum(TRAIN["challenge"])
    shutil.rmtree(root / "data_256_challenge")
    assert len(places(root).train) == sum(TRAIN["standard"])


def test_a_folder_that_names_its_part_wins_over_one_that_does_not(root):
    write_train(root, "standard", "data_256_standard")
    (root / "data_256_challenge").rename(root / "data_256")
    assert places(root).train.root == root / "data_256_standard"
    (root / "data_256").rename(root / "data_large_challenge")
    assert places(root).train.root == root / "data_large_challenge"


def test_classes_are_drawn_in_turn(root):
    recipe = DataRecipe(name="places365", root=str(root), sampler="class_aware", batch_size=2, image_size=8, workers=0)
    source = open_data(recipe)
    loader = train_loader(source, recipe, seed=0)
    labels = [label for batch in loader.epoch(0) for label in batch.targets.tolist()]
    counts = [labels.count(label) for label in range(3)]
    assert sum(counts) == 8
    assert max(counts) - min(counts) <= 1  # the images are 3, 1 and 4


def rewrite(name, text):
    return lambda root: (root / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: shutil.rmtree(root), r"categories_places365.txt is missing; it comes with the file lists of Places365$"),
        (lambda root: (root / LISTS["val"]).unlink(), r"places365_val.txt is missing"),
        (
            lambda root: (root / LISTS["challenge"]).unlink(),
            r"neither places365_train_challenge.txt nor places365_train_standard",
        ),
        (
            lambda root: shutil.rmtree(root / "data_256_challenge"),
            r"no folder with the images of places365_train_challenge.txt; ",
        ),
        (
            lambda root: shutil.rmtree(root / "val_256"),
            r"images of places365_val.txt; it must be one of: val_256, val_large$",
        ),
        (
            lambda root: shutil.rmtree(root / "data_256_challenge" / "b"),
            r"lacks b/bakery/shop/00000000.png, which places365_train",
        ),
        (rewrite(LISTS["val"], ""), r"places365_val.txt lists no images"),
        (
            rewrite(LISTS["val"], "a.png 0\nb.png\n"),
            r"val.txt, line 2: expected an image and its class, such as .*, got 'b.png'$",
        ),
        (rewrite(LISTS["val"], "a.png zero\n"), r"line 1: expected an image and its class, .*, got 'a.png zero'$"),
        (rewrite(LISTS["val"], "<html>\n"), r"line 1: expected an image and its class, .*, got '<html>'$"),
        (rewrite(LISTS["val"], "a.png 0\nb.png 3\n"), r"line 2: class 3 is not one of categories_places365.txt, which has 0 to 2$"),
        (rewrite(LISTS["val"], f"a.png {10**30}\n"), r"line 1: class 10+ is not one of"),
        (rewrite(LISTS["val"], "a.png -1\n"), r"line 1: class -1 is not one of"),
        (
            rewrite(LISTS["challenge"], "/a/airfield/00000000.png 0\n"),
            r"no images of class 1 \(apartment_building/outdoor\); it is cut",
        ),
        (rewrite("categories_places365.txt", "/a/airfield 0\n/b/bakery/shop 0\n"), r"line 2: class 0 is there twice$"),
        (rewrite("categories_places365.txt", "/a/airfield 0\n/b/bakery/shop 2\n"), r"from 0 on without a gap, got 2 classes up to 2$"),
        (rewrite("categories_places365.txt", "/a/airfield\n"), r"line 1: expected a class and its number, such as '/a/airfield 0', got"),
        (rewrite("categories_places365.txt", ""), r"from 0 on without a gap, got 0 classes up to None$"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(root, damage, message):
    damage(root)
    with pytest.raises(UsageError, match=message) as caught:
        places(root)
    assert "\n" not in str(caught.value)


def test_no_root_says_the_layout():
    with pytest.raises(UsageError, match=r"places365 needs --data.root DIR with categories_places365.txt"):
        places(None)


def test_wrong_number_of_classes_says_the_right_one(root):
    with pytest.raises(UsageError, match=r"data.num_classes is 365 but .* has 3 classes"):
        places(root, num_classes=365)
