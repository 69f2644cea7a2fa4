"""Shards give the images of the folder that they were made of; what is wrong with them is one line."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.shards.made_folder import open_folder, open_shards
from senet.data.delivery import DataError
from senet.data.fingerprint import fingerprint
from senet.data.loaders import train_loader
from senet.data.recognised import recognised
from senet.data.source import open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe


def test_images_are_those_of_the_folder_in_its_order(folder: Path, shards: Path) -> None:
    one, other = open_folder(folder), open_shards(shards)
    assert (one.classes, one.input) == (other.classes, other.input)
    for images, sharded in ((one.train, other.train), (one.val, other.val)):
        assert [images.targets[i] for i in range(len(images))] == [sharded.targets[i] for i in range(len(sharded))]
        for index in range(len(images)):
            assert np.array_equal(np.asarray(images.read(index)), np.asarray(sharded.read(index)))
            assert images.describe(index) == sharded.describe(index)


@pytest.mark.parametrize("sampler", ["shuffle", "class_aware"])
def test_batches_are_those_of_the_folder_bit_for_bit(folder: Path, shards: Path, sampler: str) -> None:
    recipe = DataRecipe(image_size=8, crop="pad", flip=True, batch_size=8, workers=0, sampler=sampler)  # pyright: ignore[reportArgumentType]
    loaders = [train_loader(source, recipe, seed=3) for source in (open_folder(folder), open_shards(shards))]
    for one, other in zip(*(loader.epoch(1) for loader in loaders), strict=True):
        assert one.images.equal(other.images)
        assert one.targets.equal(other.targets)


def test_the_fingerprint_tells_images_apart_and_not_places(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "copy")
    one, other = open_shards(shards), open_shards(tmp_path / "copy")
    assert fingerprint(one.train) == fingerprint(other.train) != fingerprint(one.val)


def test_a_folder_of_shards_is_recognised(shards: Path) -> None:
    assert recognised(str(shards)) == "shards"


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def edited(**fields: object) -> Callable[[Path], object]:
    def edit(root: Path) -> None:
        path = root / "shards.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return edit


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda root: (root / "shards.json").unlink(), "has no shards.json; `senet shards build ROOT DIR` writes it at its end"),
    "no shard": (lambda root: (root / "val-000001.tar").unlink(), "val-000001.tar is missing; copy it again"),
    "short shard": (lambda root: (root / "train-000000.tar").write_bytes(b"x"), "train-000000.tar has 1 bytes, and "),
    "other index": (lambda root: shutil.copy(root / "val.npz", root / "train.npz"), "train.npz has "),
    "newer": (edited(version=2), "is of version 2, and this senet reads 1; install a newer one"),
    "other task": (edited(task="poetry"), "shards.json: task: expected one of 'classification', 'segmentation', 'detection', got 'poetry'"),
    "fewer classes": (edited(classes=["cat", "dog"]), "class_counts must be 2 numbers that sum up to 36"),
    "a path for a file": (
        lambda root: edit_text(root / "shards.json", '"train-000000.tar"', '"../secret.tar"'),
        "the name of a file of 1 to 100 characters, got '../secret.tar'",
    ),
}


def edit_text(path: Path, before: str, after: str) -> None:
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_before_training(copy: Path, fault: str) -> None:
    make, words = FAULTS[fault]
    make(copy)
    with pytest.raises(UsageError, match=re.escape(words)) as raised:
        open_shards(copy)
    assert "\n" not in str(raised.value)


def test_an_index_with_a_flipped_bit_is_refused(copy: Path) -> None:
    content = bytearray((copy / "train.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "train.npz").write_bytes(content)
    with pytest.raises(UsageError, match=re.escape("is not what shards.json says by its SHA-256")):
        open_shards(copy)


def test_a_shard_that_is_lost_in_training_ends_the_run_and_is_not_replaced_by_other_images(copy: Path) -> None:
    loader = train_loader(open_shards(copy), DataRecipe(image_size=8, batch_size=12, workers=0), seed=0)
    for path in copy.glob("train-*.tar"):
        path.unlink()
    with pytest.raises(DataError, match=r"train-\d+.tar cannot be read: .*; bring it back, then resume"):
        next(loader.epoch(0))


@pytest.mark.parametrize(
    ("root", "words"),
    [
        (None, "shards needs --data.root DIR, a folder that `senet shards build` wrote, or its address: s3://bucket/folder"),
        ("nowhere", "data.root 'nowhere' is not a folder"),
        ("ftp://server/photos", "must be a folder, or begin with one of s3://, gs://, http://, https://"),
    ],
)
def test_what_is_no_place_of_shards_is_refused(root: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        open_data(DataRecipe(name="shards", root=root))


def test_images_of_a_folder_have_no_shards_to_go_by(folder: Path) -> None:
    loader = train_loader(open_folder(folder), DataRecipe(image_size=8, batch_size=12, workers=0, sampler="by_shard"), seed=0)
    with pytest.raises(UsageError, match=r"data\.sampler 'by_shard' is for images in shards, data\.name shards, and these are not"):
        next(loader.epoch(0))
