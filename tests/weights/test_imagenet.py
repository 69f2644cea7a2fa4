"""The orders of ImageNet's classes."""

import csv
from pathlib import Path

import pytest
from torchvision.models import ResNet50_Weights

from senet.weights.imagenet import class_names, from_devkit, wordnet_ids

DEVKIT_OF_VALIDATION = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164, 649, 11, 73, 286, 554, 6]
"""The development kit's labels, from 1, of the first validation images, and below the same in sorted order, from 0."""
SORTED_OF_VALIDATION = [65, 970, 230, 809, 516, 57, 334, 415, 674, 332, 109, 286, 370, 757, 595, 147]


def test_the_order_is_a_permutation_of_sorted_classes() -> None:
    assert sorted(from_devkit().tolist()) == list(range(1000))
    assert list(wordnet_ids()) == sorted(set(wordnet_ids()))
    assert len(wordnet_ids()) == len(set(class_names())) == 1000


@pytest.mark.parametrize(
    ("wnid", "devkit", "index", "name"),
    [
        ("n02119789", 1, 278, "kit fox"),
        ("n02100735", 2, 212, "English setter"),
        ("n03255030", 1000, 543, "dumbbell"),
        ("n01440764", 449, 0, "tench"),
    ],
)
def test_known_classes(wnid: str, devkit: int, index: int, name: str) -> None:
    assert (wordnet_ids()[index], from_devkit()[index].item() + 1, class_names()[index]) == (wnid, devkit, name)


def test_validation_labels_in_both_orders() -> None:
    order = (from_devkit() + 1).tolist()
    assert [order.index(label) for label in DEVKIT_OF_VALIDATION] == SORTED_OF_VALIDATION


def test_names_are_torchvisions() -> None:
    assert list(class_names()) == ResNet50_Weights.DEFAULT.meta["categories"]


def test_the_table_is_that_of_the_development_kit(shared_data: Path) -> None:
    with (shared_data / "ilsvrc2012_class_order.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["sorted_index"]))
    assert [row["wnid"] for row in rows] == list(wordnet_ids())
    assert [int(row["devkit_index"]) for row in rows] == from_devkit().tolist()
