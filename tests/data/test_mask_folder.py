import numpy as np
import pytest
from PIL import Image

from senet.data.fingerprint import fingerprint
from senet.data.kept import arrays_folder
from senet.data.mask_statistics import mask_statistics
from senet.data.masks import IGNORE, read_raw_mask
from senet.data.source import ArrayImages, UnreadableImageError, open_data
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
    assert source.notes == (
        f"{tmp_path}: 3 images for train in {train[0]} with {train[1]}; masks by index",
        f"{tmp_path}: 2 images for val in {val[0]} with {val[1]}; masks by index",
        f"{tmp_path}: 3 classes by the labels of the masks, 0, 1, 2; data.classes names them",
    )


@pytest.mark.parametrize(("labels", "fields"), [([0, 1], {}), ([0, 255], {}), ([0, 3, 9], {"masks": "instances"})], ids=str)
def test_the_name_of_one_kind_of_object_stands_behind_background(tmp_path, labels, fields):
    for split in ("train", "val"):
        write(tmp_path, f"{split}/images", f"{split}/masks", labels)
    source = opened(tmp_path, classes=("nucleus",), **fields)
    assert source.classes == ("background", "nucleus")
    assert source.train.targets[0].tolist() == (np.resize(labels, (6, 5)) > 0).astype(int).tolist()
    assert source.notes[-1] == f"{tmp_path}: one class is named, nucleus: label 0 is the class background, which comes before it"
    assert len(source.palette) == 2
    (tmp_path / "classes.txt").write_text("nucleus\n")
    assert opened(tmp_path, **fields).classes == source.classes
    assert opened(tmp_path, classes=("background", "nucleus"), **fields).notes == source.notes[:-1]


def test_one_name_is_what_a_label_map_says_it_is(tmp_path):
    for split in ("train", "val"):
        write(tmp_path, f"{split}/images", f"{split}/masks", [0, 1])
    assert opened(tmp_path, classes=("nucleus",), label_map={1: 0, 0: None}).classes == ("nucleus",)
    write(tmp_path, "train/images", "train/masks", [0, 1, 2])
    with pytest.raises(UsageError, match=r"labels that are no class \(2: 20 pixels\), where 0 to 1 are classes"):
        opened(tmp_path, classes=("nucleus",))


def test_nuclei_are_read_as_they_lie(shared_data):
    source = opened(shared_data / "nuclei_dsb2018")
    assert (len(source.train), len(source.val), source.classes) == (356, 89, ("background", "foreground"))
    ids = np.asarray(Image.open(source.train.targets.raw.path(5)))
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


def spoilt(root):
    write(root, "train/images", "train/masks", [0, 1, 2], count=4)
    write(root, "val/images", "val/masks", [0, 1, 2], count=4, first=10)
    return root


def damage(path):
    path.write_bytes(path.read_bytes()[:45])


