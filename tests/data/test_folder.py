import csv
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from senet.data.image_file import read_image
from senet.data.source import UnreadableImageError, open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe, Recipe
from senet.tasks.answers import open_source
from senet.tasks.registry import open_task


def write_image(path, colour="red", size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def root(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        for name in ("cat", "dog"):
            for i in range(count):
                write_image(tmp_path / split / name / f"{i}.png")
    return tmp_path


def folder(root, **changes):
    return open_data(DataRecipe(name="folder", root=None if root is None else str(root), **changes))


def test_classes_and_labels_follow_the_folders(root):
    source = folder(root, num_classes=2)
    assert source.classes == ("cat", "dog")
    assert source.train.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert [source.val.describe(i) for i in range(4)] == ["val/cat/0.png", "val/cat/1.png", "val/dog/0.png", "val/dog/1.png"]
    assert np.asarray(source.train.read(0)).tolist() == [[[255, 0, 0]] * 12] * 10


def test_default_input_is_imagenets(root):
    assert (folder(root).input.size, folder(root).input.resize) == (224, 256)
    assert (folder(root, image_size=64).input.size, folder(root, image_size=64).input.resize) == (64, 73)
    assert folder(root, image_size=299, eval_resize=352).input.resize == 352


def test_photographs_of_every_kind_are_rgb(shared_data, tmp_path):
    sample = shared_data / "imagenet1k_sample"
    with (sample / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:6]
    for number, row in enumerate(rows):
        for split in ("train", "val"):
            path = tmp_path / split / f"class{number % 2}" / "inner" / row["file"].split("/")[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(next(sample.rglob(path.name)), path)
    source = folder(tmp_path)
    assert len(source.train) == len(source.val) == 6
    assert all(source.train.read(i).mode == "RGB" and min(source.train.read(i).size) == 256 for i in range(6))


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("P", "png"), ("RGBA", "png"), ("CMYK", "jpg"), ("1", "bmp"), ("L", "webp")])
def test_odd_modes_are_read_as_rgb(tmp_path, mode, suffix):
    Image.new("RGB", (5, 4), "white").convert(mode).save(tmp_path / f"x.{suffix}")
    assert (read_image(tmp_path / f"x.{suffix}").mode, read_image(tmp_path / f"x.{suffix}").size) == ("RGB", (5, 4))


def test_hidden_and_other_files_are_not_images(root):
    (root / "train" / ".ipynb_checkpoints").mkdir()
    write_image(root / "train" / "cat" / ".hidden.png")
    write_image(root / "train" / "cat" / ".thumbnails" / "0.png")
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    (root / "train" / "README").write_text("no class")
    assert (folder(root).classes, len(folder(root).train)) == (("cat", "dog"), 6)


def test_suffix_in_capitals_and_names_beyond_ascii(root):
    write_image(root / "train" / "cat" / "Käse 1.JPEG".replace("JPEG", "PNG"))
    assert "train/cat/Käse 1.PNG" in [folder(root).train.describe(i) for i in range(7)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: shutil.rmtree(root), r"is not a folder; it must hold train/CLASS/image.jpg"),
        (lambda root: shutil.rmtree(root / "train"), r"has no folder 'train'; it has: val$"),
        (lambda root: (root / "val").rename(root / "validation"), r"has no folder 'val'; it has: train, validation$"),
        (lambda root: [shutil.rmtree(root / "train" / name) for name in ("cat", "dog")], r"has no class folders; images must be in"),
        (lambda root: [path.unlink() for path in (root / "val" / "dog").iterdir()], r"class folder .*val/dog has no images; add some"),
        (lambda root: write_image(root / "val" / "cow" / "0.png"), r"same class folders; only in val: cow$"),
        (lambda root: (root / "train" / "cat").rename(root / "train" / "Cat"), r"only in train: Cat; only in val: cat$"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(root, damage, message):
    damage(root)
    with pytest.raises(UsageError, match=message) as caught:
        folder(root)
    assert "\n" not in str(caught.value)


def test_many_differences_are_cut_short(root):
    for i in range(9):
        write_image(root / "val" / f"extra{i}" / "0.png")
    with pytest.raises(UsageError, match=r"only in val: extra0, extra1, extra2, extra3, extra4 and 4 more$"):
        folder(root)


def test_wrong_number_of_classes_says_the_right_one(root):
    with pytest.raises(UsageError, match=r"data.num_classes is 3 but .* has 2 classes; set it to 2, or to null"):
        folder(root, num_classes=3)


def test_no_root_says_the_layout():
    with pytest.raises(UsageError, match=r"folder needs --data.root DIR, with DIR/train/CLASS/image.jpg"):
        folder(None)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 256 * 100, 256 * 255 + 255]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.asarray(read_image(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"<html>404</html>", None])
def test_unreadable_image_is_named(tmp_path, damage):
    path = tmp_path / "x.jpg"
    Image.effect_noise((64, 64), 50).save(path)
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    with pytest.raises(UnreadableImageError, match=r"x\.jpg: ") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_what_is_left_out_is_said_at_the_start_once(root, caplog):
    (root / "train" / "cat" / "a.psd").write_text("")
    (root / "val" / "dog" / "b.psd").write_text("")
    assert folder(root).notes == (f"{root}: files left out, which are no images that are read, by suffix: .psd 2",)
    for _ in range(2):
        opened = open_source(open_task(Recipe()), DataRecipe(name="folder", root=str(root)))
    assert caplog.messages == list(opened.notes)


def test_a_link_to_another_class_does_not_give_images_two_labels(root):
    (root / "train" / "cat" / "dogs").symlink_to(root / "train" / "dog")
    (root / "train" / "dog" / "all").symlink_to(root / "train")
    source = folder(root)
    assert len(source.train) == 6
    assert source.notes[0].startswith(f"{root}: links to folders that are read by another path, left out: ")


def test_a_class_whose_name_is_not_utf_8_is_named_at_the_start(root):
    for split in ("train", "val"):
        write_image(root / split / os.fsdecode(b"caf\xe9") / "0.png")
    with pytest.raises(UsageError, match=r"the name of class folder caf\\udce9 is not UTF-8 .*rename it$"):
        folder(root)


def test_images_whose_name_is_not_utf_8_are_read_and_can_be_printed(root):
    write_image(root / "train" / "cat" / os.fsdecode(b"\xe9.png"))
    source = folder(root)
    assert source.train.describe(3) == "train/cat/\\udce9.png"
    assert source.train.read(3).size == (12, 10)
    assert source.train.describe(3).encode()


def test_the_recipe_says_how_images_are_read(root):
    Image.fromarray(np.full((4, 4), 4095, np.uint16)).save(root / "train" / "cat" / "0.png")
    assert np.asarray(folder(root).train.read(0)).max() == 15
    stated = folder(root, range=(0, 4095), max_pixels=100)
    assert np.asarray(stated.train.read(0)).min() == 255
    assert stated.input.range == (0, 4095)
    with pytest.raises(UnreadableImageError, match=r"12 x 10 pixels, more than data.max_pixels 100"):
        stated.train.read(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"range": (1, 1)}, r"data.range must be two numbers, the values that are black and white, low < high, got \[1, 1\]"),
        ({"range": (float("nan"), 1)}, "data.range must be"),
        ({"range": (0, float("inf"))}, "data.range must be"),
        ({"max_pixels": 0}, "data.max_pixels must be between 1 and 178956970, got 0"),
        ({"max_pixels": 10**12}, "data.max_pixels must be between"),
    ],
)
def test_numbers_that_cannot_be_are_refused(root, changes, message):
    with pytest.raises(UsageError, match=message):
        folder(root, **changes)
