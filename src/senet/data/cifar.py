"""CIFAR-10 and CIFAR-100 from their canonical Python files; torchvision fetches them."""

import pickle
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from sys import stderr
from typing import Any

import numpy as np

from senet.data.source import ArrayImages, DataSource, input_spec
from senet.errors import UsageError, reason_of
from senet.file_kind import user_path
from senet.recipe import DataRecipe


@dataclass(frozen=True)
class Canonical:
    """Files of one of the two data sets, and its statistics.

    Args:
        folder: folder inside the root.
        train: files of training images.
        val: files of test images.
        labels: key of the labels in each file.
        meta: file of the class names, and their key.
        mean: mean per channel, as published with fb.resnet.torch.
        std: standard deviation per channel, likewise.
        dataset: torchvision's class that fetches it.
    """

    folder: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    labels: str
    meta: tuple[str, str]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dataset: str


CANONICAL = {
    "cifar10": Canonical(
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{i}" for i in range(1, 6)),
        val=("test_batch",),
        labels="labels",
        meta=("batches.meta", "label_names"),
        mean=(125.3 / 255, 123.0 / 255, 113.9 / 255),
        std=(63.0 / 255, 62.1 / 255, 66.7 / 255),
        dataset="CIFAR10",
    ),
    "cifar100": Canonical(
        folder="cifar-100-python",
        train=("train",),
        val=("test",),
        labels="fine_labels",
        meta=("meta", "fine_label_names"),
        mean=(129.3 / 255, 124.1 / 255, 112.4 / 255),
        std=(68.2 / 255, 65.4 / 255, 70.4 / 255),
        dataset="CIFAR100",
    ),
}


def open_source(recipe: DataRecipe) -> DataSource:
    """Open CIFAR-10 or CIFAR-100 in the recipe's root, after fetching it there if the recipe says so.

    Raises:
        UsageError: if files are missing or are not CIFAR's, or fetching them failed.
    """
    layout = CANONICAL[recipe.name]
    if recipe.root is None:
        raise UsageError(f"{recipe.name} needs a folder: give --data.root DIR, and --data.download true if it is not there yet")
    if recipe.download:
        _download(layout.dataset, recipe.root)
    folder = user_path(recipe.root) / layout.folder
    missing = [name for name in (*layout.train, *layout.val, layout.meta[0]) if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"{folder} lacks {', '.join(missing)} of {recipe.name}; add --data.download true to fetch the data set there")
    file, key = layout.meta
    return DataSource(
        name=recipe.name,
        train=_images(f"{recipe.name} train", folder, layout.train, layout.labels),
        val=_images(f"{recipe.name} val", folder, layout.val, layout.labels),
        classes=tuple(_field(folder / file, key)),
        input=input_spec(recipe, size=32, mean=layout.mean, std=layout.std),
    )


def _download(dataset: str, root: str) -> None:
    from torchvision import datasets

    try:
        with redirect_stdout(stderr):  # stdout belongs to a command's result
            getattr(datasets, dataset)(str(user_path(root)), download=True)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"could not fetch {dataset} into {root}: {reason_of(error)}") from error


def _images(name: str, folder: Path, files: tuple[str, ...], label_key: str) -> ArrayImages:
    pixels, labels = [], []
    for file in files:
        rows, values = _field(folder / file, "data"), _field(folder / file, label_key)
        if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape != (len(values), 3072):
            raise UsageError(f"{folder / file} does not hold 32 x 32 images as CIFAR's files do; remove the folder and fetch it again")
        pixels.append(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(np.asarray(values, np.int64))
    return ArrayImages(name, np.ascontiguousarray(np.concatenate(pixels)), np.concatenate(labels))


def _field(path: Path, key: str) -> Any:
    try:
        with path.open("rb") as file:
            return _ArraysOnly(file, encoding="latin1").load()[key]
    except Exception as error:  # a damaged pickle can raise anything
        raise UsageError(f"{path} is damaged ({reason_of(error)}); remove it and add --data.download true") from error


class _ArraysOnly(pickle.Unpickler):
    """Reader of pickles of NumPy arrays and plain data; anything else in them is refused, not run."""

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "encode"})

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("numpy", "_codecs") and name in self.ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")
