"""Names of labels, as nnU-Net's description of a data set gives them."""

from pathlib import Path

from senet.data.image_file import open_regular
from senet.errors import UsageError
from senet.schema import either, integer, items, plain_data, read_json, record, table, text
from senet.text import printable

DATASET_FILE = "dataset.json"
LARGEST_DATASET_FILE = 2**24

LABEL = integer(0, 2**31)
DATASET = record({"labels": table(text(1000), either(LABEL, text(1000), items(LABEL, high=1000)))}, others=plain_data(allow_nan=True))
"""What is read of nnU-Net's description: names and values of the labels, in the order of its first or its second version."""


def label_names(root: Path) -> dict[int, str]:
    """Return what nnU-Net's dataset.json calls the labels; none without such a file.

    Raises:
        UsageError: if it says something else, or names regions of several labels.
    """
    path = root / DATASET_FILE
    if not path.is_file():
        return {}
    with open_regular(path) as file:
        content = file.read(LARGEST_DATASET_FILE)
    labels = read_json(content, str(path), DATASET).get("labels", {})
    names: dict[int, str] = {}
    for key, value in labels.items():
        if isinstance(value, list):
            raise UsageError(f"{path}: label {printable(key)} is a region of several values, {value}, and classes must not overlap")
        if isinstance(value, str) and not key.isdecimal():
            raise UsageError(f"{path}: labels must be names with values, or values with names, got {printable(key)}: {printable(value)}")
        label, name = (int(key), value) if isinstance(value, str) else (value, key)
        names[label] = name
    return dict(sorted(names.items()))
