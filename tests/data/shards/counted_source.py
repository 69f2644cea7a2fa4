"""Shards as a user's own source, which notes each training image that is read, and kills its process at the one it is told."""

import os
import signal
from dataclasses import replace
from pathlib import Path

from PIL import Image

from senet.data.shards.source import ShardImages, open_source
from senet.data.source import DataSource
from senet.recipe import DataRecipe


class NotedImages(ShardImages):
    """Images whose reads are lines of the file READS.RANK, of which READS_AT_MOST are the last that the process lives to see."""

    def read(self, index: int) -> Image.Image:
        path = Path(f"{os.environ['READS']}.{os.environ.get('RANK', 0)}")
        with path.open("a") as file:
            file.write(f"{index}\n")
        if len(path.read_text().splitlines()) >= int(os.environ["READS_AT_MOST"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index)


def photos(recipe: DataRecipe) -> DataSource:
    source = open_source(recipe)
    images = source.train
    assert isinstance(images, ShardImages)
    return replace(source, train=NotedImages(images.place, images.shards, images.index, images.task, images.reading))