@pytest.mark.parametrize(
    ("spoil", "fields", "message"),
    [
        (
            lambda root: (root / "train/masks/1.png").unlink(),
            {},
            r"1 images of 4 have no mask in train/masks: .*train/images/1.png; image and mask must",
        ),
        (
            lambda root: [(root / f"val/images/{i}.png").unlink() for i in (10, 11)],
            {},
            r"2 masks of 4 have no image in val/images: .*10.png, .*11.png; ",
        ),
        (
            lambda root: put(root / "val/masks/11.png", np.zeros((8, 9))),
            {},
            r"1 of 4 masks have another size than their image, such as val/masks/11.png: 9 x 8, and its image 5 x 6$",
        ),
        (
            lambda root: put(root / "train/masks/3.png", np.full((6, 5), 7)),
            {"classes": ("a", "b", "c")},
            r"1 of 4 masks, such as train/masks/3.png, have labels that are no class \(7: 30 pixels\), where 0 to 2 are classes and 255 is",
        ),
        (
            lambda root: damage(root / "train/masks/0.png"),
            {},
            r"1 of 4 masks cannot be read, more than data.max_corrupt 0.001 allows, such",
        ),
        (lambda root: put(root / "train/masks/0.png", np.resize([0, 50, 100], (6, 5))), {}, "labels 0, 1, 2, 50, 100, which do not number"),
        (
            lambda root: put(root / "train/masks/0.png", np.resize([0, 50, 100], (6, 5))),
            {},
            r"; --data.label_map '\{0: 0, 1: 1, 2: 2, 50: 3, 100: 4\}' makes each a class of its own, --data.masks instances all but 0 one",
        ),
        (
            lambda root: put(root / "train/masks/0.png", np.resize(range(0, 100, 3), (6, 5))),
            {},
            r"which do not number classes; if they number objects, set data.masks to instances; else say data.classes or data.label_map$",
        ),
        (
            lambda root: [damage(path) for path in root.rglob("masks/*")],
            {},
            r"4 of 4 masks cannot be read, more than .*, such as .*0.png: ",
        ),
        (
            lambda root: [put(path, np.zeros((6, 5))) for path in root.rglob("masks/*")],
            {},
            r"all masks hold the label 0 alone, so there is nothing to tell apart; are they the masks of these images\?",
        ),
        (
            lambda root: put(root / "train/masks/0.png", np.resize([[9, 0, 0], [0, 0, 0], [0, 9, 0], [9, 0, 0]], (6, 5, 3))),
            {},
            r"classes; in the order of your classes, the colours of the first masks are --data.palette '\[\[0, 0, 0\], .*9, 0\]\]'$",
        ),
        (
            lambda root: (root / "train").rename(root / "x"),
            {},
            r"no images with masks are recognised; it must hold train/images, .* it has: val, x$",
        ),
        (lambda root: put(root / "train/images/1.jpg", np.zeros((6, 5, 3))), {}, r"1.jpg and .*1.png have the same name"),
        (lambda root: None, {"masks": "colour"}, "data.palette does not say of which classes"),
        (
            lambda root: None,
            {"masks": "colour", "palette": ((0, 0, 0), (1, 1, 1))},
            r"lacks \(\(2, 2, 2\) \(nearest is \(1, 1, 1\), number 1\): 40",
        ),
        (lambda root: None, {"num_classes": 2}, r"4 of 4 masks, such as train/masks/0.png, have labels that are no class \(2: 40 pixels\)"),
        (
            lambda root: (root / "classes.txt").write_text("a\na\n"),
            {},
            "classes.txt must name 1 to 255 different classes, one a line, got 2",
        ),
        (lambda root: None, {"ignore_index": 0, "label_map": {1: None, 2: None}}, "all masks hold nothing but what is ignored"),
    ],
)
def test_what_is_wrong_is_said_before_training_in_one_line(tmp_path, spoil, fields, message):
    spoil(spoilt(tmp_path))
    with pytest.raises(UsageError, match=message) as caught:
        opened(tmp_path, **fields)
    assert "\n" not in str(caught.value)


def test_many_classes_that_nothing_names_may_be_objects(tmp_path):
    write(tmp_path, "images", "masks", range(20), count=5)
    assert opened(tmp_path).notes[2] == (
        f"{tmp_path}: 20 classes by the labels of the masks, 0, 1, 2 and 17 more; data.classes names them (if the labels number objects: "
        "--data.masks instances)"
    )


def test_one_image_is_too_few(tmp_path):
    write(tmp_path, "images", "masks", [0, 1], count=1)
    with pytest.raises(UsageError, match=r"of 1 image none is for val .*; one image cannot serve for training and for validation$"):
        opened(tmp_path)


def test_colours_that_were_resized_smoothly_are_not_listed(tmp_path):
    spoilt(tmp_path)
    put(tmp_path / "train/masks/0.png", np.random.default_rng(0).integers(256, size=(6, 5, 3)))
    for number in range(1, 4):
        put(tmp_path / f"train/masks/{number}.png", np.random.default_rng(number).integers(256, size=(6, 5, 3)))
    with pytest.raises(UsageError, match=r"give the colour of each, .*; the first 4 masks have 1\d\d: were they resized smoothly\?$"):
        opened(tmp_path)


def test_what_is_easily_overlooked_is_noted(tmp_path):
    put(spoilt(tmp_path) / "train/masks/2.png", np.full((6, 5), 255))
    (tmp_path / "classes.txt").write_text("ground\ncell\nrim\nnever\n")
    source = opened(tmp_path)
    assert source.classes == ("ground", "cell", "rim", "never")
    assert source.notes[2:] == (
        f"{tmp_path}: 1 of 4 classes have no pixel in the masks for train: never",
        f"{tmp_path}: 1 masks for train say nothing, all their pixels are ignored: train/masks/2.png",
        f"{tmp_path}: 1 of 4 classes have no pixel in the masks for val: never",
    )


