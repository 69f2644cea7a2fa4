"""CIFAR-10 and CIFAR-100 from their canonical Python files; torchvision fetches them."""

import pickle
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from sys import stderr
from typing import Any

import numpy as np
import torch

from senet.data.source import ArrayImages, DataSource, input_spec
from senet.errors import UsageError, reason_of
from senet.file_kind import is_url, user_path
from senet.recipe import DataRecipe
from senet.text import printable
from senet.weights.plain_pickle import STAND_INS, NumpyArray
from senet.weights.remote import fetching


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
        if is_url(recipe.root):
            raise UsageError(f"data.root {recipe.root!r} is an address; {recipe.name} is fetched into a folder of this machine")
        _download(layout.dataset, recipe.root)
    folder = user_path(recipe.root) / layout.folder
    missing = [name for name in (*layout.train, *layout.val, layout.meta[0]) if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"{folder} lacks {', '.join(missing)} of {recipe.name}; add --data.download true to fetch the data set there")
    file, key = layout.meta
    classes = _classes(folder / file, key)
    return DataSource(
        name=recipe.name,
        train=_images(f"{recipe.name} train", folder, layout.train, layout.labels, len(classes)),
        val=_images(f"{recipe.name} val", folder, layout.val, layout.labels, len(classes)),
        classes=classes,
        input=input_spec(recipe, size=32, mean=layout.mean, std=layout.std),
    )


def _download(dataset: str, root: str) -> None:
    from torchvision import datasets

    with (
        redirect_stdout(stderr),  # stdout belongs to a command's result
        fetching(f"could not fetch {dataset} into {root}", "fetch it by other means", (OSError, RuntimeError)),
    ):
        getattr(datasets, dataset)(str(user_path(root)), download=True)


def _images(name: str, folder: Path, files: tuple[str, ...], label_key: str, classes: int) -> ArrayImages:
    pixels, labels = [], []
    for file in files:
        rows, values = _fields(folder / file, "data", label_key)
        rows = rows.tensor if isinstance(rows, NumpyArray) else None
        if rows is None or rows.dtype != torch.uint8 or not isinstance(values, list) or rows.shape != (len(values), 3072):
            raise UsageError(f"{folder / file} does not hold 32 x 32 images as CIFAR's files do; remove the folder and fetch it again")
        if not all(type(value) is int and 0 <= value < classes for value in values):
            raise UsageError(f"{folder / file} has labels other than 0 to {classes - 1}; remove the folder and fetch it again")
        pixels.append(rows.numpy().reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(np.asarray(values, np.int64))
    return ArrayImages(name, np.ascontiguousarray(np.concatenate(pixels)), np.concatenate(labels))


def _classes(path: Path, key: str) -> tuple[str, ...]:
    (names,) = _fields(path, key)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{path} does not name classes; remove the folder and fetch it again")
    return tuple(names)


def _fields(path: Path, *keys: str) -> list[Any]:
    try:
        tree = _ArraysOnly(BytesIO(path.read_bytes()), encoding="latin1").load()
        return [tree[key] for key in keys]
    except Exception as error:  # a damaged pickle can raise anything
        raise UsageError(f"{path} is damaged ({printable(reason_of(error, 200))}); remove it and add --data.download true") from error


def _text_bytes(text: Any, encoding: Any) -> bytes:
    """Stand in for `_codecs.encode`, by which Python 3 writes bytes into pickles of protocol 2."""
    return text.encode("latin-1")


class _ArraysOnly(pickle._Unpickler):  # that of C makes room for as many values as a file says it will name
    """Reader of pickles of NumPy arrays and plain data, by stand-ins; anything else in them is refused, not run."""

    dispatch = {code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]}  # makes room beforehand

    def find_class(self, module: str, name: str) -> Any:
        called = {"_codecs.encode": _text_bytes, **STAND_INS}.get(f"{module}.{name}")
        if called is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return called
