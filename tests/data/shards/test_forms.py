"""Masks and boxes in shards are those of the folder, of whatever format; what they mean is settled when shards are built."""

import hashlib
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.testing import assert_close

from data.coco.made_coco import write_panoptic, write_semantic
from data.made_boxes import voc_object, write_voc, write_yolo
from data.shards.made_folder import open_shards, write_masks
from senet.data.boxes import Boxes
from senet.data.loaders import train_loader
from senet.data.mask_statistics import MaskStatistics, mask_statistics
from senet.data.shards.build import Build, build_shards
from senet.data.shards.check import check_shards
from senet.data.shards.mask_form import ShardMasks
from senet.data.shards.source import said_of
from senet.data.source import DataSource, UnreadableImageError, open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe, build_recipe, load_recipe
from senet.tasks.registry import open_task


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def write_xml(root: Path) -> Path:
    objects = {"a": [voc_object("cat", (1, 1, 5, 6)), voc_object("dog", (3, 3, 9, 9), "<difficult>1</difficult>")], "b": []}
    return write_voc(root, {**objects, "c": [voc_object("dog", (2, 2, 20, 10))]}, {"train": "a\nb", "val": "c"})


def write_polygons(root: Path) -> Path:
    return write_yolo(root, {"1": "0 0.1 0.1 0.5 0.1 0.5 0.9\n1 0.5 0.5 0.2 0.2\n", "2": ""}, {"3": "1 0.5 0.5 0.2 0.2\n"})


def write_boxed(root: Path) -> Path:
    for path in (write_semantic(root) / "annotations").glob("*.json"):
        tree = json.loads(path.read_text())
        for entry in tree["annotations"]:
            entry["bbox"] = [1, 1, 3, 3] if entry["category_id"] == 3 else [0, 0, 8, 3]
        path.write_text(json.dumps(tree))
    return root


FOLDERS: dict[str, tuple[Callable[[Path], Path], dict[str, object], str]] = {
    "masks": (write_masks, {"masks": "instances", "classes": ("background", "cell"), "ignore_index": 255}, "segmentation"),
    "coco_semantic": (write_semantic, {}, "segmentation"),
    "coco_panoptic": (write_panoptic, {}, "segmentation"),
    "coco_boxes": (write_boxed, {}, "detection"),
    "voc": (write_xml, {"classes": ("dog", "cat")}, "detection"),
    "yolo": (write_polygons, {}, "detection"),
}


def built(root: Path, name: str, out: Path) -> tuple[DataSource, Build, DataRecipe]:
    """Write a folder of a kind and its shards, of about two images each; return the folder's source, the build and the recipe."""
    write, fields, _ = FOLDERS[name]
    recipe = replace(DataRecipe(name=name, root=str(write(root))), **fields)
    source = open_data(recipe)
    return source, build_shards(source, out, said=said_of(recipe), shard_bytes=4000, workers=2), recipe


def assert_equal_targets(one: object, other: object) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    elif isinstance(one, Boxes):
        for name, value in vars(one).items():
            same = np.array_equal(value, getattr(other, name)) if isinstance(value, np.ndarray) else value == getattr(other, name)
            assert same, name


@pytest.mark.parametrize("name", FOLDERS)
def test_images_targets_and_all_that_is_known_of_them_are_those_of_the_folder(tmp_path: Path, name: str) -> None:
    source, build, _ = built(tmp_path / "folder", name, tmp_path / "out")
    assert build.empty == ()
    assert check_shards(tmp_path / "out") == build.manifest
    shards = open_shards(tmp_path / "out")
    assert (shards.classes, shards.input, shards.palette) == (source.classes, source.input, source.palette)
    for images, sharded in ((source.train, shards.train), (source.val, shards.val)):
        assert len(images) == len(sharded)
        for index in range(len(images)):
            assert images.describe(index) == sharded.describe(index)
            assert np.array_equal(np.asarray(images.read(index)), np.asarray(sharded.read(index)))
            assert_equal_targets(images.targets[index], sharded.targets[index])
    if build.manifest.task == "segmentation":
        counts = [mask_statistics(part.train, len(source.classes)) for part in (source, shards)]
        assert all(np.array_equal(getattr(counts[0], what), getattr(counts[1], what)) for what in vars(counts[0]))


@pytest.mark.parametrize(("name", "recipe"), [("masks", "segmentation"), ("voc", "detection")])
def test_augmented_samples_of_a_task_are_those_of_the_folder_bit_for_bit(tmp_path: Path, name: str, recipe: str) -> None:
    *_, data = built(tmp_path / "folder", name, tmp_path / "out")
    task = open_task(load_recipe(recipe))
    batches = []
    for place in ({}, {"name": "shards", "root": str(tmp_path / "out")}):
        sampled = replace(data, batch_size=2, workers=0, flip=True, **place)
        batches.append(next(train_loader(task.open(sampled), sampled, task, seed=3).epoch(1)))
    one, other = batches
    assert all(a.equal(b) for a, b in zip(one.images, other.images, strict=True))
    assert_close(one.targets, other.targets, rtol=0, atol=0)
    assert one.indices == other.indices


