"""Volumes in a folder are slices or patches of three dimensions, split by volume; what cannot work is said in one line before training."""

import json
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.volumes.made_volumes import SHAPE, ball, turned_affine, write_case, write_volume
from senet.data.fingerprint import fingerprint
from senet.data.kept import arrays_folder
from senet.data.mask_statistics import mask_statistics
from senet.data.masks import IGNORE
from senet.data.recognised import recognised
from senet.data.source import DataSource, UnreadableImageError, open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe, VolumeRecipe


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def opened(root: Path, recipe: DataRecipe | None = None, **volumes: object) -> DataSource:
    recipe = recipe or DataRecipe()
    return open_data(replace(recipe, name="volumes", root=str(root), volumes=VolumeRecipe(**volumes)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(5):
        write_case(tmp_path / "data", number)
    return tmp_path / "data"


def test_slices_of_whole_volumes_are_held_out(folder: Path) -> None:
    source = opened(folder, plane="coronal")
    assert source.classes == ("background", "1", "2")
    assert (source.input.channels, source.input.mean, source.input.std) == (1, (0.0,), (1.0,))
    assert (len(source.train), len(source.val)) == (4 * 14, 14)
    names = [{part.describe(index).split()[0] for index in range(len(part))} for part in (source.train, source.val)]
    assert len(names[0]) == 4
    assert not names[0] & names[1]
    image, mask = source.train.read(20), source.train.targets[20]
    assert (image.dtype, image.shape, mask.dtype, mask.shape) == (np.float32, (12, 16, 1), np.uint8, (12, 16))
    assert source.train.describe(20) == f"{source.train.group_names[1]} coronal 6"
    assert source.train.groups.tolist() == [case for case in range(4) for _ in range(14)]


def test_values_keep_their_depth_and_labels_lie_on_them(folder: Path) -> None:
    source = opened(folder, plane="sagittal", intensity="none")
    images = np.stack([source.val.read(index)[..., 0] for index in range(len(source.val))])
    masks = np.stack([source.val.targets[index] for index in range(len(source.val))])
    assert len(np.unique(images)) > 260, "more values than 8 bits have"
    assert images[masks == 2].min() > images[masks == 0].max()


def test_named_volumes_are_held_out_and_never_trained_on(folder: Path) -> None:
    source = opened(folder, val=("case1", "case3"))
    assert list(source.val.group_names) == ["case1", "case3"]
    assert list(source.train.group_names) == ["case0", "case2", "case4"]
    with pytest.raises(UsageError, match=r"names 1 volumes that are not there: case9"):
        opened(folder, val=("case1", "case9"))
    with pytest.raises(UsageError, match=r"none is for train"):
        opened(folder, val=tuple(f"case{number}" for number in range(5)))


def test_a_folder_may_say_the_split(tmp_path: Path) -> None:
    for number in range(3):
        write_case(tmp_path / ("val" if number == 2 else "train"), number)
    source = opened(tmp_path)
    assert [list(part.group_names) for part in (source.train, source.val)] == [["case0", "case1"], ["case2"]]
    write_case(tmp_path / "val", 0)
    with pytest.raises(UsageError, match=r"1 volumes are for training and for validation, such as case0"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test", "Valid"])
@pytest.mark.parametrize("form", ["{split}/images", "images/{split}"])
def test_a_split_may_have_each_name_that_it_has_for_masks(tmp_path: Path, name: str, form: str) -> None:
    for number in range(3):
        split = name if number == 2 else "train"
        write_case(tmp_path, number, form.format(split=split), form.replace("images", "labels").format(split=split))
    assert recognised(str(tmp_path)) == "volumes"
    source = opened(tmp_path)
    assert [list(part.group_names) for part in (source.train, source.val)] == [["case0", "case1"], ["case2"]]


def test_volumes_beside_folders_of_splits_are_those_that_are_read(folder: Path) -> None:
    for split in ("train", "val"):
        (folder / split / "images").mkdir(parents=True)
        (folder / split / "labels").mkdir()
    assert len(opened(folder).train.group_names) == 4


@pytest.mark.parametrize("volumes", [{"plane": "coronal"}, {"empty": 0.0}, {"patch": (4, 4, 4), "patches": 3}])
@pytest.mark.parametrize("recipe", [DataRecipe(), DataRecipe(label_map={0: 1, 1: 0, 2: None}), DataRecipe(label_map={0: 0, "others": 1})])
def test_classes_are_counted_as_labels_are_and_nothing_is_read_again(
    folder: Path, volumes: dict, recipe: DataRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = opened(folder, recipe, spacing=(1.5, 1.5, 1.5), **volumes).train
    classes = 3 if recipe.label_map is None else 2
    masks = [images.targets[index] for index in range(len(images))]
    monkeypatch.setattr("senet.data.volumes.reading.read_labels", lambda header: pytest.fail("read again"))
    found = mask_statistics(opened(folder, recipe, spacing=(1.5, 1.5, 1.5), **volumes).train, classes)
    for index in range(classes):
        held = [mask for mask in masks if (mask == index).any()]
        assert found.pixels[index] == sum((mask == index).sum() for mask in held)
        assert found.images[index] == len(held)
        assert found.image_pixels[index] == sum((mask != IGNORE).sum() for mask in held)


def test_the_layout_of_nnunet_has_channels_and_names(tmp_path: Path) -> None:
    for number in range(3):
        write_case(tmp_path, number, "imagesTr", "labelsTr", channels=2)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "organ": 1, "ignore": 2}, "channel_names": {"0": "T1"}}))
    source = opened(tmp_path, slices=3)
    assert source.classes == ("background", "organ")
    assert source.input.channels == 6
    assert set(np.unique(source.train.targets[6])) == {0, 1, IGNORE}
    first, middle, last = (opened(tmp_path).train.read(index) for index in (0, 1, 2))
    assert np.array_equal(source.train.read(1), np.concatenate([first, middle, last], 2))
    assert np.array_equal(source.train.read(0), np.concatenate([first, first, middle], 2)), "the outermost slice is repeated"
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "nothing", "1": "organ", "2": "lesion"}}))
    assert opened(tmp_path).classes == ("nothing", "organ", "lesion")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "both": [1, 2]}}))
    with pytest.raises(UsageError, match=r"label both is a region of several values"):
        opened(tmp_path)


