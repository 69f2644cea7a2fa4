"""The 1,000 classes of ImageNet's challenge (ILSVRC2012) in their two orders.

Nearly everybody's outputs follow the sorted WordNet ids. The development kit numbers the classes otherwise, from 1, and networks trained
on its labels, as the authors' Caffe release, follow that.
"""

import csv
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor


def class_names() -> tuple[str, ...]:
    """Return the names of the classes in sorted WordNet order: "tench" is 0. All of them are different."""
    return tuple(row["name"] for row in _rows())


def wordnet_ids() -> tuple[str, ...]:
    """Return the WordNet ids of the classes, sorted: "n01440764" is 0."""
    return tuple(row["wnid"] for row in _rows())


def readable_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return names of classes, where ImageNet's WordNet ids, as its folders are called, become words."""
    return class_names() if tuple(classes) == wordnet_ids() else tuple(classes)


def from_devkit() -> Tensor:
    """Return, for each class in sorted WordNet order, its place in the order of the development kit, from 0.

    So `weight[from_devkit()]` sorts the rows of a classifier that was trained on the development kit's labels.
    """
    return torch.tensor([int(row["devkit"]) - 1 for row in _rows()])


@cache
def _rows() -> tuple[dict[str, str], ...]:
    table = files("senet").joinpath("weights", "imagenet_classes.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(table.splitlines()))
