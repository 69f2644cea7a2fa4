import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from senet.data.source import open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe


def cifar10(root, **changes):
    return open_data(DataRecipe(name="cifar10", root=None if root is None else str(root), **changes))


@pytest.fixture
def copy(cifar10_small, tmp_path):
    shutil.copytree(cifar10_small, tmp_path / "root")
    return tmp_path / "root"


def test_reads_what_the_files_hold(cifar10_small, shared_data):
    source = cifar10(cifar10_small)
    labels = np.load(shared_data / "cifar10" / "labels_test.npy")
    assert np.array_equal(np.asarray(source.train.targets), labels[:1500])
    assert np.array_equal(np.asarray(source.val.targets), labels[1500:2000])
    assert source.classes[3] == "cat"
    assert (source.input.size, source.input.resize, source.input.channels) == (32, 32, 3)
    assert source.train.read(0).mode == "RGB"
    assert source.val.describe(7) == "cifar10 val image 7"


def test_agrees_with_torchvision(cifar10_small):
    class Unchecked(datasets.CIFAR10):  # the small set has other checksums than the whole one
        train_list = [[name, None] for name, _ in datasets.CIFAR10.train_list]
        test_list = [[name, None] for name, _ in datasets.CIFAR10.test_list]
        meta = {**datasets.CIFAR10.meta, "md5": None}

    source = cifar10(cifar10_small)
    for train, images in ((True, source.train), (False, source.val)):
        theirs = Unchecked(str(cifar10_small), train=train)
        assert list(source.classes) == theirs.classes
        assert theirs.targets == np.asarray(images.targets).tolist()
        for index in (0, 1, len(images) - 1):
            assert np.array_equal(np.asarray(images.read(index)), np.asarray(theirs[index][0]))


@pytest.mark.slow
def test_whole_data_set_has_the_known_pixels(cifar10_root, shared_data):
    source = cifar10(cifar10_root, num_classes=10)
    assert (len(source.train), len(source.val)) == (50_000, 10_000)
    known = json.loads((shared_data / "cifar10" / "meta.json").read_text())["sheets"]
    for part, images in (("train_1", source.train), ("train_5", source.train), ("test_a", source.val), ("test_b", source.val)):
        first, last = known[part]["start"], known[part]["start"] + known[part]["count"]
        pixels = np.stack([np.asarray(images.read(index)) for index in range(first, last)])
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == known[part]["sha256_pixels"]
    pixels = np.stack([np.asarray(source.train.read(index)) for index in range(50_000)]) / 255
    np.testing.assert_allclose(source.input.mean, pixels.mean((0, 1, 2)), atol=5e-4)
    np.testing.assert_allclose(source.input.std, pixels.std((0, 1, 2)), atol=5e-4)


def test_cifar100_files(cifar10_small, tmp_path):
    """CIFAR-100's files differ in their names and keys only."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    batch = pickle.loads((cifar10_small / "cifar-10-batches-py" / "test_batch").read_bytes())
    for name in ("train", "test"):
        content = {"data": batch["data"], "fine_labels": batch["labels"], "coarse_labels": [0] * 500}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    names = [f"class {i}" for i in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names, "coarse_label_names": []}, protocol=2))
    source = open_data(DataRecipe(name="cifar100", root=str(tmp_path), num_classes=100))
    assert source.classes == tuple(names)
    assert np.asarray(source.train.targets).tolist() == batch["labels"]


def test_no_root_names_the_flags():
    with pytest.raises(UsageError, match=r"^cifar10 needs a folder: give --data.root DIR, and --data.download true"):
        cifar10(None)


def test_an_address_is_no_folder_to_fetch_into():
    with pytest.raises(UsageError, match=r"^data.root 's3://bucket/set' is an address; cifar10 is fetched into a folder"):
        open_data(DataRecipe(name="cifar10", root="s3://bucket/set", download=True))


def test_missing_files_are_named(tmp_path, copy):
    with pytest.raises(UsageError, match=r"cifar-10-batches-py lacks data_batch_1, .*; add --data.download true"):
        cifar10(tmp_path / "nowhere")
    (copy / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(UsageError, match=r"lacks data_batch_3 of cifar10; add"):
        cifar10(copy)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"<html>not found</html>", lambda data: b""])
def test_damaged_file_is_named_in_one_line(copy, damage):
    file = copy / "cifar-10-batches-py" / "data_batch_2"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UsageError, match=r"data_batch_2 is damaged \(.*\); remove it and add --data.download true") as caught:
        cifar10(copy)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_cifar_are_refused(copy):
    (copy / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps({"data": np.zeros((4, 10), np.uint8), "labels": [0] * 4}))
    with pytest.raises(UsageError, match=r"test_batch does not hold 32 x 32 images"):
        cifar10(copy)


@pytest.mark.parametrize(
    ("file", "field", "value", "words"),
    [
        ("test_batch", "labels", [10] * 500, "test_batch has labels other than 0 to 9"),
        ("test_batch", "labels", None, "test_batch does not hold 32 x 32 images"),
        ("batches.meta", "label_names", [1, 2], "batches.meta does not name classes"),
    ],
)
def test_fields_that_say_something_else_are_refused(copy, file, field, value, words):
    path = copy / "cifar-10-batches-py" / file
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) | {field: value}, protocol=2))
    with pytest.raises(UsageError, match=words):
        cifar10(copy)


def test_a_pickle_cannot_run_code(copy, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (copy / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps({"data": Bomb(), "labels": []}, protocol=2))
    with pytest.raises(UsageError, match=r"data_batch_1 is damaged \(it names posix\.mkdir\)"):
        cifar10(copy)
    assert not (tmp_path / "ran").exists()


def test_failed_download_is_one_line(tmp_path):
    root = tmp_path / "file"
    root.write_text("not a folder")
    with pytest.raises(UsageError, match=r"could not fetch CIFAR10 into .*file") as caught:
        cifar10(root, download=True)
    assert "\n" not in str(caught.value)
    assert Path(root).is_file()