def test_labels_become_classes_by_a_map(folder: Path) -> None:
    source = opened(folder, DataRecipe(label_map={0: 0, 2: 1, "others": None}, classes=("rest", "spot")), intensity="none")
    masks = np.stack([source.val.targets[index] for index in range(len(source.val))])
    assert source.classes == ("rest", "spot")
    assert set(np.unique(masks)) == {0, 1, IGNORE}
    alone = opened(folder, DataRecipe(ignore_index=2, classes=("organ",)))
    assert alone.classes == ("background", "organ")
    assert alone.notes[-1].endswith("one class is named, organ: label 0 is the class background, which comes before it")
    with pytest.raises(UsageError, match=r"have labels that are no class \(2: \d+ voxels\), where 0 to 1 are"):
        opened(folder, DataRecipe(classes=("a", "b")))


def test_labels_that_are_no_series_are_numbered(tmp_path: Path) -> None:
    for number in range(3):
        write_case(tmp_path, number)
        labels = tmp_path / "labels" / f"case{number}.nii.gz"
        write_volume(labels, np.where(ball(SHAPE, (5, 8, 7), 4), 1041, 0).astype(np.int32), turned_affine())
    source = opened(tmp_path)
    assert source.classes == ("0", "1041")
    assert {int(value) for index in range(len(source.val)) for value in np.unique(source.val.targets[index])} == {0, 1}


@pytest.mark.parametrize(("share", "kept"), [(1.0, 14), (0.0, 9), (0.4, 11)])
def test_slices_without_foreground_may_be_left_out_of_training(share: float, kept: int, folder: Path) -> None:
    source = opened(folder, plane="coronal", empty=share)
    held = [source.train.targets[index].any() for index in range(len(source.train))]
    assert len(held) == 4 * kept
    assert sum(held) == 4 * 9
    assert len(source.val) == 14, "a volume's Dice is that of all of its slices"


def test_resampled_volumes_have_the_spacing_asked_for(folder: Path) -> None:
    source = opened(folder, plane="axial", spacing=(1.0, 1.0, 1.0))
    assert source.val.read(0).shape == (42, 32, 1), "posterior 14 x 3 mm, right 16 x 2 mm"
    assert source.val.targets[0].shape == (42, 32)
    assert len(source.val) == 12


@pytest.mark.parametrize(
    ("volumes", "data", "low", "high"),
    [
        ({"intensity": "percentiles", "percentiles": (1.0, 99.0)}, {}, 0, 1),
        ({"intensity": "window"}, {"range": (0.0, 1500.0)}, 0, 1),
        ({"intensity": "none"}, {}, -600, 2500),
    ],
)
def test_intensities_are_those_asked_for(volumes: dict, data: dict, low: float, high: float, folder: Path) -> None:
    source = opened(folder, DataRecipe(**data), **volumes)
    values = np.stack([source.val.read(index) for index in range(len(source.val))])
    if volumes["intensity"] == "none":
        assert low < values.min() < 0 < 2000 < values.max() < high
    else:
        assert (values.min(), values.max()) == (low, high)