def test_a_tar_holds_each_image_under_one_key_with_a_mask_or_with_annotations_of_coco(tmp_path: Path) -> None:
    built(tmp_path / "cells", "masks", tmp_path / "masks")
    built(tmp_path / "pets", "voc", tmp_path / "boxes")
    with tarfile.open(tmp_path / "masks" / "val-000000.tar") as tar:
        assert tar.getnames()[:2] == ["000000000.png", "000000000.mask.png"]
    with tarfile.open(tmp_path / "boxes" / "val-000000.tar") as tar:
        opened = tar.extractfile("000000000.json")
        assert opened is not None
        (annotation,) = json.load(opened)
    assert (annotation["category_id"], annotation["bbox"]) == (1, [1.0, 1.0, 19.0, 9.0])


def test_a_mask_that_cannot_be_read_counts_as_unreadable_as_in_a_folder(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "cells")
    (root / "train" / "masks" / "3.png").write_bytes(b"no mask")
    build = build_shards(open_data(DataRecipe(name="masks", root=str(root), masks="instances", max_corrupt=0.5)), tmp_path / "out")
    assert build.empty == ("train/images/3.png",)
    with pytest.raises(UnreadableImageError, match=r"mask of train/images/3\.png: is damaged, or no image"):
        open_shards(tmp_path / "out").train.targets[3]


def test_what_masks_mean_is_settled_when_shards_are_built(tmp_path: Path) -> None:
    *_, recipe = built(tmp_path / "folder", "masks", tmp_path / "out")
    same = replace(recipe, name="shards", root=str(tmp_path / "out"))
    assert open_data(same).classes == ("background", "cell")
    with pytest.raises(UsageError, match=r"data\.masks is settled when shards are built, and was instances then, got index; leave it out"):
        open_data(replace(same, masks="index"))
    with pytest.raises(UsageError, match=r"data\.label_map is settled when shards are built, and was left out then"):
        open_data(replace(same, label_map={0: 0, 255: 1}))


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((2, 3), 2, np.uint8), "holds class 2, and there are 2"),
        (np.zeros((3, 2), np.uint8), "has 2 x 3 pixels, and its image 3 x 2"),
        (np.zeros((2, 3), np.uint16), "holds no class indices"),
    ],
)
def test_a_forged_mask_counts_as_unreadable(pixels: np.ndarray, words: str) -> None:
    file, counts = BytesIO(), np.ones(2, np.int64)
    Image.fromarray(pixels).save(file, "png")
    masks = ShardMasks(np.array([[3, 2]]), MaskStatistics(counts, counts, counts), lambda index: file.getvalue(), str, 100)
    with pytest.raises(UnreadableImageError, match=f"mask of 0: {words}"):
        masks[0]


@pytest.mark.parametrize(("name", "task"), [("voc", "segmentation"), ("voc", "classification"), ("masks", "detection")])
def test_shards_of_another_task_are_refused(tmp_path: Path, name: str, task: str) -> None:
    _, build, _ = built(tmp_path / "folder", name, tmp_path / "out")
    recipe = build_recipe({"task": task, "data": {"name": "shards", "root": str(tmp_path / "out")}})
    with pytest.raises(UsageError, match=rf"the shards hold \w+, which {build.manifest.task} learns, and {task} needs \w+"):
        open_task(recipe).open(recipe.data)


def relabelled(values: np.ndarray) -> np.ndarray:
    return values + 7


@pytest.mark.parametrize(
    ("name", "array", "change"),
    [
        ("voc", "box_labels", relabelled),
        ("voc", "box_starts", relabelled),
        ("voc", "box_starts", lambda values: values[:-1]),
        ("voc", "box_xyxy", lambda values: values * np.nan),
        ("voc", "box_xyxy", lambda values: values + 1000),
        ("yolo", "box_outline_ends", relabelled),
        ("yolo", "box_outlines", lambda values: values[::-1]),
        ("yolo", "box_outlines", lambda values: values.astype(np.uint32)),
        ("masks", "image_sizes", np.negative),
        ("masks", "target_sizes", lambda values: values + 10**6),
    ],
)
def test_an_index_that_says_what_cannot_be_is_refused(tmp_path: Path, name: str, array: str, change: Callable) -> None:
    built(tmp_path / "folder", name, tmp_path / "out")
    path, manifest = tmp_path / "out" / "train.npz", tmp_path / "out" / "shards.json"
    with np.load(path) as file:
        arrays = {key: change(values) if key == array else values for key, values in file.items()}
    before = path.read_bytes()
    np.savez_compressed(path, **arrays)
    text = manifest.read_text().replace(hashlib.sha256(before).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest())
    manifest.write_text(re.sub(rf'"bytes": {len(before)}\b', f'"bytes": {path.stat().st_size}', text))
    with pytest.raises(UsageError, match=r"train\.npz (names shards, classes or targets that there are not|says that images lie beyond)"):
        open_shards(tmp_path / "out")
