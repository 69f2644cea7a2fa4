"""A data source of a user's own: the photographs of one folder, of which the first letter of the name is the class."""

from pathlib import Path

import numpy as np

from senet.data.folder import read_image
from senet.data.source import DataSource, input_spec


class Photographs:
    in_memory = False

    def __init__(self, files):
        self.files = files
        self.targets = np.array(["ab".index(file.name[0]) for file in files])

    def __len__(self):
        return len(self.files)

    def read(self, index):
        return read_image(self.files[index])

    def describe(self, index):
        return self.files[index].name


def photographs(recipe):
    files = sorted(Path(recipe.root).iterdir())
    spec = input_spec(recipe, size=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return DataSource("photographs", Photographs(files[::2]), Photographs(files[1::2]), ("a", "b"), spec)


def nothing(recipe):
    return []