def test_a_volume_is_normalised_by_all_of_its_voxels(folder: Path) -> None:
    source = opened(folder)
    values = np.stack([source.val.read(index) for index in range(len(source.val))]).astype(np.float64)
    assert values.mean() == pytest.approx(0, abs=1e-6)
    assert values.std() == pytest.approx(1, abs=1e-6)


def test_a_network_of_three_dimensions_gets_whole_volumes(folder: Path) -> None:
    source = opened(folder, plane="coronal", patch=(4, 8, 8), patches=3)
    assert (len(source.train), len(source.val), source.patch) == (12, 1, (4, 8, 8))
    assert source.val.read(0).shape == (14, 12, 16, 1)
    assert source.val.targets[0].shape == (14, 12, 16)
    slices = opened(folder, plane="coronal")
    assert np.array_equal(source.val.read(0)[5], slices.val.read(5))


def test_what_is_kept_in_memory_is_bounded_and_not_sent_to_other_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENET_CACHE_GB", "0")
    source = opened(folder)
    source.train.volumes.room = 0
    read = [source.train.read(index) for index in (0, 40, 0)]
    assert np.array_equal(read[0], read[2])
    assert len(source.train.volumes._kept) == 1
    roomy = opened(folder)
    assert np.array_equal(roomy.train.read(0), read[0])
    assert np.array_equal(roomy.train.targets[0], source.train.targets[0])
    assert len(roomy.train.volumes._kept) == 2
    sent = pickle.loads(pickle.dumps(roomy.train))
    assert len(sent.volumes._kept) == 0
    assert np.array_equal(sent.read(40), read[1])


PREPARED = {"spacing": (1.5, 1.5, 1.5), "intensity": "percentiles"}


def all_values(source: DataSource) -> list[np.ndarray]:
    return [
        values for part in (source.train, source.val) for index in range(len(part)) for values in (part.read(index), part.targets[index])
    ]