def test_a_few_damaged_masks_are_left_to_training(tmp_path):
    damage(spoilt(tmp_path) / "train/masks/0.png")
    source = opened(tmp_path, max_corrupt=0.3)
    assert source.train.targets[1].max() == 2
    with pytest.raises(UnreadableImageError, match=r"train/masks/0.png: "):
        source.train.targets[0]


def test_a_damaged_image_is_left_to_training(tmp_path):
    damage(spoilt(tmp_path) / "train/images/0.png")
    source = opened(tmp_path)
    with pytest.raises(UnreadableImageError, match=r"train/images/0.png: "):
        source.train.read(0)


def test_masks_are_looked_at_once_until_one_changes(tmp_path, monkeypatch):
    looks = []
    monkeypatch.setattr("senet.data.mask_files.read_raw_mask", lambda path, reading: looks.append(path) or read_raw_mask(path, reading))
    first = opened(spoilt(tmp_path))
    assert len(looks) == 8
    again = opened(tmp_path)
    assert len(looks) == 8
    assert fingerprint(again.train) == fingerprint(first.train)
    mask = np.resize([0, 1, 2], (6, 5))
    mask[0, 0] = 1  # as many bytes, it may be
    put(tmp_path / "train/masks/2.png", mask)
    changed = opened(tmp_path)
    assert len(looks) == 8 + 4
    assert fingerprint(changed.train) != fingerprint(first.train)
    assert fingerprint(changed.val) == fingerprint(first.val)
    assert (mask_statistics(changed.train, 3).pixels - mask_statistics(first.train, 3).pixels).tolist() == [-1, 1, 0]


def test_a_cache_that_is_damaged_or_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    first = opened(spoilt(tmp_path))
    kept = list(arrays_folder().glob("*.npz"))
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
    assert fingerprint(opened(tmp_path).train) == fingerprint(first.train)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "classes.txt"))
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    assert fingerprint(opened(tmp_path).train) == fingerprint(first.train)


def test_statistics_are_those_of_a_loop(tmp_path):
    random = np.random.default_rng(0)
    for number in range(6):
        put(tmp_path / "images" / f"{number}.png", np.zeros((7, 9, 3)))
        put(tmp_path / "masks" / f"{number}.png", random.choice([0, 1, 2, 3, 255], (7, 9), p=[0.5, 0.2, 0.1, 0.1, 0.1]) * (number % 3 > 0))
    source = opened(tmp_path, classes=tuple("abcde"), val_share=0.2)
    frequencies = np.zeros(5)
    for index in range(5):
        inside = [mask for mask in map(source.train.targets.__getitem__, range(len(source.train))) if (mask == index).any()]
        total = sum((mask != IGNORE).sum() for mask in inside)
        frequencies[index] = sum((mask == index).sum() for mask in inside) / total if inside else np.nan
    expected = np.nan_to_num(np.nanmedian(frequencies) / frequencies)
    assert mask_statistics(source.train, 5).median_frequency_weights() == pytest.approx(expected, abs=1e-12)
    masks = [source.train.targets[index] for index in range(len(source.train))]
    in_memory = ArrayImages("same", np.zeros((len(masks), 7, 9), np.uint8), np.stack(masks))
    for _ in range(2):
        found = mask_statistics(in_memory, 5)
        assert all((getattr(found, name) == getattr(mask_statistics(source.train, 5), name)).all() for name in vars(found))


def test_the_palette_is_the_recipes_the_files_or_pascals(tmp_path):
    spoilt(tmp_path)
    assert opened(tmp_path).palette == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert opened(tmp_path, palette=((1, 1, 1), (2, 2, 2))).palette == ((1, 1, 1), (2, 2, 2), (0, 128, 0))
    for path in sorted(tmp_path.rglob("masks/*.png")):
        image = Image.open(path)
        image.putpalette([9, 8, 7, 6, 5, 4, 3, 2, 1])
        image.save(path)
    assert opened(tmp_path).palette == ((9, 8, 7), (6, 5, 4), (3, 2, 1))


def test_one_number_of_the_mean_makes_images_grey(tmp_path):
    source = opened(spoilt(tmp_path), mean=(0.5,), std=(0.25,), image_size=64)
    assert (source.input.channels, source.input.mean, source.input.size) == (1, (0.5,), 64)
    assert opened(tmp_path).input.size == 32