def test_prepared_volumes_are_kept_on_disk_and_are_what_they_were(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENET_CACHE_GB", "0")
    wanted = all_values(opened(folder, **PREPARED))
    assert not (arrays_folder() / "volumes").exists()
    monkeypatch.delenv("SENET_CACHE_GB")
    first = opened(folder, **PREPARED)
    found = all_values(first)
    for name in ("read_values", "read_labels"):
        monkeypatch.setattr(f"senet.data.volumes.reading.{name}", lambda header: pytest.fail("prepared again"))
    again = all_values(opened(folder, **PREPARED))
    assert len(wanted) == len(found) == len(again)
    assert all(np.array_equal(one, two) and np.array_equal(one, three) for one, two, three in zip(wanted, found, again, strict=True))
    assert not first.train.volumes._kept, "what is mapped takes no memory of its own"
    assert Counter(path.suffix for path in (arrays_folder() / "volumes").iterdir()) == {".npy": 10, ".lock": 10}
    assert (arrays_folder() / "volumes").stat().st_mode & 0o077 == 0, "scans are the user's alone"


@pytest.mark.parametrize(
    ("recipe", "volumes"),
    [
        (DataRecipe(), {"plane": "coronal"}),
        (DataRecipe(), {"spacing": (2.0, 1.5, 1.5)}),
        (DataRecipe(), {"percentiles": (2.0, 98.0)}),
        (DataRecipe(), {"intensity": "zscore"}),
        (DataRecipe(range=(0.0, 900.0)), {"intensity": "window"}),
        (DataRecipe(label_map={0: 1, 1: 0, 2: 0}), {}),
        (DataRecipe(ignore_index=2), {}),
    ],
)
def test_another_recipe_has_volumes_of_its_own(recipe: DataRecipe, volumes: dict, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_values(opened(folder, **PREPARED))
    found = all_values(opened(folder, recipe, **PREPARED | volumes))
    monkeypatch.setenv("SENET_CACHE_GB", "0")
    wanted = all_values(opened(folder, recipe, **PREPARED | volumes))
    assert all(np.array_equal(one, two) for one, two in zip(found, wanted, strict=True))


def test_another_file_is_prepared_anew(folder: Path) -> None:
    before = opened(folder, intensity="none").val.read(3)
    path = opened(folder).val.volumes.cases[0].channels[0].path
    write_volume(path, np.full(SHAPE, 7, np.int16), turned_affine())
    assert (opened(folder, intensity="none").val.read(3) == 7).all()
    assert not (before == 7).all()


def test_labels_are_looked_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(opened(folder).train)
    monkeypatch.setattr("senet.data.volumes.label_scan.read_labels", lambda header: pytest.fail("read again"))
    assert fingerprint(opened(folder).train) == before


def test_other_labels_make_another_set(folder: Path) -> None:
    before = [fingerprint(part) for part in (opened(folder).train, opened(folder, plane="coronal").train)]
    source = opened(folder)
    path = source.train.volumes.cases[0].labels.path
    write_volume(
        path,
        np.ascontiguousarray(
            np.flip(source.train.volumes.reading.grid(source.train.volumes.cases[0]).restore(source.train.volumes.mask(0)))
        ),
        turned_affine(),
    )
    assert fingerprint(opened(folder).train) not in before
    assert before[0] != before[1]


def broken(root: Path, what: str) -> None:
    image, label = root / "images" / "case1.nii.gz", root / "labels" / "case1.nii.gz"
    actions = {
        "no label": label.unlink,
        "no image": image.unlink,
        "shape": lambda: write_volume(label, np.zeros((12, 16, 13), np.uint8), turned_affine()),
        "affine": lambda: write_volume(label, np.zeros(SHAPE, np.uint8), np.eye(4)),
        "4-D": lambda: write_volume(image, np.zeros((*SHAPE, 2), np.int16), turned_affine()),
        "no file": lambda: image.write_bytes(b"nothing"),
        "fractions": lambda: write_volume(label, np.full(SHAPE, 0.5, np.float32), turned_affine()),
        "negative": lambda: write_volume(label, np.full(SHAPE, -1, np.int16), turned_affine()),
        "image": lambda: write_volume(label, np.arange(12 * 16 * 14, dtype=np.int16).reshape(SHAPE), turned_affine()),
        "truncated": lambda: label.write_bytes(label.read_bytes()[:-30]),
        "twice": lambda: write_volume(root / "images" / "case1.nii", np.zeros(SHAPE, np.int16), turned_affine()),
    }
    actions[what]()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no label", "1 images without labels in labels: case1"),
        ("no image", "1 labels without an image in images: case1"),
        ("shape", "1 of 5 volumes cannot be used: case1.nii.gz does not lie where case1.nii.gz does: 12 x 16 x 14 voxels against"),
        ("affine", "does not lie where case1.nii.gz does: their affines put corners"),
        ("4-D", "case1.nii.gz has 4 axes"),
        ("no file", "case1.nii.gz is no NIfTI file"),
        ("fractions", "1 label volumes cannot be read: case1.nii.gz has 2688 of 2688 values that are not whole numbers"),
        ("negative", "case1.nii.gz has negative labels, down to -1"),
        ("image", "have more than 1024 values; are they images"),
        ("truncated", "1 label volumes cannot be read: case1.nii.gz"),
        ("twice", "case1.nii and case1.nii.gz have the same name"),
    ],
)
def test_what_cannot_work_is_said_before_training(what: str, message: str, folder: Path) -> None:
    broken(folder, what)
    with pytest.raises(UsageError, match=message) as error:
        opened(folder)
    assert "\n" not in str(error.value)


def test_damaged_voxels_are_unreadable_images(folder: Path) -> None:
    values = np.zeros(SHAPE, np.float32)
    values[0, 0, 0] = np.nan
    source = opened(folder, val=("case1",))
    write_volume(folder / "images" / "case1.nii.gz", values, turned_affine())
    with pytest.raises(UnreadableImageError, match=r"case1.nii.gz: has 1 of 2688 values that are not finite"):
        opened(folder, val=("case1",)).val.read(3)
    assert len(source.val) == 12


@pytest.mark.parametrize(
    ("recipe", "volumes", "message"),
    [
        (DataRecipe(), {"intensity": "window"}, "needs data.range"),
        (DataRecipe(range=(0, 1)), {}, "data.range is for data.volumes.intensity 'window'"),
        (DataRecipe(mean=(0.5,)), {}, "data.mean does not apply to volumes"),
        (DataRecipe(num_classes=2), {}, "labels that are no class"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(recipe: DataRecipe, volumes: dict, message: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=message):
        opened(folder, recipe, **volumes)


def test_a_folder_that_is_not_recognised_is_told_what_it_must_hold(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    with pytest.raises(UsageError, match=r"no volumes are recognised; it must hold imagesTr and labelsTr.*it has: scans"):
        opened(tmp_path)
    with pytest.raises(UsageError, match=r"volumes needs --data.root DIR"):
        open_data(DataRecipe(name="volumes"))


@pytest.mark.parametrize(
    "fields",
    [{"percentiles": (99.0, 1.0)}, {"spacing": (1.0, 0.0, 1.0)}, {"slices": 2}, {"patch": (0, 8, 8)}, {"patch": (8, 8, 8), "slices": 3}],
)
def test_fields_of_volumes_are_checked(fields: dict) -> None:
    with pytest.raises(UsageError, match=r"data.volumes"):
        VolumeRecipe(**fields)
